"""``leanthink prepare``: questions and answers to verl's parquet files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from leanthink.core.errors import ConfigError
from leanthink.data.budgets import KINDS, LEVELS, Budgets, Levels, with_lengths
from leanthink.data.efforts import SENTENCE, Efforts, with_efforts
from leanthink.data.prepare import Prepared, free_paths, prepare, read_source, write_rows
from leanthink.data.questions import ANSWERS, QUESTIONS, TEMPLATES, BadGolds, Settings
from leanthink.data.records import storable_records
from leanthink.data.reference import read_reference, reference_values, with_reference
from leanthink.verify.golds import Lists


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add("source", metavar="SOURCE", help="JSONL, parquet or CSV, or a data set on the Hub, as openai/gsm8k")
    add("--out", type=Path, required=True, metavar="DIR", help="where train.parquet and test.parquet go")
    add("--template", default="boxed", help=f"{', '.join(TEMPLATES)}, or text with {{question}} in it (default: boxed)")
    add("--question-field", metavar="FIELD", help=f"a field, or a path as messages[-1].content (usual: {QUESTIONS[0]})")
    add(
        "--answer-field", metavar="FIELD", help=f"a field, or a path as reward_model.ground_truth (usual: {ANSWERS[0]})"
    )
    add(
        "--bad-golds",
        choices=get_args(BadGolds),
        default="refuse",
        help="rows whose answer no response can match, as 'proof' (default: refuse)",
    )
    add(
        "--gold-lists",
        choices=get_args(Lists),
        default="any",
        help="of several answers, any is right, or all are asked for",
    )
    add(
        "--answer-pattern",
        metavar="REGEX",
        help="what the answer is in its field (default: what follows ####, if all have it)",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--test-share", type=float, default=0.05, help="share of questions held out (default: 0.05); 0 and 1: one file"
    )
    size.add_argument(
        "--test-size", type=int, help="hold out this many; questions added later may then take their place"
    )
    add("--seed-text", default="leanthink", help="another text gives another split (default: leanthink)")
    add("--data-source", metavar="NAME", help="the name in verl's validation metrics (default: SOURCE's)")
    add("--keep", action="append", default=[], metavar="FIELD", help="carry a field that a recipe needs; repeatable")
    add(
        "--reference",
        type=Path,
        metavar="ROLLOUTS",
        help="stored rollouts of the start policy, as `leanthink score` reads them: the mean length and accuracy of "
        "each prompt go into its row as reference_length and reference_accuracy, for o1_pruner",
    )
    add(
        "--reference-key",
        default="index",
        metavar="FIELD",
        help="the field that holds the rollouts' prompt id, one of --keep (default: index, the row's number from 0)",
    )
    add("--tokenizer", metavar="PATH", help="folder or Hub name, to count tokens where ROLLOUTS have only text")
    add(
        "--budget",
        choices=KINDS,
        help="end each prompt with a token budget, for lcpo_exact and lcpo_max: 'Think for N tokens.' (exact), 'Think "
        "for maximum N tokens.' (max), or one or the other (both)",
    )
    add(
        "--budget-range",
        nargs=2,
        type=int,
        metavar=("LOW", "HIGH"),
        help="budgets are uniform from LOW to HIGH (default: 100 4000); the same number twice fixes them, to test at",
    )
    add("--budget-seed", type=int, metavar="N", help="another number gives other budgets (default: 0)")
    add(
        "--levels",
        action="store_true",
        help="end each prompt with a level of brevity, drawn by its text, and carry it as length_level, for tldr: "
        f"{' '.join(map(repr, LEVELS))}",
    )
    add(
        "--level",
        action="append",
        metavar="SENTENCE",
        help="a level's sentence in place of these; once for each, the shortest level first",
    )
    add("--level-seed", type=int, metavar="N", help="another number gives other levels (default: 0)")
    add(
        "--efforts",
        metavar="NAMES",
        help="each prompt once at every level of effort, the least first, as low,medium,high: stated in its system "
        "prompt and carried as effort (0, 1, ...), for recipe effort",
    )
    add("--effort-text", metavar="TEXT", help=f"what the system prompt says (default: {SENTENCE!r})")
    add(
        "--effort-argument",
        metavar="NAME",
        help="give the level to this argument of the chat template instead, as reasoning_effort",
    )
    add("--limit", type=int, help="read only the first rows")
    add("--subset", help="of a data set on the Hub, as main of openai/gsm8k")
    add("--split", default="train", help="of a data set on the Hub (default: train)")
    add("--force", action="store_true", help="overwrite files that are there")


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the files and say what is in them."""
    settings = Settings(
        data_source=args.data_source or (Path(args.source).stem if Path(args.source).exists() else args.source),
        template=args.template,
        question_field=args.question_field,
        answer_field=args.answer_field,
        answer_pattern=args.answer_pattern,
        test_share=args.test_share,
        test_size=args.test_size,
        seed_text=args.seed_text,
        keep=tuple(args.keep),
        bad_golds=args.bad_golds,
        gold_lists=args.gold_lists,
    )
    said = [one for one in (_budgets(args), _levels(args)) if one is not None]
    efforts = _efforts(args)
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit is {args.limit}; give 1 or more")
    free_paths(args.out, settings.splits, force=args.force)  # said before a long download
    records = read_source(args.source, subset=args.subset, split=args.split)
    records, replaced = storable_records(records[: args.limit])
    prepared = prepare(records, settings)
    if args.reference is not None:
        rollouts = read_reference(args.reference, args.tokenizer)
        prepared = with_reference(prepared, reference_values(rollouts), args.reference_key)
    for one in said:
        prepared = with_lengths(prepared, one)
    if efforts is not None:
        prepared = with_efforts(prepared, efforts)
    paths = write_rows(args.out, prepared.rows, force=args.force)
    console.print(_table(prepared, {str(split): path for split, path in paths.items()}))
    first = next(iter(prepared.rows.values()))[0]
    console.print(f"first prompt: {first['prompt'][0]['content']!r}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"its answer: {first['reward_model']['ground_truth']!r}", markup=False, highlight=False, soft_wrap=True
    )
    for notice in [*prepared.notices, *replaced]:
        console.print(f"note: {notice}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _budgets(args: argparse.Namespace) -> Budgets | None:
    """How budgets are drawn, where they are asked for."""
    if args.budget is None:
        for name in ("range", "seed"):
            if getattr(args, f"budget_{name}") is not None:
                raise ConfigError(f"--budget-{name} without --budget; say which kind: --budget {', '.join(KINDS)}")
        return None
    low, high = args.budget_range or (Budgets.low, Budgets.high)
    return Budgets(kind=args.budget, low=low, high=high, seed=args.budget_seed or Budgets.seed)


def _levels(args: argparse.Namespace) -> Levels | None:
    """How levels are drawn, where they are asked for."""
    if not args.levels and args.level is None:
        if args.level_seed is not None:
            raise ConfigError("--level-seed without --levels; say that there are levels: --levels")
        return None
    return Levels(sentences=tuple(args.level or LEVELS), seed=args.level_seed or Levels.seed)


def _efforts(args: argparse.Namespace) -> Efforts | None:
    """The levels of effort, where they are asked for."""
    if args.efforts is None:
        for flag in ("text", "argument"):
            if getattr(args, f"effort_{flag}") is not None:
                raise ConfigError(f"--effort-{flag} without --efforts; name the levels: --efforts low,medium,high")
        return None
    if args.effort_text is not None and args.effort_argument is not None:
        raise ConfigError("--effort-text and --effort-argument each state the level; give one of them")
    levels = tuple(name.strip() for name in args.efforts.split(","))
    return Efforts(levels=levels, sentence=args.effort_text or SENTENCE, argument=args.effort_argument)


def _table(prepared: Prepared, paths: dict[str, Path]) -> Table:
    table = Table("", "questions", "file", title="Prepared")
    table.add_row("read", str(prepared.read), "")
    table.add_row("duplicates left out", str(prepared.duplicates), "", end_section=True)
    for split, rows in prepared.rows.items():
        table.add_row(split, str(len(rows)), str(paths[split]))
    return table
