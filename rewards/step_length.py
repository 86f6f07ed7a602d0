"""LASER: a bonus for correct responses within a target length, fixed or re-estimated by difficulty.

``_N`` responses, ``_G`` groups, ``_K`` candidates for a target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.control import StatefulComposite, wrong_count
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_mean
from leanthink.core.reward import Composite, Part, Reward, RewardN, Scope, State
from leanthink.core.schedules import Number, at, bounds

LEVELS: Final = ("hard", "medium", "easy")


def step_length(
    length_N: Float[Tensor, " N"],
    right_N: Bool[Tensor, " N"],
    target_N: Float[Tensor, " N"],
    alpha: float = 0.5,
    explores_N: Bool[Tensor, " N"] | None = None,
) -> Float[Tensor, " N"]:
    """``alpha`` for a right response of up to ``target`` tokens; with ``explores_N``, for such a longer one, too."""
    paid_N = right_N & (length_N <= target_N)
    if explores_N is not None:
        paid_N = paid_N | (explores_N & (length_N > target_N))
    return alpha * paid_N.double()


def levels_of(rate_G: Float[Tensor, " G"]) -> Int[Tensor, " G"]:
    """0 for a hard prompt (pass rate below 1/3), 1 for a medium one, 2 for an easy one (2/3 or more).

    A rate of exactly 1/3 or 2/3 falls into the upper level.

    >>> levels_of(torch.tensor([0.25, 1 / 3, 0.5, 2 / 3]))
    tensor([0, 1, 1, 2])
    """
    return (rate_G >= 1 / 3 - 1e-6).long() + (rate_G >= 2 / 3 - 1e-6).long()


def candidate_targets(lower_bound: float, upper_bound: float, interval: float) -> list[float]:
    """``lower_bound``, ``interval`` apart, up to ``upper_bound``.

    >>> candidate_targets(2048, 5000, 1024), candidate_targets(512, 3000, 1024)
    ([2048, 3072, 4096], [512, 1536, 2560])
    """
    return [lower_bound + interval * k for k in range(int((upper_bound - lower_bound) // interval) + 1)]


def fewest_correct(n_rollout: int, rounding: Literal["ceil", "floor"] = "ceil") -> dict[str, int]:
    """The least number of correct responses among ``n_rollout`` that makes a prompt of each level.

    >>> fewest_correct(8), fewest_correct(8, "floor")
    ({'hard': 1, 'medium': 3, 'easy': 6}, {'hard': 1, 'medium': 2, 'easy': 5})
    """
    whole = math.ceil if rounding == "ceil" else math.floor
    medium, easy = (whole(round(share * n_rollout / 3, 9)) for share in (1, 2))
    return {"hard": 1, "medium": max(medium, 1), "easy": max(easy, 1)}


def search_target(
    coverage: Sequence[float], candidates: Sequence[float], fewest: int, longest: float, expected: float = 1.0
) -> float:
    """The least candidate ``l`` with ``P(l) fewest >= expected``; ``longest`` where there is none (Eq. 3).

    >>> search_target([0.15, 0.18, 0.22], [2048, 3072, 4096], 6, 16384)
    3072
    """
    return next(
        (one for one, share in zip(candidates, coverage, strict=True) if share * fewest >= expected - 1e-9), longest
    )


def _check(name: str, alpha: float, argument: str, shortest: float) -> None:
    if not alpha > 0:
        raise ConfigError(f"{name}: alpha is {alpha}; give a bonus above 0")
    if not shortest >= 1:
        raise ConfigError(f"{name}: {argument} is {shortest}; give tokens, 1 or more at every step")


@final
@dataclass(frozen=True, kw_only=True)
class StepLength(Composite):
    """The step reward of LASER (arXiv 2505.15612, Eq. 2, Table 2), ``alpha 1[correct] 1[L <= target]``: a term to add.

    The paper's base reward is 1 for a correct response, -0.5 for a wrong and -1 for an ill-formed one. A response of
    exactly ``target`` tokens earns the bonus; no correct response in a group leaves it at its base.

    Args:
        target: ``L_T``, tokens: 2048, 4096 or 8192 in the paper.
        alpha: 0.5 in the paper.
        valid: a reward that is nonzero for a well-formed response; an ill-formed one earns no bonus. None: all are.

    >>> batch = RolloutBatch.of(group=[0] * 4, length=[1200, 2048, 2500, 900], correct=[1, 1, 1, 0])
    >>> StepLength(target=2048)(batch)[0]
    tensor([0.5000, 0.5000, 0.0000, 0.0000], dtype=torch.float64)
    """

    target: Number
    alpha: float = 0.5
    valid: Reward | None = None
    in_tokens = ("target",)
    is_term = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("step_length", self.alpha, "target", bounds(self.target)[0])

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The bonus of each response."""
        right_N = (batch.correct == 1) & _valid(self.valid, batch, part)
        target_N = torch.full_like(batch.length, at(self.target, batch.step))
        return step_length(batch.length, right_N, target_N, self.alpha)

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """The target in force."""
        return {"target": at(self.target, step)}


@final
@dataclass(frozen=True, kw_only=True)
class AdaptiveStepLength(StatefulComposite):
    """The step reward of LASER-D and, with ``explore``, of LASER-DE (arXiv 2505.15612, Secs. 5.1-5.3); a term to add.

    ``alpha 1[correct] 1[L <= target]`` with the target of the prompt's level: easy where at least 2/3 of its group is
    correct, hard below 1/3, medium between. LASER-DE pays ``alpha`` for a wrong response beyond the target, too.

    Every ``monitor_freq`` steps the targets are searched anew (Eq. 3): for each level the least candidate ``l`` with
    ``P(l) |C| >= expected``, ``P`` being the share of the level's responses, correct or not, of up to ``l`` tokens and
    ``|C|`` the least number of correct ones of ``K`` that makes the level (6, 3, 1 of 8); ``upper_bound`` where no
    candidate qualifies or no prompt was of that level. Lengths in tokens.

    The paper samples 500 prompts for each search. Here the training batches since the last search are what is
    monitored, which costs nothing; the first search follows the first batch. A batch never moves its own targets. The
    state is a table of counts, levels by candidates, whatever the size of the data. Under another recipe the counts
    serve the same candidates only; targets go on within its bounds.

    A pass rate of exactly 1/3 or 2/3 falls into the upper level, for the bonus and for the search; in the released code
    the search counts it to the lower one, which shows where ``K`` is a multiple of 3.

    Args:
        lower_bound: first candidate: 1024, 2048 or 4096 in the paper. Candidates are an ``interval`` apart from there
            on (512, 1536, ...); the released code goes on from 1024 after a lower bound below that (512, 1024, 2048,
            ...).
        upper_bound: last candidate, the response limit; 16384.
        interval: between candidates; 1024 in the code, not stated in the paper.
        alpha: 0.5 in the paper.
        target_length: of every level until the first search; the code: 8192. None: ``upper_bound``.
        monitor_freq: steps between searches; 20.
        n_rollout: rollouts a prompt, ``K``; 8 in the paper. None: the largest group of what was monitored.
        rounding: of ``2K/3`` and ``K/3``: "ceil" (the paper's 6 and 3) or "floor" (the released code's 5 and 2).
        expected: 1.
        cap_to_batch_max: whether no target found is above the longest response of the batch that is scored next, as in
            the released code: that batch has none above it, but those up to the next search may.
        explore: LASER-DE.
        explore_invalid: whether ill-formed responses, which count as wrong whatever their answer, are paid for length,
            too: not in the code, and most responses that are cut are ill-formed.
        valid: a reward that is nonzero for a well-formed response. Others are neither right nor, unless
            ``explore_invalid``, paid. None: all are.

    >>> reward = AdaptiveStepLength(lower_bound=2048, target_length=2048, explore=True)
    >>> batch = RolloutBatch.of(group=[0] * 4, length=[1200, 2500, 900, 6000], correct=[1, 1, 0, 0])
    >>> first, state = reward(batch)
    >>> first.tolist(), reward(batch, state)[1]["own"]["target"]
    ([0.5, 0.0, 0.0, 0.5], {'hard': 16384.0, 'medium': 2048.0, 'easy': 16384.0})
    """

    lower_bound: float
    upper_bound: float = 16384.0
    interval: float = 1024.0
    alpha: float = 0.5
    target_length: float | None = None
    monitor_freq: int = 20
    n_rollout: int | None = None
    rounding: Literal["ceil", "floor"] = "ceil"
    expected: float = 1.0
    cap_to_batch_max: bool = False
    explore: bool = False
    explore_invalid: bool = False
    valid: Reward | None = None
    in_tokens = ("lower_bound", "upper_bound", "target_length")
    is_term = True
    own_scope = Scope.GROUP

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("adaptive_step_length", self.alpha, "lower_bound", self.lower_bound)
        if not self.lower_bound <= self.upper_bound or not self.interval > 0:
            raise ConfigError(
                f"adaptive_step_length: candidates from {self.lower_bound} to {self.upper_bound}, {self.interval} "
                "apart; give an upper_bound not below lower_bound, and an interval above 0"
            )
        if self.target_length is not None and not 1 <= self.target_length <= self.upper_bound:
            raise ConfigError(
                f"adaptive_step_length: target_length is {self.target_length}; give tokens, 1 or more, up to "
                f"upper_bound, {self.upper_bound}"
            )
        fewest = 2 if self.n_rollout is None else self.n_rollout
        if self.monitor_freq < 1 or fewest < 2 or not self.expected > 0:
            raise ConfigError(
                f"adaptive_step_length: monitor_freq is {self.monitor_freq}, n_rollout {self.n_rollout} and expected "
                f"{self.expected}; give 1 step or more, 2 rollouts or more (or none), and a number above 0"
            )
        if self.rounding not in ("ceil", "floor"):
            raise ConfigError(f"adaptive_step_length: rounding is {self.rounding!r}; give ceil or floor")

    @property
    def candidates(self) -> list[float]:
        """The targets to choose from."""
        return candidate_targets(self.lower_bound, self.upper_bound, self.interval)

    def start(self) -> State:
        """The same target for every level, nothing monitored."""
        target = float(self.upper_bound if self.target_length is None else self.target_length)
        return {"target": dict.fromkeys(LEVELS, target), **self._unmonitored(), "searches": 0}

    def _unmonitored(self) -> State:
        return {
            "within": {level: [0] * len(self.candidates) for level in LEVELS},
            "count": dict.fromkeys(LEVELS, 0),
            "batches": 0,
            "rollouts": 0,
        }

    def update(self, batch: RolloutBatch, part: Part, own: State) -> tuple[RewardN, State]:
        """The bonus by the targets so far; what the batch shows counts at the next search."""
        if own["batches"] >= (self.monitor_freq if own["searches"] else 1):
            own = {"target": self._searched(own, batch.length), **self._unmonitored(), "searches": own["searches"] + 1}
        valid_N = _valid(self.valid, batch, part)
        right_N = (batch.correct == 1) & valid_N
        level_N = levels_of(group_mean(right_N.double(), batch.group))[batch.group]
        target_N = batch.length.new_tensor([own["target"][level] for level in LEVELS])[level_N]
        wrong_N = ~right_N & (valid_N | self.explore_invalid)
        reward_N = step_length(batch.length, right_N, target_N, self.alpha, wrong_N if self.explore else None)
        return reward_N, self._monitored(batch, level_N, own)

    def _monitored(self, batch: RolloutBatch, level_N: Int[Tensor, " N"], own: State) -> State:
        """The counts with those of a batch; an empty one is none."""
        length_N = batch.length
        if not len(batch):
            return own
        candidate_K = length_N.new_tensor(self.candidates)
        within, count = {}, {}
        for code, level in enumerate(LEVELS):
            of_level_M = length_N[level_N == code]
            now = (of_level_M[:, None] <= candidate_K).sum(0).tolist()
            within[level] = [before + more for before, more in zip(own["within"][level], now, strict=True)]
            count[level] = own["count"][level] + len(of_level_M)
        rollouts = max(own["rollouts"], int(batch.group.bincount().max()))
        return {**own, "within": within, "count": count, "batches": own["batches"] + 1, "rollouts": rollouts}

    def _searched(self, own: State, length_N: Float[Tensor, " N"]) -> dict[str, float]:
        fewest = fewest_correct(own["rollouts"] if self.n_rollout is None else self.n_rollout, self.rounding)
        most = float(self.upper_bound)
        if self.cap_to_batch_max and len(length_N):
            most = min(most, max(float(length_N.max()), 1.0))
        targets = {}
        for level in LEVELS:
            coverage = [inside / max(own["count"][level], 1) for inside in own["within"][level]]
            found = search_target(coverage, self.candidates, fewest[level], self.upper_bound, self.expected)
            targets[level] = float(min(found, most))
        return targets

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """The three targets in force."""
        return {**{f"target/{level}": state["target"][level] for level in LEVELS}, "searches": state["searches"]}

    def wrong_state(self, state: State) -> str | None:
        """A target out of range, a number that counts nothing, or shorter responses that outnumber longer ones."""
        for level, target in state["target"].items():
            if not 1 <= target <= self.upper_bound:
                return f"target.{level} is {target}; give 1 to {self.upper_bound:g} tokens"
        counts = {name: state[name] for name in ("batches", "rollouts", "searches")}
        for level in LEVELS:
            counts[f"count.{level}"] = state["count"][level]
            counts |= {f"within.{level}[{at}]": count for at, count in enumerate(state["within"][level])}
        if (wrong := wrong_count(counts)) is not None:
            return wrong
        if state["batches"] and not state["rollouts"]:
            return "rollouts is 0 after a batch; give the size of its largest group"
        for level in LEVELS:
            within, count = state["within"][level], state["count"][level]
            if [*within, count] != sorted([*within, count]):
                return f"within.{level} is {within}; give numbers that never fall, up to count.{level}, {count}"
        return None

    def taken_over(self, before: AdaptiveStepLength, saved: State) -> State:
        """The targets, within the present bounds; the counts where they are by the same candidates."""
        same = before.candidates == self.candidates
        least = 1.0 if same else self.lower_bound
        target = {level: min(max(one, least), self.upper_bound) for level, one in saved["target"].items()}
        return {**saved, **({} if same else self._unmonitored()), "target": target}


def _valid(valid: Reward | None, batch: RolloutBatch, part: Part) -> Bool[Tensor, " N"]:
    return torch.ones_like(batch.truncated) if valid is None else part("valid", batch) != 0
