"""What was typed to start this process."""

from __future__ import annotations

import sys
from pathlib import Path

from leanthink.core.text import storable


def typed() -> tuple[str, ...]:
    """The words behind ``leanthink`` on this process's command line; none where it is another program's."""
    program = Path(sys.argv[0]) if sys.argv else Path()
    own = program.name == "leanthink" or program.parts[-2:] == ("leanthink", "__main__.py")
    return tuple(storable(word)[0] for word in sys.argv[1:]) if own else ()
