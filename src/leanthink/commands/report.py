"""``leanthink report``: runs side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from leanthink.reporting.build import report_of, write_report
from leanthink.reporting.grid import grid_table
from leanthink.reporting.sources import Source, is_run, read_sources
from leanthink.reporting.tables import before_after_grid, before_after_title, phase_grid, plot_runs
from leanthink.runs.folder import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="runs, folders of runs, verl's validation dumps or metrics")
    add("--out", type=Path, help="folder for report.html and pictures (default: report; with --plot: none)")
    told = "compare with the last evaluation of this run, or of a sweep's variant (default: the start policy)"
    add("--baseline", metavar="RUN", help=told)
    add("--plot", type=Path, help="write accuracy and length over steps to this PNG")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the tables, write the page and the pictures."""
    sources = read_sources(args.runs)
    report = report_of(sources, args.baseline)
    runs = {source.name: Run(folder=source.origin) for source in sources if source.origin and is_run(source.origin)}
    labels = {source.name: _label(source, sources) for source in sources}
    finished = {labels[name]: run_.read_summary() for name, run_ in runs.items() if run_.summary.exists()}
    finished = {name: summary for name, summary in finished.items() if "before" in summary and "after" in summary}
    if finished:
        summaries, names = list(finished.values()), list(finished)
        title = before_after_title(summaries)
        console.print(grid_table(title, before_after_grid(summaries, names), console.width))
        console.print(grid_table("Mean seconds of a training step", phase_grid(summaries, names), console.width))
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
        plot_runs({labels[name]: run_.read_metrics() for name, run_ in runs.items()}, args.plot)
        console.print(f"curves: {args.plot}", highlight=False, soft_wrap=True)
    folder = args.out or (None if args.plot else Path("report"))
    if folder is not None:
        page, *pictures = write_report(report, folder)
        shown = ", ".join(path.name for path in pictures) or "none"
        console.print(f"pictures, beside it: {shown}", highlight=False, soft_wrap=True)
        console.print(f"report: {page.absolute()}", highlight=False, soft_wrap=True)
    return 0


def _label(source: Source, sources: Sequence[Source]) -> str:
    """What tells a run from the others: its label, with its name where another run has the same."""
    same = [other for other in sources if other.label == source.label]
    return source.label if len(same) == 1 else f"{source.label} ({source.name})"
