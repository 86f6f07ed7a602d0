"""Response-level advantages from the rewards of a prompt group. ``_N`` responses.

The settings are frozen dataclasses, so that a recipe compares and prints; each calls the pure function beside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_centred, group_codes, group_count, group_std

RewardN = Float[Tensor, " N"]
GroupN = Int[Tensor, " N"]
LengthN = Float[Tensor, " N"]
CorrectN = Bool[Tensor, " N"]
KeptN = Bool[Tensor, " N"]


def as_tensors(
    reward: Sequence[float] | RewardN,
    group: Sequence[Hashable] | GroupN,
    length: Sequence[float] | LengthN | None = None,
) -> tuple[RewardN, GroupN, LengthN | None]:
    """Rewards and lengths in float64 and groups as codes, from tensors or from lists; a list of groups holds any ids.

    Raises:
        BatchError: naming what is no finite number, or not one for each response.

    >>> as_tensors([1, 0], ["b", "a"])
    (tensor([1., 0.], dtype=torch.float64), tensor([0, 1]), None)
    """
    group_N = group if isinstance(group, Tensor) else group_codes(list(group))
    if group_N.ndim != 1 or group_N.is_floating_point() or group_N.dtype == torch.bool:
        raise BatchError(
            f"groups are a tensor of {group_N.dtype} and shape {tuple(group_N.shape)}; give whole codes 0..G-1, one "
            "for each response, or a list of ids"
        )
    reward_N = _numbers("reward", reward, group_N)
    return reward_N, group_N, None if length is None else _numbers("length", length, group_N)


def _numbers(name: str, values: Sequence[float] | Tensor, group_N: GroupN) -> Float[Tensor, " N"]:
    if not isinstance(values, Tensor):
        given = list(values)
        for row, value in enumerate(given):
            if isinstance(value, str) or not hasattr(value, "__float__"):
                raise BatchError(f"{name}, row {row}: {value!r:.80} is no number; give one per response")
        values = torch.tensor([float(value) for value in given], dtype=torch.float64, device=group_N.device)
    if values.shape != group_N.shape:
        raise BatchError(
            f"{name} has shape {tuple(values.shape)}, the groups {tuple(group_N.shape)}; give one per response"
        )
    if (bad := (~torch.isfinite(values)).nonzero()).numel():
        row = int(bad[0])
        raise BatchError(f"{name}, row {row}: {values[row].item()} is not finite; give a finite number per response")
    return values.double()


class Advantage(ABC):
    """An advantage estimator: rewards and groups in, one advantage per response out.

    Those of the library take lists, too; one of your own begins with :func:`as_tensors` for that.

    Class facts:
        batch_wide: whether one value depends on the responses of other groups, too.
        reads_correct: whether :meth:`lifted` changes anything, which takes raw correctness.
        reads_order: whether ties within a group go by the order of its responses.
        reads_state: whether it remembers anything across steps, by :meth:`init` and :meth:`select`.
    """

    @property
    def batch_wide(self) -> bool:
        """Whether one value depends on the responses of other groups."""
        return False

    @property
    def reads_correct(self) -> bool:
        """Whether the advantage changes once more by raw correctness."""
        return False

    @property
    def reads_order(self) -> bool:
        """Whether ties within a group go by the order of its responses."""
        return False

    @property
    def reads_state(self) -> bool:
        """Whether it remembers anything across steps."""
        return False

    def init(self) -> dict[str, Any]:
        """What it remembers before the first step: a dict that JSON can hold, saved with the reward's state."""
        return {}

    def select(
        self, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None, state: Mapping[str, Any]
    ) -> tuple[KeptN, dict[str, Any]]:
        """Which responses have an advantage at all, by what is remembered, and what is remembered after them.

        The advantage is then called with those alone, and has to keep all of them: the trainer calls it where no state
        is. Asked only of one that ``reads_state``.
        """
        return torch.ones_like(group_N, dtype=torch.bool), dict(state)

    def shown(self, state: Mapping[str, Any]) -> Mapping[str, float]:
        """Numbers of its own to be shown among a run's metrics."""
        return {}

    def wrong_state(self, state: Mapping[str, Any]) -> str | None:
        """What is wrong with a state of the right shape, as somebody may have edited it; None for nothing."""
        return None

    @abstractmethod
    def __call__(self, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None = None) -> RewardN:
        """The advantage (N,) of each response; every token of the response gets it.

        ``length_N`` counts the tokens that are trained on; most estimators do not look at it.
        """

    def lifted(self, advantage_N: RewardN, correct_N: CorrectN, group_N: GroupN) -> RewardN:
        """The advantage after what raw correctness changes, whatever the reward: here, nothing."""
        return advantage_N


def grpo_advantage(
    reward_N: RewardN, group_N: GroupN, scale: Literal["std", "none"] = "std", eps: float = 1e-6, ddof: int = 1
) -> RewardN:
    """``(r - mean) / (std + eps)`` within each group, or ``r - mean`` where ``scale`` is "none".

    A group of one response has nothing to compare with: 0. A group whose rewards are all equal: 0, exactly.
    """
    centred_N = group_centred(reward_N, group_N)
    if scale == "none":
        return centred_N
    std_N = group_std(reward_N, group_N, ddof=ddof).nan_to_num(nan=0.0)[group_N]
    return torch.where(centred_N == 0, centred_N, centred_N / (std_N + eps))


@final
@dataclass(frozen=True, kw_only=True)
class Grpo(Advantage):
    """Group-relative advantage of GRPO (DeepSeekMath, arXiv 2402.03300); ``scale: none`` is Dr. GRPO (2503.20783).

    Args:
        scale: "std" divides by the group's standard deviation, "none" does not.
        eps: added to the standard deviation.
        ddof: the standard deviation divides by ``count - ddof``; 1 as in verl.

    A group of one gets 0; verl's own estimator gives it its reward.

    >>> Grpo()(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0, 0, 1]))
    tensor([ 0.7071, -0.7071,  0.0000], dtype=torch.float64)
    """

    scale: Literal["std", "none"] = "std"
    eps: float = 1e-6
    ddof: int = 1

    def __post_init__(self) -> None:
        if self.scale not in ("std", "none"):
            raise ConfigError(f"grpo: scale is {self.scale!r}; give std or none")
        if self.eps < 0 or self.ddof not in (0, 1):
            raise ConfigError(f"grpo: eps is {self.eps} and ddof {self.ddof}; give eps 0 or more, and ddof 0 or 1")

    def __call__(self, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None = None) -> RewardN:
        """The advantage (N,) of each response."""
        reward_N, group_N, _ = as_tensors(reward_N, group_N)
        return grpo_advantage(reward_N, group_N, self.scale, self.eps, self.ddof)


def rloo_advantage(reward_N: RewardN, group_N: GroupN) -> RewardN:
    """``r_i`` minus the mean of the other rewards of the group; 0 for a group of one.

    Computed as ``n / (n - 1) * (r_i - mean)``, which is the same and exactly 0 where all rewards are equal.
    """
    count_N = group_count(group_N)[group_N]
    return group_centred(reward_N, group_N) * count_N / (count_N - 1).clamp(min=1)


@final
@dataclass(frozen=True, kw_only=True)
class Rloo(Advantage):
    """Leave-one-out advantage (RLOO, arXiv 2402.14740): ``A_i = r_i - mean of the other rewards of the group``.

    A group of one gets 0: there is no other response to compare with.

    >>> Rloo()(torch.tensor([0.0, 0.95, 0.0, 0.0]), torch.tensor([0, 0, 0, 0]))
    tensor([-0.3167,  0.9500, -0.3167, -0.3167], dtype=torch.float64)
    """

    def __call__(self, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None = None) -> RewardN:
        """The advantage (N,) of each response."""
        return rloo_advantage(*as_tensors(reward_N, group_N)[:2])


@final
@dataclass(frozen=True, kw_only=True)
class NoBaseline(Advantage):
    """The reward itself, for rewards that carry their own baseline, as O1-Pruner's (arXiv 2501.12570, Eq. 11).

    >>> NoBaseline()(torch.tensor([1.0, -0.5]), torch.tensor([0, 0]))
    tensor([ 1.0000, -0.5000], dtype=torch.float64)
    """

    def __call__(self, reward_N: RewardN, group_N: GroupN, length_N: LengthN | None = None) -> RewardN:
        """A copy of the rewards (N,)."""
        return as_tensors(reward_N, group_N)[0].clone()
