"""``leanthink report``: runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from leanthink.report import before_after_table, phase_table, plot_runs
from leanthink.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders that `leanthink train` wrote")
    parser.add_argument("--plot", type=Path, help="write accuracy and length over steps to this PNG")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the tables and write the plot."""
    runs = {folder.name: Run(folder=folder) for folder in args.runs}
    summaries = [run_.read_summary() for run_ in runs.values()]
    console.print(before_after_table(summaries), phase_table(summaries))
    if args.plot:
        plot_runs({name: run_.read_metrics() for name, run_ in runs.items()}, args.plot)
        console.print(f"curves: {args.plot}")
    return 0
