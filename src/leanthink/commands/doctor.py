"""``leanthink doctor``: is everything there that training needs?"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leanthink.doctor import Check, Status, checks, system
from leanthink.terminal import Terminal

STYLES: Final = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the table; 1 if a check failed."""
    done: list[Check] = []
    with Terminal(stderr=True).status("checking") as progress:
        for check in checks(Path.cwd()):
            done.append(check)
            progress.update(f"checking; done: {check.name}")
    if args.json:
        console.file.write(json.dumps([dataclasses.asdict(check) for check in done], indent=1) + "\n")
    else:
        console.print(_table(done))
    return int(any(check.status is Status.FAILED for check in done))


def _table(done: list[Check]) -> Table:
    table = Table("check", "", "found", "cure", title=f"leanthink doctor, {system()}")
    for check in done:
        status = Text(str(check.status), style=STYLES[check.status])
        table.add_row(check.name, status, check.found, check.cure)
    return table
