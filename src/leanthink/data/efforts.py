"""Levels of effort: each prompt once at every level, which it states and a column carries.

It states it in its system prompt, or by an argument of the chat template, as current models have it. verl gives its
template the same arguments for all rows; a row's own are put in by leanthink's agent loops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from leanthink.core.batch import PROMPT_KEY, TEMPLATE_ARGUMENTS
from leanthink.core.errors import ConfigError
from leanthink.data.prepare import Prepared
from leanthink.rewards.effort_length import EFFORT, EFFORT_NAME

SENTENCE: Final = "Reasoning effort: {effort}"


@dataclass(frozen=True, kw_only=True)
class Efforts:
    """How a prompt states its level of effort.

    Attributes:
        levels: their names, the least effort first.
        sentence: what the system prompt says, ``{effort}`` standing for the name.
        argument: the chat template's argument that gets the name, as "reasoning_effort"; the prompt then says nothing.

    >>> Efforts(levels=("low", "high")).said(1)
    'Reasoning effort: high'
    """

    levels: tuple[str, ...]
    sentence: str = SENTENCE
    argument: str | None = None

    def __post_init__(self) -> None:
        if len(self.levels) < 2 or len(set(self.levels)) < len(self.levels) or not all(self.levels):
            raise ConfigError(
                f"efforts are {list(self.levels)}; give two names or more, each another, the least effort first, as in "
                "--efforts low,medium,high"
            )
        if "{effort}" not in self.sentence:
            raise ConfigError(f"effort text is {self.sentence!r}; give a text with {{effort}} in it")
        if self.argument is not None and not self.argument.isidentifier():
            raise ConfigError(
                f"effort argument is {self.argument!r}; give the name of an argument that the model's chat template "
                "reads, as reasoning_effort"
            )

    def said(self, level: int) -> str:
        """What a prompt of a level states."""
        return self.sentence.replace("{effort}", self.levels[level])


def with_efforts(prepared: Prepared, efforts: Efforts) -> Prepared:
    """Each row once at every level: stated as ``efforts`` says, carried as ``effort`` (0, 1, ...) and ``effort_name``.

    A row's own ``prompt_key`` gets the level's name, so that each level is a prompt of its own.

    Raises:
        ConfigError: the rows have such a column already.
    """
    for rows in prepared.rows.values():
        taken = {EFFORT, EFFORT_NAME, *({TEMPLATE_ARGUMENTS} if efforts.argument else ())}
        if known := taken & rows[0]["extra_info"].keys():
            raise ConfigError(
                f"the data bring {min(known)!r} of their own; leave out --keep {min(known)}, or --efforts"
            )
    new = {split: [one for row in rows for one in at_levels(row, efforts)] for split, rows in prepared.rows.items()}
    return replace(prepared, rows=new)


def at_levels(row: Mapping[str, Any], efforts: Efforts) -> Iterator[dict[str, Any]]:
    """A row once at every level."""
    first, *rest = row["prompt"]
    for level, name in enumerate(efforts.levels):
        carried = {**row["extra_info"], EFFORT: level, EFFORT_NAME: name}
        if PROMPT_KEY in carried:
            carried[PROMPT_KEY] = f"{carried[PROMPT_KEY]}-{name}"
        if efforts.argument is not None:
            yield {**row, "extra_info": {**carried, TEMPLATE_ARGUMENTS: {efforts.argument: name}}}
            continue
        said = efforts.said(level)
        if first["role"] == "system":
            prompt = [{**first, "content": f"{first['content']}\n{said}"}, *rest]
        else:
            prompt = [{"role": "system", "content": said}, first, *rest]
        yield {**row, "prompt": prompt, "extra_info": carried}
