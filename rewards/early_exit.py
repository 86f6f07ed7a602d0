"""S-GRPO: of one path's early exits, the first right answer earns 1, the next a half, and so on.

``_N`` responses.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal, final, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch, check_values
from leanthink.core.errors import ConfigError
from leanthink.core.groups import group_min
from leanthink.core.reward import Reward, RewardN, Scope
from leanthink.rewards.segmentation import find_thinking, token_at, token_pieces

EXIT_ORDER: Final = "exit_order"
"""The column of a response's place among its group's exits, by the position of the cut; the full path is the last."""

Places = Literal["tokens", "steps"]

_STEP_END: Final = re.compile(r"(?<=\S)[^\S\n]*\n\s*\n\s*")

INDUCER: Final = "Time is limited, stop thinking and start answering.\n</think>\n\n"


def decaying_reward(
    correct_N: Bool[Tensor, " N"], order_N: Float[Tensor, " N"], group_N: Int[Tensor, " N"], decay: float = 2.0
) -> Float[Tensor, " N"]:
    """``1 / decay^k`` for a correct response with ``k`` correct ones before it in its group's order; 0 for a wrong one.

    Of responses of one place, those come before that stand before.
    """
    ranked_N = torch.argsort(order_N, stable=True)
    ranked_N = ranked_N[torch.argsort(group_N[ranked_N], stable=True)]
    right_N = correct_N[ranked_N].to(order_N)
    before_N = torch.empty_like(order_N)
    before_N[ranked_N] = right_N.cumsum(0) - right_N
    before_N = before_N - group_min(before_N, group_N)[group_N]
    return torch.where(correct_N, decay**-before_N, 0.0)


@final
@dataclass(frozen=True, kw_only=True)
class EarlyExit(Reward):
    r"""The decaying reward of S-GRPO (Early Exit via Reinforcement Learning, arXiv 2505.07686, Eq. 1, Algorithm 1).

    A group is serial: one full path, and exits from it. The path's thinking is cut at places drawn without replacement,
    uniform over its tokens; after each cut stands the inducer, and the policy answers. In the order of the cuts, the
    full path last, the ``k``-th correct response earns ``1 / decay^(k - 1)``, a wrong one 0. What counts is the number
    of correct ones before, not the place. Two cuts at one place, which only rows of one's own can have, count both, in
    the order of the rows.

    Training samples groups in this way where this part is in the reward: ``actor_rollout_ref.rollout.n`` responses are
    the path and ``n - 1`` exits. The inducer's tokens are masked out of the loss; where the thinking has fewer tokens
    than there are exits, those too many are left out. The places follow from the path itself and ``seed``: there is no
    state. Whether the full path is one of the paper's eight is not confirmed, nor the unit of a place (tokens here).

    Args:
        decay: the ratio between successive rewards, above 1.
        inducer: what is put after a cut; it closes the thinking.
        include_full_path: whether the full path is trained on, too.
        places: where a cut may stand: behind each of the thinking's "tokens", or of its "steps", paragraphs that end in
            an empty line, with the token in which that ends. The paper's formula counts positions, its figures show
            thoughts.
        seed: of the places.
        open_tag: what opens the thinking.
        close_tag: what closes it.
        opened_by_prompt: the chat template ends in the opening tag, as DeepSeek-R1's does.

    >>> batch = RolloutBatch.of(group=[0] * 5, length=[9] * 5, correct=[0, 1, 1, 0, 1], exit_order=range(5))
    >>> EarlyExit()(batch)[0]
    tensor([0.0000, 1.0000, 0.5000, 0.0000, 0.2500], dtype=torch.float64)
    """

    decay: float = 2.0
    inducer: str = INDUCER
    include_full_path: bool = True
    places: Places = "tokens"
    seed: int = 0
    open_tag: str = "<think>"
    close_tag: str = "</think>"
    opened_by_prompt: bool = False
    scope = Scope.GROUP
    reads_order = True
    requires = frozenset({EXIT_ORDER})

    def __post_init__(self) -> None:
        if not self.decay > 1:
            raise ConfigError(f"early_exit: decay is {self.decay}; give a ratio above 1")
        if self.places not in get_args(Places):
            raise ConfigError(f"early_exit: places is {self.places!r}; give {' or '.join(get_args(Places))}")
        if not self.open_tag or not self.close_tag:
            raise ConfigError("early_exit: open_tag and close_tag may not be empty; give the model's own")
        if self.close_tag not in self.inducer:
            raise ConfigError(
                f"early_exit: inducer {self.inducer!r} does not close the thinking; put {self.close_tag!r} into it"
            )

    def score(self, batch: RolloutBatch) -> RewardN:
        """The reward of each response."""
        order_N = batch.column(EXIT_ORDER)
        check_values(EXIT_ORDER, order_N.isfinite(), order_N, "give the place of the cut, the full path's the greatest")
        return decaying_reward(batch.correct == 1, order_N, batch.group, self.decay)

    def cuts(self, token_ids: Sequence[int], decode: Callable[[Sequence[int]], str], exits: int) -> list[int]:
        """How many of a path's tokens stand before each cut, rising; fewer than ``exits`` where there are few tokens.

        Args:
            token_ids: the path, without end tokens.
            decode: from ids to text, special tokens kept.
            exits: how many are wanted.
        """
        pieces = token_pieces(token_ids, decode)
        thinking = find_thinking("".join(pieces), self.open_tag, self.close_tag, self.opened_by_prompt)
        if thinking is None:
            return []
        first, stop = token_at(pieces, [thinking.begin, thinking.end])
        places: Sequence[int] = range(first + 1, stop + 1)
        if self.places == "steps":
            thought, ends = "".join(pieces)[thinking.begin : thinking.end], list(accumulate(map(len, pieces)))
            steps = [thinking.begin + match.end() for match in _STEP_END.finditer(thought)]
            places = sorted({bisect_left(ends, step) + 1 for step in steps}.intersection(places))
        draw = random.Random(f"{self.seed}/{list(token_ids)}")
        return sorted(draw.sample(places, min(exits, len(places))))
