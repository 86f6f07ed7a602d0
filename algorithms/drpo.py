"""DRPO: the length preference weighs the correct responses among themselves and never makes one a negative example.

``_N`` responses, ``_T`` tokens, ``_G`` prompt groups. Everything is computed in float64, whatever comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.algorithms.losses import Loss
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_count, group_max, group_mean, group_min, group_sum

ValuesN = Float[Tensor, " N"]
GroupN = Int[Tensor, " N"]
MaskN = Bool[Tensor, " N"]
TokensNT = Float[Tensor, "N T"]

Shape = Literal["linear", "concave", "cosine"]
Preference = Literal[Shape, "reward"]
KlType = Literal["kl", "low_var_kl"]
Score = Literal["logL", "Lratio"]
Report = Literal["objective", "official"]


def length_preference(length_N: ValuesN, limit: float, shape: Shape = "linear") -> ValuesN:
    """How much a length is preferred: 1 for an empty response, 0 for one of ``limit`` tokens.

    ``1 - L/C`` (linear), ``1 - (L/C)^2`` (concave), ``0.5 + 0.5 cos(pi L/C)`` (cosine).
    """
    share_N = length_N.double() / limit
    if shape == "linear":
        return 1 - share_N
    return 1 - share_N.square() if shape == "concave" else 0.5 + 0.5 * (torch.pi * share_N).cos()


def group_softmax(values_N: ValuesN, group_N: GroupN, where_N: MaskN) -> ValuesN:
    """The softmax over the selected responses of each group; 0 elsewhere.

    >>> group_softmax(torch.tensor([0.0, 1000.0, 1000.0]), torch.tensor([0, 0, 0]), torch.tensor([True] * 3))
    tensor([0.0000, 0.5000, 0.5000], dtype=torch.float64)
    """
    above_N = values_N.double() - group_max(values_N, group_N, where_N)[group_N]
    power_N = torch.where(where_N, above_N, -torch.inf).exp()
    return power_N / group_sum(power_N, group_N).clamp(min=1.0)[group_N]  # a sum that has a term has the term 1


def preference_weights(
    preference_N: ValuesN, group_N: GroupN, correct_N: MaskN, length_temperature: float | None
) -> ValuesN:
    """Weights that sum to 1 over the correct responses of each prompt: ``softmax(preference / length_temperature)``.

    Uniform where the temperature is None, which stands for infinity.
    """
    scaled_N = torch.zeros_like(preference_N) if length_temperature is None else preference_N / length_temperature
    return group_softmax(scaled_N, group_N, correct_N)


def response_scores(
    log_probs_NT: TokensNT, old_log_probs_NT: TokensNT, mask_NT: TokensNT, score: Score = "logL"
) -> ValuesN:
    """``logL``: the mean log-probability of a response's tokens; ``Lratio``: the mean of their ratios to the old ones.

    0 for an empty response.
    """
    valid_NT = mask_NT.bool()
    log_probs_NT = log_probs_NT.double()
    if score == "Lratio":
        # Masked before the exponential: what stands in the padding must not overflow.
        log_ratio_NT = torch.where(valid_NT, log_probs_NT - old_log_probs_NT.double(), 0.0)
        log_probs_NT = log_ratio_NT.exp()
    return torch.where(valid_NT, log_probs_NT, 0.0).sum(-1) / valid_NT.sum(-1).clamp(min=1)


def kl_sum(log_probs_NT: TokensNT, old_log_probs_NT: TokensNT, mask_NT: TokensNT, kl_type: KlType = "kl") -> Tensor:
    """The sum over all valid tokens of an estimate of KL(old || new); ``kl`` can be negative, ``low_var_kl`` cannot."""
    log_ratio_NT = torch.where(mask_NT.bool(), log_probs_NT.double() - old_log_probs_NT.double(), 0.0)
    return (-log_ratio_NT if kl_type == "kl" else log_ratio_NT.exp() - 1 - log_ratio_NT).sum()


def classes(
    correctness_N: ValuesN, mask_NT: TokensNT, non_binary: Literal["raise", "ignore"] = "raise"
) -> tuple[MaskN, MaskN]:
    """Which responses are positive and which negative examples; an empty one is neither.

    Raises:
        BatchError: a correctness other than 0 and 1, unless it is to be ignored, as neither.
    """
    binary_N = (correctness_N == 0) | (correctness_N == 1)
    if non_binary == "raise" and not bool(binary_N.all()):
        row = int((~binary_N).nonzero()[0])
        raise BatchError(
            f"drpo: correctness, row {row}: {correctness_N[row].item():g} is not allowed; give the verifier's raw 0 or "
            "1, not a shaped reward, or non_binary='ignore' to leave such responses out of both classes"
        )
    written_N = mask_NT.bool().any(-1)
    return written_N & (correctness_N == 1), written_N & (correctness_N == 0)


def kept_prompts(group_N: GroupN, positive_N: MaskN, negative_N: MaskN, keep_all_correct: bool) -> Bool[Tensor, " G"]:
    """The prompts with an objective: those with both classes; if so asked, those with positive ones only, too."""
    has_positive_G = group_count(group_N, positive_N) > 0
    return has_positive_G if keep_all_correct else has_positive_G & (group_count(group_N, negative_N) > 0)


def drpo_advantage(
    weight_N: ValuesN,
    group_N: GroupN,
    positive_N: MaskN,
    negative_N: MaskN,
    score_N: ValuesN | None = None,
    tau: float | None = None,
    keep_all_correct: bool = False,
) -> ValuesN:
    """The objective's derivative by each response's score: ``w_i``, ``-p_j``, and 0 in a prompt without objective.

    ``p = softmax(score / tau)`` over the prompt's negatives; uniform where there is no score or ``tau`` is None.
    """
    scaled_N = torch.zeros_like(weight_N) if score_N is None or tau is None else score_N / tau
    share_N = group_softmax(scaled_N, group_N, negative_N)
    kept_N = kept_prompts(group_N, positive_N, negative_N, keep_all_correct)[group_N]
    return torch.where(kept_N, weight_N - share_N, 0.0)


def prompt_objectives(
    score_N: ValuesN,
    weight_N: ValuesN,
    group_N: GroupN,
    positive_N: MaskN,
    negative_N: MaskN,
    tau: float | None,
    keep_all_correct: bool = False,
    report: Report = "objective",
) -> Float[Tensor, " G"]:
    """``J_q = sum_P w_i s_i - tau log(mean_N exp(s_j / tau))`` of each prompt (Eq. 7); 0 where a class is missing.

    ``tau`` None stands for infinity: the mean of the negatives. With ``report`` "official" the negative term shows the
    value the published code gives it, ``tau``, at the same gradient.
    """
    positive_G = group_sum(weight_N * score_N, group_N, positive_N)
    count_G = group_count(group_N, negative_N)
    if tau is None:
        negative_G = group_sum(score_N, group_N, negative_N) / count_G.clamp(min=1)
    else:
        top_G = group_max(score_N.detach(), group_N, negative_N).nan_to_num(nan=0.0)
        # Selected before the exponential: a positive far above the negatives must not overflow.
        above_N = torch.where(negative_N, (score_N - top_G[group_N]) / tau, 0.0)
        sum_G = group_sum(above_N.exp(), group_N, negative_N)
        negative_G = top_G + tau * torch.where(count_G > 0, sum_G / count_G.clamp(min=1), 1.0).log()
        if report == "official":
            negative_G = tau * ((negative_G - negative_G.detach()) / tau).exp()
    kept_G = kept_prompts(group_N, positive_N, negative_N, keep_all_correct)
    return torch.where(kept_G, positive_G - torch.where(count_G > 0, negative_G, 0.0), 0.0)


def shortest_weight(weight_N: ValuesN, length_N: ValuesN, group_N: GroupN, positive_N: MaskN) -> ValuesN:
    """The weight of the shortest correct response of each prompt that has one, (G',)."""
    shortest_N = positive_N & (length_N == group_min(length_N, group_N, positive_N)[group_N])
    weight_G = group_mean(weight_N, group_N, shortest_N)
    return weight_G[~weight_G.isnan()]


def drpo_loss(
    log_probs_NT: TokensNT,
    old_log_probs_NT: TokensNT,
    response_mask_NT: TokensNT,
    group_index_N: GroupN,
    correctness_N: ValuesN,
    *,
    length_temperature: float | None,
    limit: float | None = None,
    preference_N: ValuesN | None = None,
    tau: float | None = 10.0,
    delta: float = 1e-4,
    beta: float = 1e3,
    kl_type: KlType = "kl",
    score: Score = "logL",
    keep_all_correct: bool = False,
    num_groups: int | None = None,
    non_binary: Literal["raise", "ignore"] = "raise",
    report: Report = "objective",
) -> tuple[Tensor, dict[str, Tensor]]:
    """``-J + beta/2 max(KL - delta, 0)^2`` of one call that sees whole prompt groups, of any sizes and in any order.

    ``J`` is the mean over all prompts of the call, ``KL`` the mean over all valid tokens, those of dropped prompts
    included.

    Args:
        log_probs_NT: of the current policy.
        old_log_probs_NT: of the policy that wrote the responses, at the same temperature.
        response_mask_NT: 1 for valid tokens.
        group_index_N: which prompt a response answers; any integers.
        correctness_N: the verifier's raw 0 or 1.
        length_temperature: λ; None for infinity, where length plays no part (DisCO).
        limit: C, for the default preference ``1 - L/C``.
        preference_N: any other preference among correct responses.
        tau: temperature over the negatives; None for infinity, their plain mean (DisCO-b).
        delta: the KL that costs nothing, in nats per token.
        beta: strength of the penalty; twice the paper's β₀.
        kl_type: "kl" (k1) or "low_var_kl" (k3).
        score: "logL" or "Lratio".
        keep_all_correct: keep the weighted positive term of a prompt without negatives (a deviation).
        num_groups: how many prompts to average over; the number of distinct indices by default.
        non_binary: what becomes of a correctness other than 0 and 1.
        report: the value shown, "objective" for the formula above, "official" for the published code's surrogate; the
            gradient is the same.

    Returns:
        The loss, and ``objective``, ``kl``, ``penalty``, ``kl_exceeded`` (0 or 1), ``kept_groups`` and
        ``shortest_weight``, the mean weight of the shortest correct response of the kept prompts (NaN without one).

    Raises:
        BatchError: correctness is not binary.
        ConfigError: there is a length temperature, but neither ``preference_N`` nor ``limit``.
    """
    codes_G, group_N = torch.unique(group_index_N, return_inverse=True)
    positive_N, negative_N = classes(correctness_N, response_mask_NT, non_binary)
    length_N = response_mask_NT.bool().sum(-1).double()
    if preference_N is None:
        if limit is None and length_temperature is not None:
            raise ConfigError("drpo_loss: no preference; give limit, C in tokens, or preference_N")
        preference_N = torch.zeros_like(length_N) if limit is None else length_preference(length_N, limit)
    weight_N = preference_weights(preference_N, group_N, positive_N, length_temperature)
    score_N = response_scores(log_probs_NT, old_log_probs_NT, response_mask_NT, score)
    objective_G = prompt_objectives(score_N, weight_N, group_N, positive_N, negative_N, tau, keep_all_correct, report)
    objective = objective_G.sum() / (len(codes_G) if num_groups is None else num_groups)
    kl = kl_sum(log_probs_NT, old_log_probs_NT, response_mask_NT, kl_type) / length_N.sum().clamp(min=1)
    excess = (kl - delta).clamp(min=0)
    penalty = beta * excess.detach() * kl if report == "official" else beta / 2 * excess.square()
    kept_G = kept_prompts(group_N, positive_N, negative_N, keep_all_correct)
    metrics = {
        "objective": objective,
        "kl": kl,
        "penalty": penalty,
        "kl_exceeded": (excess > 0).double(),
        "kept_groups": kept_G.sum().double(),
        "shortest_weight": shortest_weight(weight_N, length_N, group_N, positive_N & kept_G[group_N]).mean(),
    }
    return penalty - objective, {name: value.detach() for name, value in metrics.items()}


@final
@dataclass(frozen=True, kw_only=True)
class Drpo(Loss):
    """Decoupled Reward Policy Optimization (DRPO, arXiv 2510.04474, Eqs. 4-7), and DisCO (arXiv 2505.12366).

    ``J_q = sum over correct of w_i s_i - tau log(mean over wrong of exp(s_j / tau))``, to be raised, with
    ``w = softmax(preference / length_temperature)`` over the prompt's correct responses and ``s`` the mean
    log-probability of a response's tokens; ``loss = -mean_q J_q + beta/2 max(KL - delta, 0)^2``. It reads raw
    correctness and replaces advantage, ratio and clip.

    A prompt whose responses are all right or all wrong has no objective, but counts in the mean, and its tokens in the
    KL. A single correct response has weight 1 whatever its length. Neither empty responses, at which the published code
    gives NaN, nor those of unknown verdict belong to a class. A correctness other than 0 and 1, which the published
    code leaves out of both classes, is refused.

    Args:
        length_temperature: λ; the smaller, the more a short correct response outweighs a long one (the paper: 0.1, and
            0.2, 0.5). null stands for infinity: uniform weights, which is DisCO.
        limit: C in tokens, the longest response there can be (the paper: 8192). The published code divides by the
            width of the padded batch, which changes from batch to batch where padding does.
        preference: "linear" ``1 - L/C`` (the paper), "concave" ``1 - (L/C)^2``, "cosine" ``0.5 + 0.5 cos(pi L/C)``, or
            "reward": the recipe's reward ranks the correct responses, whatever it is.
        tau: temperature over the wrong responses (10 for logL, 1 for Lratio). null stands for infinity: their plain
            mean, which is DisCO-b.
        delta: KL(old || new) up to here costs nothing, in nats per token.
        beta: strength of the penalty beyond it; twice the paper's β₀.
        kl_type: "kl" is k1, which can be negative; "low_var_kl" is k3.
        score: "logL", or "Lratio", the mean ratio of a response's tokens to the old policy's, unclipped.
        keep_all_correct: keep the positive term of prompts whose responses are all right (a deviation: in the paper
            what is always solved is no longer shortened).
        report: the value of the loss in the logs: "objective", the formula, or "official", the published code's
            surrogate of the same gradient.
        form: "groups" is exact and needs each prompt's responses in one call of the loss; "advantage" does not: the
            weights of the wrong responses then come from the log-probabilities at sampling.

    >>> loss = Drpo(length_temperature=0.1, limit=8)
    >>> length_N, correct_N = torch.tensor([2.0, 5.0, 8.0, 3.0]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    >>> loss.advantage(correct_N, torch.tensor([0, 0, 0, 0]), correct_N, length_N).round(decimals=4).tolist()
    [0.9765, 0.023, 0.0005, -1.0]
    """

    length_temperature: float | None
    limit: float | None = None
    preference: Preference = "linear"
    tau: float | None = 10.0
    delta: float = 1e-4
    beta: float = 1e3
    kl_type: KlType = "kl"
    score: Score = "logL"
    keep_all_correct: bool = False
    report: Report = "objective"
    form: Literal["groups", "advantage"] = "groups"
    in_tokens = ("limit",)

    def __post_init__(self) -> None:
        for name in ("length_temperature", "limit", "tau"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"drpo: {name} is {value}; give a number greater than 0")
        for name in ("delta", "beta"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"drpo: {name} is {getattr(self, name)}; give 0 or more")
        if self.length_temperature is not None and self.preference != "reward" and self.limit is None:
            raise ConfigError(
                f"drpo: preference {self.preference!r} needs limit, the longest response in tokens; give it, or "
                "length_temperature: null for uniform weights"
            )
        if self.form == "advantage" and self.report == "official":
            raise ConfigError("drpo: the published code has no form 'advantage' whose value to report; drop report")

    @property
    def reads_reward(self) -> bool:
        """Only where the reward is the preference; correctness is read raw."""
        return self.preference == "reward" and self.length_temperature is not None

    @property
    def reads_advantage(self) -> bool:
        """No: it makes its own."""
        return False

    @property
    def whole_groups(self) -> bool:
        """In the form "groups", whose weights of wrong responses follow the current scores."""
        return self.form == "groups"

    @property
    def notice(self) -> str:
        """Stored rollouts bring no log-probabilities."""
        read = "" if self.reads_reward else "; the loss reads raw correctness, so the reward is shown only"
        return (
            "advantage is the loss's own: the weight of a right response, and the same negative share of each wrong "
            f"one, as for tau to infinity{read}"
        )

    def preferences(self, reward_N: ValuesN, length_N: ValuesN) -> ValuesN:
        """How much each response is preferred among the correct ones of its prompt."""
        if self.preference == "reward":
            return reward_N.double()
        if self.limit is None:  # uniform weights
            return torch.zeros_like(length_N, dtype=torch.float64)
        return length_preference(length_N, self.limit, self.preference)

    def advantage(
        self,
        reward_N: ValuesN,
        group_N: GroupN,
        correct_N: ValuesN,
        length_N: ValuesN,
        score_N: ValuesN | None = None,
    ) -> ValuesN:
        """``w_i`` of a correct response, ``-p_j`` of a wrong one; 0 where the prompt lacks a class.

        Without scores ``p`` is uniform over the wrong ones, as it is for ``tau`` to infinity.
        """
        positive_N, negative_N = classes(correct_N, length_N[:, None])
        weight_N = preference_weights(
            self.preferences(reward_N, length_N), group_N, positive_N, self.length_temperature
        )
        return drpo_advantage(weight_N, group_N, positive_N, negative_N, score_N, self.tau, self.keep_all_correct)
