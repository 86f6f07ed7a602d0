r"""LC-R1's compress reward: the share of the thinking that was cut off, paid at the token that ends the thinking.

And what is cut: an extractor names the valid thinking, up to where the correct answer is first reached.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias, final, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.boxes import last_box
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.functions import check_name, load_function
from leanthink.core.placement import Placement
from leanthink.core.reward import PlacedReward, RewardN
from leanthink.rewards.segmentation import find_thinking, token_at, token_pieces

THINKING_TOKENS: Final = "thinking_tokens"
"""The column of the thinking's tokens before it was compressed; 0 where it was not closed, so that nothing was."""
KEPT_TOKENS: Final = "kept_thinking_tokens"
"""The column of the thinking's tokens that are left; they stand before the tag that ends the thinking."""
ANSWER_KEPT: Final = "answer_kept"
"""The column of whether the answer is among what is left of the thinking, 1 or 0, by the rule of ``kept``."""
END_TOKEN: Final = "thinking_end_token"
"""The column of the token (from 0) that ends the thinking of the compressed response; -1 where there is none."""

Extractor: TypeAlias = Callable[[str, str, str], str]
"""From the question, the thinking and the answer part to the valid thinking, a beginning of the thinking."""

Kept: TypeAlias = Literal["mention", "nonempty"]

RULE: Final = "leanthink.rewards.thinking_compression:until_answer"

LONG: Final = 200
"""Characters of an answer from which on it is looked for letter by letter."""

_WORD_BEFORE: Final = re.compile(r"[\w.]")
_WORD_BEHIND: Final = re.compile(r"\w|\.\d|,\d{3}(?!\d)")
_MARKS: Final = re.compile(r"<[^<>\s]*>|\\[()\[\]]|\s+")  # of tags and maths, and white space
_THOUSANDS: Final = re.compile(r"(\d{1,3})((?:(?:,|\{,\})?\d{3})+)(\.\d+)?")
_FRACTION: Final = re.compile(r"\\[dtc]?frac\{(\d+)\}\{(\d+)\}|(\d+)/(\d+)")


def final_answer(answer: str) -> str:
    r"""What an answer part answers: what its last box holds, else its last word, without the marks around it.

    >>> final_answer(r"So it is \boxed{ 56 } apples."), final_answer("It is **56**.")
    ('56', '56')
    """
    box = last_box(answer)
    words = (word.lstrip("*$`").rstrip("*$`.,;:") for word in _MARKS.split(answer))
    return box if box is not None else next(reversed([word for word in words if word]), "")


def position_of(answer: str, thinking: str) -> int | None:
    r"""Where the first mention of an answer in a thinking ends, as a word of its own; None without one.

    A number counts with and without commas between its thousands, a fraction of whole numbers also as ``1/2``.

    >>> position_of("5,000", "That is 5000."), position_of(r"\frac{1}{2}", "1/2 it is"), position_of("5", "5.5 or 15")
    (12, 3, None)
    """
    if not answer:
        return None
    if len(answer) > LONG:
        return _position_of_text(answer, thinking)
    written = re.escape(answer)
    if number := _THOUSANDS.fullmatch(answer):
        groups = re.findall(r"\d{3}", number[2])
        written = r"(?:,|\{,\})?".join([number[1], *groups]) + re.escape(number[3] or "")
    elif fraction := _FRACTION.fullmatch(answer):
        over, under = (part for part in fraction.groups() if part)
        written = rf"(?:\\[dtc]?frac\{{{over}\}}\{{{under}\}}|{over}/{under})"
    found = re.search(rf"(?<!{_WORD_BEFORE.pattern}){written}(?!{_WORD_BEHIND.pattern})", thinking)
    return found.end() if found else None


def _position_of_text(answer: str, thinking: str) -> int | None:
    """As `position_of`, letter by letter and in one pass: where mentions overlap, only the first is looked at."""
    start = thinking.find(answer)
    while start >= 0:
        end = start + len(answer)
        if not _WORD_BEFORE.search(thinking[max(start - 1, 0) : start]) and not _WORD_BEHIND.match(thinking, end):
            return end
        start = thinking.find(answer, end)
    return None


def until_answer(question: str, thinking: str, answer: str) -> str:
    """The thinking up to the first mention of the final answer: a rule in place of LC-R1's extraction model.

    All of it where the answer is nowhere mentioned. An operand that equals the answer is taken for it.

    >>> until_answer("1 + 1 =", "1 + 1 = 2. Wait, 1 + 1 = 2.", "So 2.")
    '1 + 1 = 2'
    """
    end = position_of(final_answer(answer), thinking)
    return thinking if end is None else thinking[:end]


def compression(
    before_N: Float[Tensor, " N"],
    after_N: Float[Tensor, " N"],
    correct_N: Bool[Tensor, " N"],
    kept_N: Bool[Tensor, " N"],
) -> Float[Tensor, " N"]:
    """``1 - after / before`` if correct and the answer is kept, -1 if correct and it is not, 0 if wrong."""
    share_N = 1 - after_N / before_N.clamp(min=1.0)
    return torch.where(correct_N & (before_N > 0), torch.where(kept_N, share_N, -1.0), 0.0)


class Compressed(NamedTuple):
    """A response with its thinking cut: which of its tokens are left, and the four columns about it."""

    left: list[int]
    columns: dict[str, float]


@final
@dataclass(frozen=True, kw_only=True)
class ThinkingCompression(PlacedReward):
    r"""The compress reward of LC-R1 (arXiv 2506.14755, Eq. 11), ``gamma r`` at the token that ends the thinking.

    ``r = 1 - |t(o')| / |t(o)|``, ``t(o)`` being the thinking of a response and ``t(o')`` what is left of it, in tokens,
    where the response is correct and its answer is in ``t(o')``; -1 where it is correct and the answer is not; 0 where
    it is wrong, or its thinking was never closed. For an advantage by token: `outcome_and_steps`.

    Training compresses the sampled responses as this part says and trains on what is left (``o'``): the valid thinking,
    the closing tag, the answer. Their log-probabilities at sampling no longer hold behind the cut; verl has to compute
    them anew (no ``bypass_mode``). A replay reads the columns from the file.

    Args:
        gamma: weight of the reward.
        extractor: "pkg.mod:fn", called with question, thinking and answer part; returns the valid thinking, which must
            be a beginning of the thinking, "" for none. LC-R1 uses a fine-tuned model of 3B parameters; put a call of
            yours here. The default is a rule: up to the first mention of the final answer.
        kept: when the answer is in ``t(o')``: "mention" looks for it there, letter by letter but for the notation of
            plain numbers, which is the nearest to the paper; "nonempty", the released code's, is for extractors that
            read: whatever is left holds it. Where the rule that is the default cuts nothing, it has found no mention,
            which says little of a right answer: that counts as kept, and the reward is 0.
        open_tag: what opens the thinking.
        close_tag: what closes it.
        opened_by_prompt: the chat template ends in the opening tag, as DeepSeek-R1's does.

    >>> batch = RolloutBatch.of(
    ...     group=[0, 0], length=[60, 90], correct=[1, 0], thinking_tokens=[200, 80], kept_thinking_tokens=[50, 80],
    ...     answer_kept=[1, 1], thinking_end_token=[51, 81],
    ... )
    >>> ThinkingCompression().place(batch)[1].amount
    tensor([0.7500], dtype=torch.float64)
    """

    gamma: float = 1.0
    extractor: str = RULE
    kept: Kept = "mention"
    open_tag: str = "<think>"
    close_tag: str = "</think>"
    opened_by_prompt: bool = False
    is_term = True

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ConfigError(f"thinking_compression: gamma is {self.gamma}; give 0 or more")
        if self.kept not in get_args(Kept):
            raise ConfigError(f"thinking_compression: kept is {self.kept!r}; give {' or '.join(get_args(Kept))}")
        if not self.open_tag or not self.close_tag:
            raise ConfigError("thinking_compression: open_tag and close_tag may not be empty; give the model's own")
        check_name(self.extractor, "thinking_compression: extractor")

    @property
    def requires(self) -> frozenset[str]:
        """The four columns about the compressed thinking."""
        return frozenset({THINKING_TOKENS, KEPT_TOKENS, ANSWER_KEPT, END_TOKEN})

    def place(self, batch: RolloutBatch) -> tuple[RewardN, Placement]:
        """The total of each response, and the token it falls on."""
        before_N, after_N, token_N = batch.column(THINKING_TOKENS), batch.column(KEPT_TOKENS), batch.column(END_TOKEN)
        kept_N = batch.column(ANSWER_KEPT) == 1
        value_N = self.gamma * compression(before_N, after_N, batch.correct == 1, kept_N)
        paid_N = (value_N != 0) & (token_N >= 0) & (token_N < batch.length)
        value_N = torch.where(paid_N, value_N, 0.0)
        rows = paid_N.nonzero().squeeze(-1)
        return value_N, Placement(row=rows, token=token_N[rows].long(), amount=value_N[rows])

    def find_extractor(self) -> Extractor:
        """The function that ``extractor`` names.

        Raises:
            ConfigError: there is none of that name.
        """
        return load_function(self.extractor, "thinking_compression: extractor")

    def compress(
        self, token_ids: Sequence[int], decode: Callable[[Sequence[int]], str], question: str, extractor: Extractor
    ) -> Compressed:
        """One response with its thinking cut; whole where its thinking is not closed.

        Args:
            token_ids: the response.
            decode: from ids to text, special tokens kept.
            question: the prompt's text.
            extractor: what `find_extractor` gives.

        Raises:
            BatchError: the extractor returned what is no beginning of the thinking.
        """
        pieces = token_pieces(token_ids, decode)
        text = "".join(pieces)
        everything = list(range(len(token_ids)))
        thinking = find_thinking(text, self.open_tag, self.close_tag, self.opened_by_prompt)
        if thinking is None or thinking.closed is None:
            return Compressed(everything, {THINKING_TOKENS: 0.0, KEPT_TOKENS: 0.0, ANSWER_KEPT: 0.0, END_TOKEN: -1.0})
        thought, answer = text[thinking.begin : thinking.end], text[thinking.closed :]
        valid = extractor(question, thought, answer)
        if not isinstance(valid, str) or not thought.startswith(valid):
            raise BatchError(
                f"thinking_compression: extractor {self.extractor} returned {valid!r:.80}, which is no beginning of "
                "the thinking; return the valid thinking as it stands there, or ''"
            )
        first = token_at(pieces, [thinking.begin])[0]
        close, last = token_at(pieces, [thinking.end, thinking.closed - 1])
        cut = thinking.begin + len(valid)
        stop = close if cut >= thinking.end else first if not valid else min(token_at(pieces, [cut - 1])[0] + 1, close)
        left = [*everything[:stop], *everything[close:]]
        if self.kept == "nonempty":
            kept = bool(valid)
        else:
            whole = self.extractor == RULE and stop == close
            kept = whole or position_of(final_answer(answer), valid) is not None
        columns = {
            THINKING_TOKENS: float(close - first),
            KEPT_TOKENS: float(stop - first),
            ANSWER_KEPT: float(kept),
            END_TOKEN: float(stop + last - close),
        }
        return Compressed(left, columns)
