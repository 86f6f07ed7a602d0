"""The pages that people read, taken apart: fenced blocks and words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE)
NOT_RUN = re.compile(r"<!-- not run: (?P<why>[^>]+) -->\n\n?\Z")
TAKEN = re.compile(r"<!-- from (?P<file>\S+) -->\n\n?\Z")
WRITTEN = re.compile(r"<!-- make docs: ([^>]+) -->\n.*?<!-- end of \1 -->\n", re.DOTALL)
NAMED = re.compile(r"# (?P<name>[\w./-]+\.(?:py|yaml))\b")


class Block(NamedTuple):
    """A fenced block, and what the page says of it."""

    page: Path
    number: int
    language: str
    text: str
    not_run: str
    """Why it is not run; empty where it is."""
    taken_from: str
    """The file that it is a part of, from the root; empty where it stands for itself."""

    @property
    def place(self) -> str:
        """The page and the block's number in it."""
        return f"{self.page.relative_to(ROOT)}, block {self.number}"

    @property
    def file(self) -> str:
        """The file that its first line names; empty where it names none."""
        found = NAMED.match(self.text)
        return found["name"] if found else ""


def pages() -> list[Path]:
    """Every page, the README's included."""
    named = ("README.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md", "recipes/README.md")
    return [*(ROOT / name for name in named), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """The blocks of a page, of some languages or of all."""
    text = page.read_text(encoding="utf-8")
    for number, found in enumerate(FENCE.finditer(text), 1):
        before = text[: found.start()]
        not_run, taken = NOT_RUN.search(before), TAKEN.search(before)
        if not languages or found["language"] in languages:
            yield Block(
                page=page,
                number=number,
                language=found["language"],
                text=found["text"],
                not_run=not_run["why"] if not_run else "",
                taken_from=taken["file"] if taken else "",
            )


def prose(page: Path) -> str:
    """A page without its blocks and without what `make docs` writes."""
    return FENCE.sub("", WRITTEN.sub("", page.read_text(encoding="utf-8")))
