"""``leanthink doctor``: is everything there that training needs, and does a run fit on its GPUs?"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leanthink.core.errors import ConfigError
from leanthink.doctor import Check, Status, checks, system
from leanthink.terminal import Terminal

STYLES: Final = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red"}
GPU_GIB: Final = 80.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add("overrides", nargs="*", metavar="key=value", help="with --model: changes to the recipe or to verl's keys")
    add("--json", action="store_true", help="one JSON object on standard output")
    add("--model", help="estimate memory instead: a folder, a config.json, or hidden_size=1536,... as it names them")
    add("--recipe", help="with --model: a recipe's name, or a path ending in .yaml (default: grpo)")
    add("--gpus", type=int, help="with --model: GPUs a machine (default: 8)")
    add("--nodes", type=int, help="with --model: machines (default: 1)")
    add("--gpu-memory", type=float, metavar="GIB", help=f"with --model: of each GPU (default: {GPU_GIB:g})")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the table; 1 if a check failed, or something will not fit."""
    if args.model is not None:
        return _estimate(args, console)
    for name in ("recipe", "gpus", "nodes", "gpu_memory", "overrides"):
        if getattr(args, name):
            raise ConfigError(f"{name.replace('_', '-')} is for an estimate; give --model, too")
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


def _estimate(args: argparse.Namespace, console: Console) -> int:
    """What a run asks of its GPUs; imported here, so that the checks answer where what this needs is broken."""
    from leanthink.commands import jobs
    from leanthink.verl.start.memory import Model, estimate, lines_of

    parser = argparse.ArgumentParser()
    jobs.add_arguments(parser)
    asked = parser.parse_args([args.recipe or "grpo", *args.overrides])
    asked.profile, asked.model, asked.nodes, asked.gpus = "gpu", args.model, args.nodes or 1, args.gpus
    job = jobs.job_of(asked, jobs.folder_of(asked), only_shown=True)
    jobs.check(job)
    model = Model.read(args.model)
    found = estimate(job, model, args.gpu_memory or GPU_GIB)
    troubles = list(found.troubles())
    if args.json:
        content = {**dataclasses.asdict(found), "parameters": model.parameters, "troubles": troubles}
        console.file.write(json.dumps(content, indent=1) + "\n")
        return int(bool(troubles))
    where = f"{job.nodes} x {job.gpus} GPUs of {args.gpu_memory or GPU_GIB:g} GiB"
    table = Table("on each GPU", "", title=f"{job.recipe.name} on {where}, estimated")
    for what, how_much in lines_of(found, model):
        table.add_row(what, how_much)
    console.print(table)
    for trouble in troubles:
        console.print(f"will not fit: {trouble}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    if not troubles:
        console.print("fits, by this estimate; docs/howto/gpus.md says by what formulas", soft_wrap=True)
    return int(bool(troubles))


def _table(done: list[Check]) -> Table:
    table = Table(title=f"leanthink doctor, {system()}")
    for head in ("check", "", "found", "cure"):  # folded: an ellipsis would hide the end of a path or of a command
        table.add_column(head, overflow="fold")
    for check in done:
        status = Text(str(check.status), style=STYLES[check.status])
        table.add_row(check.name, status, check.found, check.cure)
    return table
