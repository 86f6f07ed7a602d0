"""``leanthink report``: runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from leanthink.core.text import as_label
from leanthink.reporting.build import report_of, write_report
from leanthink.reporting.page import Grid
from leanthink.reporting.sources import is_run, read_sources
from leanthink.reporting.tables import before_after_table, phase_table, plot_runs
from leanthink.runs.folder import Run

WIDE: Final = 150  # columns of a terminal
SHORT: Final = 24  # characters of a cell that is not broken
LESS: Final = ("where", "questions", "responses", "shared questions", "tokens, right", "tokens, wrong")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="runs, folders of runs, verl's validation dumps or metrics")
    add("--out", type=Path, help="folder for report.html and pictures (default: report; with --plot: none)")
    add("--baseline", metavar="RUN", help="compare with this run's last evaluation (default: the start policy)")
    add("--plot", type=Path, help="write accuracy and length over steps to this PNG")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the tables, write the page and the pictures."""
    sources = read_sources(args.runs)
    report = report_of(sources, args.baseline)
    runs = {folder.name: Run(folder=folder) for folder in args.runs if is_run(folder)}
    summaries = [run_.read_summary() for run_ in runs.values() if run_.summary.exists()]
    summaries = [summary for summary in summaries if "before" in summary and "after" in summary]
    if summaries:
        console.print(before_after_table(summaries), phase_table(summaries))
    for title, grid in (
        ("Last evaluations", report.overview),
        ("Turns and tools", report.turns),
        ("By level of effort", report.efforts),
        ("Distance from the best possible", report.search),
        ("Efficiency", report.efficiency),
        ("Paired comparison", report.comparisons),
        ("Several samples a question", report.votes),
    ):
        if grid.rows:
            console.print(grid_table(title, grid, console.width))
    for notice in report.notices:
        console.print(f"note: {notice}", markup=False, highlight=False, soft_wrap=True)
    if args.plot:
        plot_runs({name: run_.read_metrics() for name, run_ in runs.items()}, args.plot)
        console.print(f"curves: {args.plot}")
    folder = args.out or (None if args.plot else Path("report"))
    if folder is not None:
        page, *pictures = write_report(report, folder)
        console.print(f"report: {page}, pictures: {', '.join(path.name for path in pictures) or 'none'}")
    return 0


def grid_table(title: str, grid: Grid, width: int) -> Table:
    """A grid for a terminal; on a narrow one without the columns that matter less."""
    shown = [place for place, head in enumerate(grid.heads) if width >= WIDE or head not in LESS]
    table = Table(title=title, caption=grid.note)
    for place in shown:
        longest = max(len(row[place]) for row in grid.rows)
        side = "right" if place and longest <= SHORT else "left"
        table.add_column(grid.heads[place], justify=side, overflow="fold", no_wrap=place > 0 and longest <= SHORT)  # type: ignore[arg-type]
    for row in grid.rows:
        table.add_row(*(as_label(row[place]) for place in shown))
    return table
