"""AdaptThink: half of a group does not think; what it earns is compared with the start policy's accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch, check_values
from leanthink.core.errors import ConfigError
from leanthink.core.reward import Composite, Part, Reward, RewardN
from leanthink.rewards.harmonizing_length import REFERENCE_ACCURACY
from leanthink.rewards.opened import MODE, OpenedReward, Opening


def adapt_think_reward(
    right_N: Bool[Tensor, " N"], thinks_N: Bool[Tensor, " N"], reference_N: Float[Tensor, " N"], delta: float
) -> Float[Tensor, " N"]:
    """``c - acc_ref``, and ``delta`` more where the response does not think."""
    return right_N.double() - reference_N + delta * (~thinks_N).double()


@final
@dataclass(frozen=True, kw_only=True)
class AdaptThinkReward(OpenedReward, Composite):
    """The reward of AdaptThink (arXiv 2505.13417, Eq. 6): ``c - acc_ref + delta 1[no thinking]``; it is the advantage.

    ``acc_ref``, the start policy's accuracy on the prompt when it thinks, is the column ``reference_accuracy``
    (`leanthink prepare --reference`); sample it under the same limit and form as training. There is no group statistic:
    use ``no_baseline``. A group's mean would take ``delta`` away in a group of one mode, and no deviation belongs on
    it.

    Training samples ``share`` of each group without thinking, rounded as Python rounds (2 of 5, 4 of 7): these begin
    with ``short_opening``, the others with ``long_opening``. Both are given, stay in the loss, and the loss
    `adapt_think` corrects for it. The mode is what was given, whatever the text looks like; a thinking response that
    closes at once is none without. The paper's ``c`` is 1 for a right and well-formed answer; ``valid`` says what is.

    Args:
        delta: what not thinking is worth, 0 or more; 0.05 in the paper, which compares 0 to 0.1.
        share: of a group that does not think, in (0, 1).
        valid: a reward that is nonzero for a well-formed response; an ill-formed one is wrong. None: all are.
        long_opening: the token that a thinking response begins with: a common first word of the model's.
        short_opening: the token that ends the thinking.
        short_limit: the most tokens of a response that does not think, its opening included; 4096 in the released code,
            not stated in the paper. None: the run's.
        opened_by_prompt: the chat template ends in the tag that opens the thinking, as DeepSeek-R1's does. Where it
            does not, ``long_opening`` is that tag.

    >>> batch = RolloutBatch.of(
    ...     group=[0] * 3, length=[90, 40, 800], correct=[1, 0, 1], mode=[0, 0, 1], reference_accuracy=[0.5] * 3
    ... )
    >>> AdaptThinkReward()(batch)[0]
    tensor([ 0.5500, -0.4500,  0.5000], dtype=torch.float64)
    """

    delta: float = 0.05
    share: float = 0.5
    valid: Reward | None = None
    long_opening: str = "Alright"
    short_opening: str = "</think>"
    short_limit: int | None = None
    opened_by_prompt: bool = True
    is_term = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, fine, allowed in (
            ("delta", self.delta >= 0, "0 or more"),
            ("share", 0 < self.share < 1, "a share of a group above 0 and below 1"),
            ("long_opening", bool(self.long_opening), "the token that thinking begins with"),
            ("short_opening", self.short_opening not in ("", self.long_opening), "another token than long_opening"),
            ("short_limit", self.short_limit is None or self.short_limit > 1, "2 tokens or more, or nothing"),
        ):
            if not fine:
                raise ConfigError(f"adapt_think_reward: {name} is {getattr(self, name)!r}; give {allowed}")

    @property
    def requires(self) -> frozenset[str]:
        """The mode, the start policy's accuracy, and what the form needs."""
        return super().requires | {MODE, REFERENCE_ACCURACY}

    def opening(self, session: int, rollouts: int) -> Opening:
        """No thinking for the first ``share`` of a group.

        Raises:
            ConfigError: one of the modes would have no response.
        """
        short = round(rollouts * self.share)
        if not 0 < short < rollouts:
            raise ConfigError(
                f"adapt_think_reward: a share of {self.share} of {rollouts} rollouts leaves one mode without a "
                "response; set actor_rollout_ref.rollout.n to 2 or more, or give another share"
            )
        thinks = session >= short
        return Opening(
            text=self.long_opening if thinks else self.short_opening,
            one_token=True,
            is_trained=True,
            limit=None if thinks else self.short_limit,
            columns={MODE: float(thinks)},
        )

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The reward of each response."""
        mode_N, reference_N = batch.column(MODE), batch.column(REFERENCE_ACCURACY)
        check_values(MODE, (mode_N == 0) | (mode_N == 1), mode_N, "give 1 for thinking and 0 for none")
        cure = "give the start policy's accuracy on the prompt, from 0 to 1 (`leanthink prepare --reference`)"
        check_values(REFERENCE_ACCURACY, (reference_N >= 0) & (reference_N <= 1), reference_N, cure)
        right_N = batch.correct == 1
        if self.valid is not None:
            right_N = right_N & (part("valid", batch) != 0)
        return adapt_think_reward(right_N, mode_N == 1, reference_N, self.delta)
