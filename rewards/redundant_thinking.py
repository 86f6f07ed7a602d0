"""DECS: tokens of the thinking behind the part that is needed are worth less; easy prompts come in as that falls.

``_K`` spans.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.control import StatefulComposite
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.functions import check_name, load_function
from leanthink.core.measured import PieceReward
from leanthink.core.placement import Placement
from leanthink.core.reward import Part, PlacedReward, RewardN, Scope, State
from leanthink.rewards.segmentation import find_thinking, token_at
from leanthink.rewards.thinking_compression import final_answer, position_of

Form: TypeAlias = Literal["released", "paper"]
Share: TypeAlias = Literal["chunks", "tokens"]
Detector: TypeAlias = Callable[[str, str, str], str | None]
"""From the question, the thinking and the answer part to the beginning of the thinking in which the answer stands."""

OPENERS: Final = ("Wait", "But", "Alternatively", "Hmm", "Let", "Therefore")
RULE: Final = "leanthink.rewards.redundant_thinking:until_first_mention"


def until_first_mention(question: str, thinking: str, answer: str) -> str | None:
    """The thinking up to the first mention of the final answer: a rule in place of DECS's detector model.

    None where the answer is nowhere mentioned. An operand that equals the answer is taken for it.

    >>> until_first_mention("1 + 1 =", "1 + 1 = 2. Wait, 1 + 1 = 2.", "So 2.")
    '1 + 1 = 2'
    """
    end = position_of(final_answer(answer), thinking)
    return None if end is None else thinking[:end]


_SIGN: Final = re.compile(r"\S")


@lru_cache(maxsize=8)
def _pattern(openers: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf" ?(?<!\w)(?:{'|'.join(map(re.escape, openers))})")


def _behind_break(text: str, begin: int) -> int:
    """The first sign behind a line break that itself stands behind a sign, blanks apart; the text's end without one."""
    first = _SIGN.search(text, begin)
    line_end = text.find("\n", first.start()) if first else -1
    behind = _SIGN.search(text, line_end) if line_end >= 0 else None
    return behind.start() if behind else len(text)


def chunk_ends(thinking: str, openers: tuple[str, ...] = OPENERS, joins: bool = True) -> list[int]:
    r"""Where the chunks of a thinking end: before each word that opens a new thought, and at its end.

    Where it ``joins``, a chunk without a line break inside it is joined to the next, but for the last.

    >>> chunk_ends("It is\n4. Wait, 4. But 4\nor 5. Hmm"), chunk_ends("")
    ([8, 29, 33], [0])
    """
    starts = [match.start() for match in _pattern(openers).finditer(thinking) if match.start()]
    if not joins:
        return [*starts, len(thinking)]
    ends: list[int] = []
    broken = _behind_break(thinking, 0)
    for start in starts:
        if broken < start:
            ends.append(start)
            broken = _behind_break(thinking, start)  # reads on from there: the text is gone through once
    return [*ends, len(thinking)]


def redundant_span(
    pieces: Sequence[str],
    question: str,
    detector: Detector,
    tags: tuple[str, str, bool],
    openers: tuple[str, ...] = OPENERS,
    joins: bool = True,
) -> tuple[int, int, float, float]:
    """The first and the past-the-last redundant token, and the needed share of the thinking in chunks and in tokens.

    All chunks up to the first that holds the end of what the detector returns are needed. The tokens are -1 where
    nothing is redundant; both shares are 0 where no chunk has the answer.

    Args:
        pieces: the text that each token of the response adds.
        question: the prompt's text.
        detector: names the beginning of the thinking in which the answer stands.
        tags: what opens and what closes the thinking, and whether the prompt has opened it.
        openers: words that open a new thought.
        joins: whether chunks without a line break are joined to the next.

    Raises:
        BatchError: the detector returned what is no beginning of the thinking.
    """
    text = "".join(pieces)
    thinking = find_thinking(text, *tags)
    if thinking is None:
        return -1, -1, 0.0, 0.0
    thought = text[thinking.begin : thinking.end]
    answer = text[thinking.closed :] if thinking.closed is not None else thought
    found = detector(question, thought, answer)
    if found is None:
        return -1, -1, 0.0, 0.0
    if not isinstance(found, str) or not thought.startswith(found):
        raise BatchError(
            f"redundant_thinking: the detector returned {found!r:.80}, which is no beginning of the thinking; return "
            "that as it stands there, or None"
        )
    ends = chunk_ends(thought, openers, joins)
    needed = next(number for number, end in enumerate(ends) if len(found) <= end)
    begin, cut, end = token_at(pieces, [thinking.begin, thinking.begin + max(ends[needed] - 1, 0), thinking.end])
    first = cut + 1 if ends[needed] else begin
    total = max(end - begin, 1)
    if needed == len(ends) - 1 or first >= end:
        return -1, -1, 1.0, 1.0
    return first, end, (needed + 1) / len(ends), (first - begin) / total


def deduction(length_N: Float[Tensor, " N"], difference: float, longest: float, form: Form) -> Float[Tensor, " N"]:
    """How much less a redundant token is worth: ``difference L / longest``, in the paper's form ``difference`` more."""
    return difference * (length_N / longest + (1.0 if form == "paper" else 0.0))


@final
@dataclass(frozen=True, kw_only=True)
class RedundantThinking(PieceReward, PlacedReward):
    """The token reward of DECS (arXiv 2509.25827, Eq. 9), for the advantage `position_norm`.

    A right response is worth ``1 + difference`` at each token, but at those of its thinking behind the necessary
    prefix: these are worth less, the longer the response the less. Wrong ones are worth 0. What is placed are the steps
    of that value: down at the first redundant token, up again where the thinking ends, so that a response's total is
    its value at the end; no other advantage knows what to do with them.

    A detector says which beginning of the thinking holds the right answer; the chunk in which that ends is needed
    whole. Chunks begin at words that open a new thought. It is asked about right, complete responses only. DECS asks a
    small fine-tuned model about each chunk; the default is a rule, the first mention of the final answer. Put a call of
    yours here, and check its precision: a chunk that repeats a number of the question is easily taken for the answer.

    By the paper a redundant token is worth ``1 - difference L / longest``, by the released code (DECS at 0d12e53),
    whose models are published, ``difference`` more.

    Args:
        difference: alpha; 0.1.
        longest: tokens of the window, ``L_max``; 16384.
        form: "released" or "paper".
        detector: "pkg.mod:fn", called with question, thinking and answer part; returns a beginning of the thinking, or
            None where the answer is not there.
        openers: words that a new chunk begins with.
        joins: whether a chunk without a line break inside it is joined to the next, as in the released code.
        share: what the needed share is counted in, for `easy_share`: "chunks" as in the released code, or "tokens".
        open_tag: what opens the thinking.
        close_tag: what closes it.
        opened_by_prompt: the chat template ends in the opening tag, as DeepSeek-R1's does.

    >>> reward = RedundantThinking()
    >>> batch = RolloutBatch.of(group=[0], length=[4000], correct=[1], **{reward.column: ["1500:3800:0.5:0.4"]})
    >>> total_N, placement = reward.place(batch)
    >>> total_N, placement.token, placement.amount
    (tensor([1.1000], dtype=torch.float64), tensor([1500, 3800]), tensor([-0.0244,  0.0244], dtype=torch.float64))
    """

    difference: float = 0.1
    longest: int = 16384
    form: Form = "released"
    detector: str = RULE
    openers: tuple[str, ...] = OPENERS
    joins: bool = True
    share: Share = "chunks"
    open_tag: str = "<think>"
    close_tag: str = "</think>"
    opened_by_prompt: bool = False
    is_term = False

    def __post_init__(self) -> None:
        for name, fine, allowed in (
            ("difference", self.difference > 0, "a number above 0"),
            ("longest", self.longest >= 1, "the tokens of the window"),
            ("form", self.form in get_args(Form), " or ".join(get_args(Form))),
            ("share", self.share in get_args(Share), " or ".join(get_args(Share))),
            ("openers", all(self.openers) and bool(self.openers), "one word or more"),
            ("open_tag", bool(self.open_tag), "the model's own"),
            ("close_tag", bool(self.close_tag), "the model's own"),
        ):
            if not fine:
                raise ConfigError(f"redundant_thinking: {name} is {getattr(self, name)!r}; give {allowed}")
        check_name(self.detector, "redundant_thinking: detector")

    def find(self, prompt: str, pieces: Sequence[str]) -> str:
        """``from:to:chunks:tokens``: the redundant tokens and the needed share, as `redundant_span` finds them."""
        detector = load_function(self.detector, "redundant_thinking: detector")
        tags = (self.open_tag, self.close_tag, self.opened_by_prompt)
        begin, end, chunks, tokens = redundant_span(pieces, prompt, detector, tags, self.openers, self.joins)
        return f"{begin}:{end}:{chunks:.6g}:{tokens:.6g}"

    def place(self, batch: RolloutBatch) -> tuple[RewardN, Placement]:
        """The value at each response's end, and the steps before it."""
        right_N = (batch.correct == 1) & ~batch.truncated
        total_N = torch.where(batch.correct == 1, 1 + self.difference, torch.zeros_like(batch.length))
        amount_N = deduction(batch.length, self.difference, self.longest, self.form)
        rows, tokens, amounts = [], [], []
        for row, (begin, end, _, _) in self._found(batch):
            last = int(batch.length[row]) - 1
            if bool(right_N[row]) and 0 <= begin < last:
                rows += [row, row]
                tokens += [begin, min(end, last)]
                amounts += [-amount_N[row], amount_N[row]]
        device = batch.group.device
        placed = Placement(
            row=torch.tensor(rows, dtype=torch.int64, device=device),
            token=torch.tensor(tokens, dtype=torch.int64, device=device),
            amount=torch.stack(amounts) if amounts else torch.zeros(0, dtype=torch.float64, device=device),
        )
        return total_N, placed

    def necessary_share(self, batch: RolloutBatch) -> float | None:
        """The mean needed share of right responses, of those that have one; None where there is none."""
        found = {row: shares for row, (_, _, *shares) in self._found(batch)}
        right = ((batch.correct == 1) & ~batch.truncated).nonzero().squeeze(-1).tolist()
        values = [found[row][self.share == "tokens"] for row in right if row in found]
        values = [value for value in values if value > 0]
        return sum(values) / len(values) if values else None

    def _found(self, batch: RolloutBatch) -> list[tuple[int, tuple[int, int, float, float]]]:
        found = []
        for row, text in enumerate(batch.values(self.column)):
            if not text:
                continue
            try:
                begin, end, chunks, tokens = str(text).split(":")
                found.append((row, (int(begin), int(end), float(chunks), float(tokens))))
            except ValueError:
                raise BatchError(
                    f"redundant_thinking, row {row}: {text!r:.80} tells no redundant tokens; give "
                    "'from:to:chunks:tokens' as in '1500:3800:0.5:0.4', with -1 for none, or nothing"
                ) from None
        return found


def next_easy_share(
    share: float, needed: float, before: float, rate: float, most: float = 1.0, least: float | None = 0.0
) -> float:
    """``clip(share + rate (needed - before), least, most)``; without a ``least`` not clipped at all."""
    moved = share + rate * (needed - before)
    return moved if least is None else min(max(moved, least), most)


@final
@dataclass(frozen=True, kw_only=True)
class EasyShare(StatefulComposite):
    """The curriculum of DECS (arXiv 2509.25827, Eq. 11): how many always-solved prompts a batch may have.

    ``kappa <- kappa + rate (R - R_before)``, ``R`` being the mean needed share of right responses' thinking in a
    training batch: as thinking becomes leaner, more prompts come in that are always solved, where all of the pressure
    is. Where ``algorithm.filter_groups`` is on with metric ``acc``, the sampler keeps always-solved groups up to
    ``kappa`` of a batch, instead of dropping them all. The reward is that of ``of``, as it is.

    The paper clips at 0 and at the share of always-solved prompts among those sampled, which no more than exist amounts
    to; the released code clips nothing, a negative ``kappa`` being none, and compares the first batch with 0.5. In the
    paper's form the first batch is compared with nothing.

    Args:
        of: the reward that knows what is redundant.
        rate: 0.2.
        start_share: kappa at first, from 0 on, below 1.
        form: "released" or "paper".

    >>> EasyShare(of=RedundantThinking()).init()["own"]
    {'kappa': 0.0, 'needed': 0.5}
    """

    of: RedundantThinking = RedundantThinking()
    rate: float = 0.2
    start_share: float = 0.0
    form: Form = "released"
    scope = Scope.BATCH
    carries = frozenset({"of"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate < 0 or not 0 <= self.start_share < 1 or self.form not in get_args(Form):
            raise ConfigError(
                f"easy_share: rate is {self.rate}, start_share {self.start_share} and form {self.form!r}; give a rate "
                f"of 0 or more, a share from 0 on, below 1, and form {' or '.join(get_args(Form))}"
            )

    def start(self) -> State:
        """The first share, and what the first batch is compared with; 0 for nothing."""
        return {"kappa": self.start_share, "needed": 0.5 if self.form == "released" else 0.0}

    def update(self, batch: RolloutBatch, part: Part, own: State) -> tuple[RewardN, State]:
        """The reward as it is, and the share after the batch."""
        reward_N, needed = part("of", batch), self.of.necessary_share(batch)
        if needed is None:
            return reward_N, own
        if own["needed"] == 0:
            return reward_N, {**own, "needed": needed}
        least = None if self.form == "released" else 0.0
        kappa = next_easy_share(own["kappa"], needed, own["needed"], self.rate, least=least)
        return reward_N, {"kappa": kappa, "needed": needed}

    def kept(self, mixed: int, easy: int, state: State) -> int:
        """How many of ``easy`` always-solved groups may stay beside ``mixed`` ones: up to ``kappa`` of them all."""
        kappa = min(state["own"]["kappa"], 1 - 1e-9)
        return min(easy, int(kappa * mixed / (1 - kappa) + 1e-9)) if kappa > 0 else 0

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """The share for the next batch, and the needed share that moved it."""
        return {"kappa": float(state["kappa"]), "needed": float(state["needed"])}

    def wrong_state(self, state: State) -> str | None:
        """A needed share that is none, or a kappa beyond any."""
        if not 0 <= state["needed"] <= 1:
            return f"needed is {state['needed']}; give a share from 0 to 1"
        return None if -10 <= state["kappa"] <= 10 else f"kappa is {state['kappa']}; give a share of the batch"
