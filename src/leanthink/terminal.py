"""The terminal: what is printed is text, whatever it holds."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from leanthink.core.text import printable


class Terminal(Console):
    """A console of rich's that takes no markup and passes no control sequence on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a cell, a title or a line."""
        return super().render_str(printable(text), **options)
