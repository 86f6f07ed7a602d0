"""``leanthink train``: real verl, or TRL, with a progress bar, a summary, a plot and a before/after table."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from leanthink.commands import jobs, under_trl
from leanthink.commands.follower import Follower
from leanthink.core.errors import ConfigError, DataError
from leanthink.data.golds import audit
from leanthink.data.records import read_records
from leanthink.reporting.grid import grid_table
from leanthink.reporting.tables import before_after_grid, before_after_title, phase_grid, plot_runs
from leanthink.runs.floor import Floor
from leanthink.runs.folder import Run
from leanthink.training.sampling import columns_of_data
from leanthink.trl.start import Job as TrlJob
from leanthink.trl.start import train as train_under_trl
from leanthink.verify import Verifier
from leanthink.verl.settings import Settings
from leanthink.verl.start.launch import Job
from leanthink.verl.start.prompts import context_notice, prompt_notice, tokenizer_of
from leanthink.verl.start.train import check_accelerator, check_model, require_engine, require_verl, train

GOLD: Final = "reward_model.ground_truth"
PROMPT: Final = "prompt"
PREPARED: Final[Mapping[str, str]] = {
    "budget": "`leanthink prepare --budget exact`, or `--budget both`",
    "at_most": "`leanthink prepare --budget both`",
    "length_level": "`leanthink prepare --levels`",
    "effort": "`leanthink prepare --efforts low,medium,high`",
    "reference_length": "`leanthink prepare --reference ROLLOUTS`",
    "reference_accuracy": "`leanthink prepare --reference ROLLOUTS`",
}
"""By which option a column comes into the data."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    jobs.add_arguments(parser)
    add = parser.add_argument
    add(
        "--bad-golds",
        choices=("refuse", "keep"),
        default="refuse",
        help="your own data's answers that no response can match, as 'proof' (default: refuse; see prepare)",
    )
    add("--stop-below", type=float, metavar="SHARE", help="stop for good where held-out accuracy stays below this")
    add(
        "--allow-changed",
        action="append",
        default=[],
        metavar="NAMES",
        help="go on although these differ from the folder's run, as in data,lr: names of keys or their last words, "
        "data, model, recipe, versions, seed; what was changed is written into run.json",
    )
    add("--stop-evaluations", type=int, metavar="K", help="for K evaluations in a row (default: 2)")


def run(args: argparse.Namespace, console: Console) -> int:
    """Train, then print and write what came of it."""
    if args.trainer == "verl":
        require_verl()
    folder = jobs.folder_of(args)
    run_ = Run(folder=folder)
    floor = floor_of(args)
    job: Job | TrlJob
    notices: list[str] = []
    if args.trainer == "trl":
        job = under_trl.job_of(args, folder)
    else:
        job = jobs.job_of(args, folder)
        jobs.check(job)
        require_engine(job)
        check_accelerator(job)
        check_model(job)
        jobs.warn_of(job)
        notices += context_notice(job)
    if args.train_file or args.val_file:
        check_columns(job)
        files = [*job.train_files, *job.val_files]
        notices += [
            *check_golds(files, settings_of(job), args.bad_golds),
            *(check_prompts(files, job) if isinstance(job, Job) else ()),
        ]
    for notice in notices:
        console.print(f"note: {notice}", markup=False, highlight=False, soft_wrap=True)
    with Follower(console, job.steps) as follower:
        write_data = partial(jobs.write_testbed, job, folder.absolute() / jobs.DATA, args.testbed)
        given = (run_, follower.on_step, write_data, floor, names_of(args.allow_changed), follower.say)
        summary = train(job, *given) if isinstance(job, Job) else train_under_trl(job, *given)
    plot_runs({job.recipe.name: run_.read_metrics()}, folder / "curves.png")
    title = before_after_title([summary])
    console.print(grid_table(title, before_after_grid([summary]), console.width))
    console.print(grid_table("Mean seconds of a training step", phase_grid([summary]), console.width))
    if stopped := summary.get("stopped"):
        console.print(
            f"stopped at step {stopped['step']}: held-out accuracy below {stopped['below']:.0%} in "
            f"{stopped['evaluations']} evaluations in a row, at last {stopped['accuracy']:.1%}"
        )
    told = f"summary: {run_.summary}, curves: {folder / 'curves.png'}; a page to read: leanthink report {folder}"
    console.print(told, highlight=False, soft_wrap=True)
    return 0


def settings_of(job: Job | TrlJob) -> Settings:
    """The settings that every process of the job will read."""
    return Settings.of(job.recipe, **job.options)


def check_golds(files: Sequence[str], settings: Settings, bad_golds: str) -> Iterator[str]:
    """Refuse data whose answers cannot be matched, before anything is sampled; what is kept all the same is told.

    Raises:
        DataError: an answer is none, or cannot be matched and ``bad_golds`` is "refuse".
    """
    if ":" in str(settings.verify.get("task", "")):  # a function of one's own says what an answer is
        return
    with Verifier(**{**settings.verify, "workers": 1}) as verifier:
        for file in files:
            if not Path(file).exists():
                continue  # verl may fetch it, or says that it is not there
            records = read_records(Path(file))
            if not any(record.has(GOLD) for record in records):
                continue  # told at the first step, where every verdict is unknown
            bad = audit(records, GOLD, verifier, settings.gold_lists)
            if not bad:
                continue
            first = f"{bad[0].record.place}: {GOLD!r} is {bad[0].gold!r:.60}: {bad[0].reason}"
            told = f"{len(bad)} of {len(records)} answers in {file} can be matched by no response (first {first})"
            if bad_golds == "refuse":
                raise DataError(
                    f"{told}; every response to them would be wrong or unknown: `leanthink verify --golds {file}` "
                    "lists them, `leanthink prepare --bad-golds drop` drops them, --bad-golds keep trains with them"
                )
            yield told


def check_prompts(files: Sequence[str], job: Job) -> Iterator[str]:
    """What is to be said of prompts that are too long; nothing where the tokenizer is not on this machine."""
    tokenizer = tokenizer_of(job)
    if tokenizer is None or getattr(tokenizer, "chat_template", None) is None:
        return
    name = str(job.keys().get("data.prompt_key", PROMPT))
    for file in files:
        if Path(file).exists():
            rows = [record for record in read_records(Path(file)) if isinstance(record.get(name), list)]
            infos = [info if isinstance(info := row.get("extra_info"), Mapping) else {} for row in rows]
            yield from prompt_notice(job, file, [row.get(name) for row in rows], tokenizer, infos)


def check_columns(job: Job | TrlJob) -> None:
    """Refuse data that lack a column which the recipe's reward reads, before anything is sampled.

    Raises:
        DataError: naming the row and how the column is made.
    """
    wanted = sorted(columns_of_data(job.recipe.reward))
    for file in (*job.train_files, *job.val_files) if wanted else ():
        for record in read_records(Path(file)) if Path(file).exists() else ():
            for name in wanted:
                if not record.has(f"extra_info.{name}"):
                    raise DataError(
                        f"{record.place}: no extra_info.{name}, which recipe {job.recipe.name} reads; write it with "
                        f"{PREPARED.get(name, f'`leanthink prepare --keep {name}`')}"
                    )


def names_of(texts: Sequence[str]) -> list[str]:
    """The names in texts like ``data,lr``."""
    return [name for text in texts for name in text.replace(" ", "").split(",") if name]


def floor_of(args: argparse.Namespace) -> Floor | None:
    """The floor that the arguments set.

    Raises:
        ConfigError: it is none, or half of one.
    """
    if args.stop_below is None:
        if args.stop_evaluations is not None:
            raise ConfigError("--stop-evaluations counts evaluations below a floor; give that with --stop-below")
        return None
    return Floor(below=args.stop_below, evaluations=2 if args.stop_evaluations is None else args.stop_evaluations)
