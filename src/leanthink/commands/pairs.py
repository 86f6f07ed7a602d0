"""``leanthink pairs``: preference pairs for DPO, from stored rollouts of a long-thinking and a short-thinking model."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from leanthink.commands import reading
from leanthink.data.pairs import PairSettings, build_pairs, check_path, write_pairs
from leanthink.data.records import read_below, storable_records
from leanthink.data.rollouts import Rollouts, read_rollouts, unknown_rows

EPILOG = """Rows are read as by `leanthink score`, and need a prompt (prompt or input) and the response's text beside. A
problem is the same in both files where its name is (prompt_key, prompt_id, group or input), and then has one prompt.
What is written has the columns prompt, chosen, rejected, kind (group or instance) and preferred (long or short)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    default = PairSettings()
    parser.epilog = EPILOG
    add = parser.add_argument
    add("long", type=Path, metavar="LONG", help="rollouts of the long-thinking model: JSONL, parquet, or a folder")
    add("short", type=Path, metavar="SHORT", help="rollouts of the short-thinking model on the same prompts")
    add("--out", type=Path, required=True, metavar="FILE", help="JSONL or parquet to write; never over another file")
    add(
        "--group-pairs",
        type=int,
        default=default.group_pairs,
        metavar="M1",
        help=f"a problem's pairs of the preferred style over the other (default: {default.group_pairs})",
    )
    add(
        "--instance-pairs",
        type=int,
        default=default.instance_pairs,
        metavar="M2",
        help=f"pairs of the shortest right response over the longest of its style (default: {default.instance_pairs})",
    )
    add("--margin", type=float, help="prefer long if it is more accurate by more than this (default: 1 / (2 K))")
    add("--chosen-correct-only", action="store_true", help="group pairs choose right responses, if there are any")
    add("--rejected-wrong-first", action="store_true", help="group pairs reject wrong responses, if there are any")
    add("--released", action="store_true", help="build pairs as AdaR1's released script does, not as its paper")
    add("--seed", type=int, default=default.seed, help=f"of draws and order (default: {default.seed})")
    add("--tokenizer", metavar="PATH", help="folder or Hub name, to count tokens where a file has only text")
    add("--workers", type=int, default=2, help="processes that verify answers (default: 2)")
    add("--deadline", type=float, default=5.0, help="seconds to judge one answer; then it is unknown (default: 5)")
    reading.add_arguments(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Build, write, and say how many of what."""
    check_path(args.out)
    settings = PairSettings(
        group_pairs=args.group_pairs,
        instance_pairs=args.instance_pairs,
        margin=args.margin,
        chosen_correct_only=args.chosen_correct_only,
        rejected_wrong_first=args.rejected_wrong_first,
        released=args.released,
        seed=args.seed,
    )
    (long, of_long), (short, of_short) = (_read(path, args) for path in (args.long, args.short))
    built = build_pairs(long, short, settings)
    write_pairs(built.rows, args.out)
    console.print(f"{len(built.rows)} pairs in {args.out}", markup=False, highlight=False, soft_wrap=True)
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, count in built.counts.items():
        table.add_row(name, str(count))
    console.print(table)
    for rollouts, replaced in ((long, of_long), (short, of_short)):
        unknown = sum(map(len, unknown_rows(rollouts).values()))
        notices = [*rollouts.notices, *replaced, *([f"{unknown} verdicts unknown, left out"] if unknown else [])]
        for notice in notices:
            text = f"note: {rollouts.records[0].file}: {notice}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    return 0


def _read(path: Path, args: argparse.Namespace) -> tuple[Rollouts, list[str]]:
    """The rollouts, and a notice where signs were replaced that no file can hold."""
    records, replaced = storable_records(read_below(path))
    rollouts = read_rollouts(
        records,
        tokenizer=args.tokenizer,
        workers=args.workers,
        deadline=args.deadline,
        fields=reading.fields_of(args),
        source=args.source,
        **reading.verifying(args),
    )
    return rollouts, replaced
