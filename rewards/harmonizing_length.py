"""O1-Pruner: length and correctness against the prompt's own reference averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.groups import group_centred, group_mean, group_std
from leanthink.core.reward import Reward, RewardN, Scope
from leanthink.core.schedules import Number, at

REFERENCE_LENGTH: Final = "reference_length"
REFERENCE_ACCURACY: Final = "reference_accuracy"


def harmonizing_length(
    length_N: Float[Tensor, " N"],
    correct_N: Float[Tensor, " N"],
    reference_length_N: Float[Tensor, " N"],
    reference_accuracy_N: Float[Tensor, " N"],
    accuracy_weight: float,
) -> Float[Tensor, " N"]:
    """``reference_length / length - 1 + accuracy_weight * (correct - reference_accuracy)``."""
    return reference_length_N / length_N - 1 + accuracy_weight * (correct_N - reference_accuracy_N)


def standardized(value_N: Float[Tensor, " N"], group_N: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """``(value - mean) / std`` within each group, population deviation; exactly 0 where all values are equal."""
    centred_N = group_centred(value_N, group_N)
    return torch.where(centred_N == 0, centred_N, centred_N / group_std(value_N, group_N)[group_N])


@final
@dataclass(frozen=True, kw_only=True)
class HarmonizingLength(Reward):
    """The length-harmonizing reward of O1-Pruner (arXiv 2501.12570, Eqs. 8-10).

    ``R = L_ref / L - 1 + accuracy_weight (correct - A_ref)``, lengths in tokens; ``L_ref`` and ``A_ref`` are the mean
    length and accuracy of the reference policy's responses to the same prompt, right or wrong, sampled once before
    training (``leanthink prepare --reference``). At least -1 - accuracy_weight, unbounded above: of an unsolved prompt,
    short wrong responses earn more than long ones, and a short wrong response may beat a long right one. The paper uses
    it as the advantage itself (``no_baseline``). A response without tokens counts as one token.

    Args:
        accuracy_weight: the paper's λ, the released code's alpha; 2 for Marco-o1-7B, 5 in the released QwQ-32B
            settings.
        reference: "stored" reads the columns ``reference_length`` and ``reference_accuracy``; "current" takes the means
            of the prompt's current rollouts instead, a baseline that moves with the policy (not in the paper).
        clip: bounds on the reward; the released code has (-2, 4), the paper none.
        standardize: subtract the mean and divide by the population deviation, after the clip: of the "group", of the
            "batch", or not ("none", the paper). The released code does so over its whole stored data set, for which the
            batch stands in. Where all are equal: 0.

    >>> batch = RolloutBatch.of(
    ...     group=[0] * 3, length=[400, 1200, 8000], correct=[1, 0, 0],
    ...     reference_length=[2000] * 3, reference_accuracy=[0.5] * 3,
    ... )
    >>> HarmonizingLength()(batch)[0]
    tensor([ 5.0000, -0.3333, -1.7500], dtype=torch.float64)
    """

    accuracy_weight: Number = 2.0
    reference: Literal["stored", "current"] = "stored"
    clip: tuple[float, float] | None = None
    standardize: Literal["none", "group", "batch"] = "none"

    def __post_init__(self) -> None:
        if self.reference not in ("stored", "current") or self.standardize not in ("none", "group", "batch"):
            raise ConfigError(
                f"harmonizing_length: reference is {self.reference!r} and standardize {self.standardize!r}; "
                "give reference stored or current, and standardize none, group or batch"
            )
        if self.clip is None:
            return
        object.__setattr__(self, "clip", tuple(self.clip))  # a list, too, must compare and hash
        if len(self.clip) != 2 or self.clip[0] >= self.clip[1]:
            raise ConfigError(f"harmonizing_length: clip is {list(self.clip)}; give [low, high], such as [-2, 4]")

    @property
    def scope(self) -> Scope:
        """As wide as what a response is compared with beside its reference."""
        if self.standardize == "batch":
            return Scope.BATCH
        return Scope.GROUP if self.standardize == "group" or self.reference == "current" else Scope.RESPONSE

    @property
    def requires(self) -> frozenset[str]:
        """The stored reference."""
        return frozenset({REFERENCE_LENGTH, REFERENCE_ACCURACY}) if self.reference == "stored" else frozenset()

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward of each response."""
        length_N = batch.length.clamp(min=1)
        if self.reference == "stored":
            reference_length_N, reference_accuracy_N = _stored(batch)
        else:
            reference_length_N = group_mean(length_N, batch.group)[batch.group]
            reference_accuracy_N = group_mean(batch.correct, batch.group)[batch.group]
        accuracy_weight = at(self.accuracy_weight, batch.step)
        value_N = harmonizing_length(length_N, batch.correct, reference_length_N, reference_accuracy_N, accuracy_weight)
        if self.clip is not None:
            value_N = value_N.clamp(*self.clip)
        if self.standardize == "none":
            return value_N
        return standardized(value_N, batch.group if self.standardize == "group" else torch.zeros_like(batch.group))


def _stored(batch: RolloutBatch) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """The two columns, checked."""
    length_N, accuracy_N = batch.column(REFERENCE_LENGTH), batch.column(REFERENCE_ACCURACY)
    for name, values_N, good_N, allowed in (
        (REFERENCE_LENGTH, length_N, (length_N >= 0) & length_N.isfinite(), "a mean number of tokens"),
        (REFERENCE_ACCURACY, accuracy_N, (accuracy_N >= 0) & (accuracy_N <= 1), "a share between 0 and 1"),
    ):
        if not bool(good_N.all()):
            row = int((~good_N).nonzero()[0])
            raise BatchError(
                f"harmonizing_length: column {name!r} is {values_N[row].item():g} in row {row}; give {allowed}, as "
                "`leanthink prepare --reference` writes it"
            )
    return length_N, accuracy_N
