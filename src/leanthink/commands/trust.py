"""Whether the code that a file names may run: what every command asks that reads recipes."""

from __future__ import annotations

import argparse


def add_argument(parser: argparse.ArgumentParser) -> None:
    """``--trust-code``, which the command line reads before the command runs (see `leanthink.core.code`)."""
    text = "run the code that a file names (pkg.mod:Name, or by verl's keys); what you type is trusted"
    parser.add_argument("--trust-code", action="store_true", help=text)
