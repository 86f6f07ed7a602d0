"""The responses of a step, found by an index: a page of them is read, not the whole dump."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from leanthink.core.text import as_label
from leanthink.files.reading import lines_of, row_of
from leanthink.reporting.live.curves import NAME
from leanthink.runs.folder import is_size

PAGE: Final = 50
"""Responses sent at once."""
TEXT: Final = 20_000
"""Characters of a text that are sent; of a longer one its beginning and its end."""
PARTS: Final = 100
"""The most parts of a reward that are sent with a response."""
DIFFICULTIES: Final = 200
"""The most difficulties to choose from."""
CHOSEN_BY: Final[tuple[str, ...]] = ("acc", "unknown", "difficulty")
VERDICTS: Final = ("right", "wrong", "unknown")

Identity = tuple[int, int]


def identity(path: Path) -> Identity | None:
    """What tells a file from another of its name, growth aside; None where there is none."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino


@dataclass(kw_only=True)
class Index:
    """Where each response of a dump lies, with what it is chosen by; reads on while the dump grows.

    Attributes:
        dump: verl's file.
        shaped: what the recipe made of it, by ``uid``; None for an evaluation.
    """

    dump: Path
    shaped: Path | None = None
    _of: tuple[Identity | None, Identity | None] = (None, None)
    _end: int = 0
    _lines: int = 0
    _begins: array[int] = field(default_factory=lambda: array("q"))
    _verdicts: bytearray = field(default_factory=bytearray)
    _levels: array[int] = field(default_factory=lambda: array("q"))
    _names: dict[str, int] = field(default_factory=dict)
    _facts: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    def read_on(self) -> None:
        """Read what is new; all of it where a file is another than before.

        Raises:
            DataError: a line that is none, named.
        """
        now = (identity(self.dump), None if self.shaped is None else identity(self.shaped))
        if now != self._of or self.dump.stat().st_size < self._end:
            self._end = self._lines = 0
            self._begins, self._verdicts, self._levels = array("q"), bytearray(), array("q")
            self._names, self._facts, self._of = {}, {}, now
            if self.shaped is not None and now[1] is not None:
                for line in lines_of(self.shaped, whole=False):
                    if line.text.strip():
                        row = row_of(line.text, self.shaped, line.number)
                        chosen: dict[str, Any] = {
                            name: row[name] for name in ("acc", "unknown", "difficulty") if name in row
                        }
                        self._facts[str(row.get("uid"))] = (line.begin, chosen)
        for line in lines_of(self.dump, whole=False, begin=self._end, number=self._lines):
            if line.text.strip():
                row = row_of(line.text, self.dump, line.number)
                facts = {**row, **self._facts.get(str(row.get("uid")), (0, {}))[1]}
                self._begins.append(line.begin)
                self._verdicts.append(VERDICTS.index(_verdict(facts)))
                self._levels.append(self._names.setdefault(_difficulty(facts), len(self._names)))
            self._end, self._lines = line.end, line.number

    def page(self, verdict: str, difficulty: str, offset: int) -> dict[str, Any]:
        """Some of the responses that were asked for, how many there are, and what there is to choose from."""
        level = self._names.get(difficulty)
        wanted = [
            begin
            for begin, code, of in zip(self._begins, self._verdicts, self._levels, strict=True)
            if verdict in ("", VERDICTS[code]) and (difficulty == "" or of == level)
        ]
        rows = [self._row(begin) for begin in wanted[offset : offset + PAGE]]
        difficulties = sorted(name for name in self._names if name)[:DIFFICULTIES]
        return {"rows": rows, "total": len(wanted), "difficulties": difficulties}

    def _row(self, begin: int) -> dict[str, Any]:
        line = next(lines_of(self.dump, begin=begin))
        row = row_of(line.text, self.dump, line.number)
        return _shown(row, self._shaped_of(row))

    def _shaped_of(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        found = self._facts.get(str(row.get("uid")))
        if found is None or self.shaped is None:
            return {}
        line = next(lines_of(self.shaped, begin=found[0]))
        return row_of(line.text, self.shaped, line.number)


def _verdict(facts: Mapping[str, Any]) -> str:
    return "unknown" if facts.get("unknown") or "acc" not in facts else "right" if facts["acc"] else "wrong"


def _difficulty(facts: Mapping[str, Any]) -> str:
    return as_label(facts.get("difficulty", ""))


def _shown(row: Mapping[str, Any], shaped: Mapping[str, Any]) -> dict[str, Any]:
    """A response as the page shows it."""
    facts = {**row, **shaped}
    parts = shaped.get("parts")
    parts = parts if isinstance(parts, Mapping) else {}
    named = ((as_label(name, NAME), value) for name, value in parts.items() if is_size(value))
    return {
        "prompt": _cut(str(row.get("input", ""))),
        "response": _cut(str(row.get("output", ""))),
        "gold": _cut(str(row.get("gts", ""))),
        "verdict": _verdict(facts),
        "reason": as_label(facts.get("reason", "")),
        "difficulty": _difficulty(facts),
        "length": _number(facts.get("length")),
        "truncated": bool(facts.get("truncated")),
        "reward": _number(shaped.get("reward")),
        "advantage": _number(shaped.get("advantage")),
        "parts": dict(islice(named, PARTS)),
    }


def _number(value: Any) -> float | None:
    """A number, which is no longer than one is; None for anything else."""
    return value if is_size(value) else None


def _cut(text: str) -> str:
    if len(text) <= TEXT:
        return text
    left_out = len(text) - TEXT
    return f"{text[: TEXT // 2]}\n[... {left_out:,} characters left out ...]\n{text[-TEXT // 2 :]}"
