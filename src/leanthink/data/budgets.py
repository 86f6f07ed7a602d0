"""Token budgets (L1, arXiv 2503.04697) and levels for prompts: drawn once, said in the prompt, carried as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from leanthink.core.errors import ConfigError
from leanthink.data.prepare import Prepared, share_of
from leanthink.rewards.budget import BUDGET
from leanthink.rewards.level_length import LEVEL

Kind = Literal["exact", "max", "both"]
KINDS: Final[tuple[Kind, ...]] = ("exact", "max", "both")

AT_MOST: Final = "at_most"
LEVELS: Final = ("Think briefly.", "Think at moderate length.", "Think as long as you need.")
SENTENCES: Final = {0: "Think for {budget} tokens.", 1: "Think for maximum {budget} tokens."}


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """How a prompt gets its token budget: by a hash of its text and the seed, so the same wherever it is asked.

    Attributes:
        kind: ``exact`` ("Think for N tokens."), ``max`` ("Think for maximum N tokens."), or ``both``: one or the other
            for each prompt, with probability 1/2.
        low: least budget; budgets are uniform whole numbers from ``low`` to ``high``, both included.
        high: greatest budget; the answer's tokens count as well, so leave room for them below the generation limit.
        seed: another number gives other budgets.

    >>> Budgets(kind="max", low=512, high=512).columns("1 + 1 =")
    {'budget': 512, 'at_most': 1}
    """

    kind: Kind
    low: int = 100
    high: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"budget is {self.kind!r}; give one of {', '.join(KINDS)}")
        if not 0 < self.low <= self.high:
            raise ConfigError(f"budgets go from {self.low} to {self.high}; give 1 or more tokens, the lesser first")

    def columns(self, prompt: str) -> dict[str, int]:
        """A prompt's budget in tokens, and whether it is a maximum (1) or exact (0)."""
        share = share_of(prompt, f"budget {self.seed}")
        kinds = {"exact": 0, "max": 1, "both": int(share_of(prompt, f"kind of budget {self.seed}") < 0.5)}
        return {BUDGET: self.low + int(share * (self.high - self.low + 1)), AT_MOST: kinds[self.kind]}

    def sentence(self, columns: Mapping[str, int]) -> str:
        """What a prompt says of its budget."""
        return SENTENCES[columns[AT_MOST]].format(budget=columns[BUDGET])


@dataclass(frozen=True, kw_only=True)
class Levels:
    """How a prompt gets its level of brevity, uniform over the levels: by a hash of its text and the seed.

    Attributes:
        sentences: what the prompt says, from the shortest level on. The wording is ours: TLDR's (arXiv 2505.07961) is
            not known, but that a level is announced.
        seed: another number gives other levels.

    >>> levels = Levels()
    >>> levels.sentence(levels.columns("1 + 1 ="))
    'Think briefly.'
    """

    sentences: tuple[str, ...] = LEVELS
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.sentences) < 2 or len(set(self.sentences)) < len(self.sentences) or not all(self.sentences):
            raise ConfigError(
                f"levels are {list(self.sentences)}; give two sentences or more, each another, the shortest level first"
            )

    def columns(self, prompt: str) -> dict[str, int]:
        """A prompt's level, 0 for the shortest."""
        return {LEVEL: int(share_of(prompt, f"level {self.seed}") * len(self.sentences))}

    def sentence(self, columns: Mapping[str, int]) -> str:
        """What a prompt says of its level."""
        return self.sentences[columns[LEVEL]]


def with_lengths(prepared: Prepared, said: Budgets | Levels) -> Prepared:
    """The same rows, each prompt with what it says of its length at its end and the columns in ``extra_info``.

    Raises:
        ConfigError: the rows have such a column already.
    """
    names, option = ({LEVEL}, "levels") if isinstance(said, Levels) else ({BUDGET, AT_MOST}, "budget")
    for rows in prepared.rows.values():
        if known := names & rows[0]["extra_info"].keys():
            raise ConfigError(
                f"the data bring {sorted(known)[0]!r} of their own; leave out --keep {sorted(known)[0]}, or --{option}"
            )
    new = {split: [_with_length(row, said) for row in rows] for split, rows in prepared.rows.items()}
    return replace(prepared, rows=new)


def _with_length(row: Mapping[str, Any], said: Budgets | Levels) -> dict[str, Any]:
    *before, message = row["prompt"]
    columns = said.columns(message["content"])
    return {
        **row,
        "prompt": [*before, {**message, "content": f"{message['content']} {said.sentence(columns)}"}],
        "extra_info": {**row["extra_info"], **columns},
    }
