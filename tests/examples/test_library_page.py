"""The page on leanthink as a library: its blocks run, from the top down."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "library.md"


def test_every_block_runs_in_order() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 7
    module = ModuleType("library_page")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"{PAGE.name}, block {number}", "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
