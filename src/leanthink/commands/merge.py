"""``leanthink merge``: the largest changes of a trained model, added back to its base."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from leanthink.algorithms.merging import SelectiveMerging
from leanthink.merge import MANIFEST, Dtype, Job, Side, by_kind, make_plan, merge
from leanthink.terminal import Terminal

EPILOG = """A checkpoint of verl holds a model in pieces, one for each rank. Make a folder of them first, in bfloat16:
python -m verl.model_merger merge --backend fsdp --local_dir CHECKPOINTS/global_step_K/actor --target_dir TRAINED;
or train with actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model], which writes
actor/huggingface in the precision of training. A model on the Hub: hf download NAME --local-dir BASE."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    default = SelectiveMerging()
    parser.epilog = EPILOG
    add = parser.add_argument
    add("base", type=Path, metavar="BASE", help="folder of the model that training started from, in safetensors")
    add("trained", type=Path, metavar="TRAINED", help="folder of the trained model, in safetensors")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write; new, or empty")
    add(
        "--density",
        type=float,
        default=default.density,
        help=f"share of entries whose change is kept, the largest ones (default: {default.density:g})",
    )
    add("--scale", type=float, default=default.scale, help=f"factor of the kept changes (default: {default.scale:g})")
    add("--per-tensor", action="store_true", help="keep that share of every tensor (default: of the whole model)")
    add(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="tensors to leave as base has them, such as '*.mlp.gate.weight'; repeatable",
    )
    add("--mixed-dtypes", action="store_true", help="merge although the two models' dtypes differ")
    add("--dtype", choices=get_args(Dtype), default="base", help="of the merged tensors (default: as in BASE)")
    add(
        "--files-from",
        choices=get_args(Side),
        default="trained",
        help="whose configuration, generation configuration and tokenizer to copy (default: trained)",
    )
    add("--device", default="cpu", help="where to compute, as cuda (default: cpu)")
    add("--json", action="store_true", help="print the manifest on standard output")


def run(args: argparse.Namespace, console: Console) -> int:
    """Merge, and say what was kept."""
    job = Job(
        base=args.base,
        trained=args.trained,
        out=args.out,
        merging=SelectiveMerging(density=args.density, scale=args.scale, per_tensor=args.per_tensor),
        exclude=tuple(args.exclude),
        mixed_dtypes=args.mixed_dtypes,
        dtype=args.dtype,
        files_from=args.files_from,
        device=args.device,
    )
    plan = make_plan(job)
    shown = Terminal(stderr=True) if args.json else console
    columns = (
        TextColumn("merging"), BarColumn(), DownloadColumn(), TextColumn("read"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=shown, disable=not shown.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=plan.work)
        manifest = merge(plan, lambda count: progress.advance(task, count))
    if args.json:
        console.file.write(json.dumps(manifest, indent=1) + "\n")
    else:
        console.print(_table(manifest))
        text = (
            f"{job.out}: {len(manifest['tensors'])} tensors merged in {manifest['seconds']:.1f} s; {MANIFEST} says how"
        )
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for notice in manifest["notices"]:
        shown.print(f"note: {notice}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _table(manifest: Mapping[str, Any]) -> Table:
    threshold = manifest["threshold"]
    cut = "one cut per tensor" if manifest["per_tensor"] else "nothing kept" if threshold is None else ""
    cut = cut or f"every |change| from {threshold:.3g} on"
    table = Table("tensors", title=f"density {manifest['density']:g}, scale {manifest['scale']:g}: {cut}")
    for heading in ("entries", "kept %", "changed %"):
        table.add_column(heading, justify="right")
    kinds = by_kind(manifest["tensors"])
    total = (manifest["entries"], manifest["kept"], manifest["changed"])
    for at, (kind, (entries, kept, changed)) in enumerate([*kinds.items(), ("all", total)], 1):
        shares = [f"{100 * count / entries:.2f}" if entries else "-" for count in (kept, changed)]
        table.add_row(kind, f"{entries:,}", *shares, end_section=at == len(kinds))
    return table
