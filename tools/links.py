"""Whether the links within this checkout's Markdown pages lead to a file, and to a heading in it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote

ROOT: Final = Path(__file__).parents[1]
_LINK: Final = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()\s]*\))?)(?: \"[^\"]*\")?\)")
_FENCE: Final = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`+[^`\n]*`+")
_HEADING: Final = re.compile(r"^#{1,6} +(.*?)(?: *\{#([\w-]+)\})? *$", re.MULTILINE)
_HTML_ANCHOR: Final = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")


def pages(root: Path) -> list[Path]:
    """The Markdown files that git knows, or would take; all of them where there is no git."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return sorted(root.rglob("*.md"))
    names = sorted(set(filter(None, done.stdout.split("\0"))))
    return [root / name for name in names if (root / name).is_file()]


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", text)


def slug(heading: str) -> str:
    """The name of a heading in a link.

    >>> slug("Full disks, kills, `crashes`"), slug("[What](x.md) we do")
    ('full-disks-kills-crashes', 'what-we-do')
    """
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")


def anchors(text: str) -> set[str]:
    """The names that a link may have behind its #; a heading that comes twice is numbered."""
    found: set[str] = set(_HTML_ANCHOR.findall(text))
    for heading, given in _HEADING.findall(prose(text)):
        name, number = slug(heading), 0
        while (one := name if not number else f"{name}-{number}") in found:
            number += 1
        found |= {one, given} - {""}
    return found


def links(text: str) -> Iterator[tuple[int, str]]:
    """Line and target of every link outside of code."""
    blank = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    for number, line in enumerate(blank.splitlines(), 1):
        for match in _LINK.finditer(_CODE.sub("", line)):
            yield number, match[1].strip("<>")


def broken(root: Path, files: Sequence[Path]) -> Iterator[str]:
    """A line for each link that leads nowhere."""
    for page in files:
        for number, target in links(page.read_text(encoding="utf-8")):
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue  # elsewhere
            name, _, anchor = unquote(target).partition("#")
            path = (page.parent / name).resolve() if name else page
            where = f"{page.relative_to(root)}, line {number}: {target}"
            if not path.exists():
                yield f"{where}: no such file"
            elif not path.is_relative_to(root.resolve()):
                yield f"{where}: leads out of the checkout"
            elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text(encoding="utf-8")):
                yield f"{where}: {path.name} has no heading {anchor}"


def main() -> int:
    """Print the links that lead nowhere; 1 where there is one."""
    files = pages(ROOT)
    found = list(broken(ROOT, files))
    print("\n".join(found) or f"{len(files)} pages, every link leads somewhere")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
