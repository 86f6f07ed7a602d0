"""Writing the merged model: weights, the files beside them, and the manifest that says how it was made."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from leanthink import __version__
from leanthink.algorithms.merging import Merged, Pair, merge_stream
from leanthink.core.errors import DataError
from leanthink.core.text import storable
from leanthink.files.writing import copy_file, make_folder, whole_folder, write_text
from leanthink.merge.plan import CONFIG, HEAD, Plan
from leanthink.merge.weights import ENDING, WeightWriter, own_file, write_index

MANIFEST: Final = "leanthink_merge.json"
METHOD: Final = "update-selective merging (DLER: Doing Length pEnalty Right, arXiv 2510.15110, Sec. 4.6)"
TOKENIZER: Final = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")
FILES: Final = (
    "generation_config.json", *TOKENIZER, "merges.txt", "added_tokens.json", "special_tokens_map.json",
    "chat_template*", "*.jinja", "*processor_config.json", "*.py", "LICENSE*", "NOTICE*",
)  # fmt: skip
"""What is copied beside weights and configuration; anything else, a model card say, is about another model."""
TEMPLATES: Final = "additional_chat_templates"  # a folder


@dataclass(kw_only=True)
class Tally:
    """Sums over a tensor, or over all.

    Attributes:
        entries: the number of entries.
        kept: those selected; ``changed``: those whose value differs from base's, both as written.
        asked: sum of the kept ``|delta|``; ``given``: sum of ``|merged - base|``, both as written.
        threshold: the smallest ``|delta|`` kept; None where nothing is.
    """

    entries: int = 0
    kept: int = 0
    changed: int = 0
    asked: float = 0.0
    given: float = 0.0
    threshold: float | None = None

    def add(self, other: Merged | Tally) -> None:
        """Count a piece of the tensor, or another tensor."""
        self.kept += other.kept
        self.changed += other.changed
        self.asked += other.asked
        self.given += other.given
        if isinstance(other, Tally):
            self.entries += other.entries
            self.threshold = self.threshold if other.threshold is None else other.threshold
        elif math.isfinite(other.cut.magnitude):
            self.threshold = other.cut.magnitude

    @property
    def share(self) -> float:
        """The share of entries kept."""
        return self.kept / self.entries if self.entries else 0.0

    @property
    def effective_scale(self) -> float | None:
        """What the kept changes were multiplied by on average, rounding included; None where there are none."""
        return self.given / self.asked if self.asked else None


def merge(plan: Plan, on_bytes: Callable[[int], None] = lambda count: None) -> dict[str, Any]:
    """Write the merged model; returns the manifest.

    All is written to a hidden folder beside ``out``, which gets its name at the very end.

    Args:
        plan: what to do.
        on_bytes: is told how many more of ``plan.work`` bytes are read.

    Raises:
        DataError: a tensor is not finite, or a file beside the weights may not be copied.
        WriteError: the folder cannot be written.
    """
    started = time.monotonic()
    out = plan.job.out.absolute()
    with whole_folder(out) as part:
        layout = dataclasses.replace(plan.layout, folder=part)
        free = shutil.disk_usage(part).free
        if free < layout.bytes:
            raise DataError(
                f"{out.parent} has {free / 1e9:.2f} GB left, the merged model needs {layout.bytes / 1e9:.2f}; "
                "free some, or give a folder on another disk with --out"
            )
        sums = {"base": plan.base.sha256(on_bytes), "trained": plan.trained.sha256(on_bytes)}
        with WeightWriter(layout) as writer, _one_thread():
            tallies = _write_weights(plan, writer, on_bytes)
        write_index(layout)
        notices = [*plan.notices, *_copy_files(plan, part), *_notices(plan, _total(tallies))]
        manifest = _manifest(plan, sums, tallies, notices, time.monotonic() - started)
        _write_json(part / MANIFEST, manifest)
        _write_json(part / CONFIG, plan.config)
    return manifest


def by_kind(tensors: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, int, int]]:
    """Entries, kept and changed ones by kind of tensor: its name with the layer's number left open.

    >>> by_kind({f"layers.{i}.mlp": {"entries": 8, "kept": i, "changed": 0} for i in range(3)})
    {'layers.*.mlp': (24, 3, 0)}
    """
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for name, row in tensors.items():
        kind = ".".join("*" if word.isdigit() else word for word in name.split("."))
        for at, key in enumerate(("entries", "kept", "changed")):
            sums[kind][at] += row[key]
    return {kind: (entries, kept, changed) for kind, (entries, kept, changed) in sums.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch: the pieces are small, and threads on a busy machine mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _write_weights(plan: Plan, writer: WeightWriter, on_bytes: Callable[[int], None]) -> dict[str, Tally]:
    """Write every tensor; returns what was done to each that was merged."""
    base, trained = plan.base, plan.trained
    for name in plan.copied:
        writer.write(name, base.load(name))
    entries = {name: base.tensors[name].entries for name in plan.merged}
    tallies = {name: Tally(entries=count) for name, count in entries.items()}

    def load(name: str) -> Pair:
        on_bytes(base.tensors[name].bytes + trained.tensors[name].bytes)
        return base.load(name), trained.load(name)

    dtype = None if plan.job.dtype == "base" else getattr(torch, plan.job.dtype)
    for piece in merge_stream(entries, load, plan.job.merging, dtype=dtype, device=plan.job.device):
        tallies[piece.name].add(piece)
        writer.write(piece.name, piece.values, piece.start)
        if plan.writes_head and piece.name == plan.embedding:
            writer.write(HEAD, piece.values, piece.start)
    return tallies


def _copy_files(plan: Plan, part: Path) -> list[str]:
    """Copy what belongs to a model beside weights and configuration; returns notices."""
    job = plan.job
    found = sorted(path.name for path in job.source.iterdir() if _fits(path.name, FILES) and not path.is_dir())
    names = [name for name in found if not name.endswith(ENDING)]  # weights, whatever they are called
    for name in names:
        copy_file(own_file(job.source / name), part / name)
    templates = job.source / TEMPLATES
    if templates.is_symlink():
        raise DataError(f"{templates} is a link to {templates.readlink()}; put the folder itself there, or remove it")
    if templates.is_dir():
        make_folder(part / TEMPLATES)
        for path in sorted(templates.iterdir()):
            copy_file(own_file(path), part / TEMPLATES / path.name)
    if any(_fits(name, TOKENIZER) for name in names):
        return []
    return [f"{job.source} has no tokenizer to copy; --files-from {job.other_side} copies the other model's files"]


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _notices(plan: Plan, total: Tally) -> list[str]:
    merging, scale = plan.job.merging, total.effective_scale
    if total.kept and scale is None:
        return ["the two models do not differ where they were merged: the result is base"]
    notices = []
    if total.threshold == 0 and not merging.per_tensor:
        notices.append(f"fewer entries differ than density {merging.density:g} asks for: every change was kept")
    if scale is not None and merging.scale and abs(scale / merging.scale - 1) > 0.02:
        notices.append(
            f"rounding turned scale {merging.scale:g} into {scale:.3g} on average: a change of one unit in the last "
            "place either stays whole or vanishes; --dtype float32 avoids that"
        )
    return notices


def _total(tallies: Mapping[str, Tally]) -> Tally:
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    return total


def _manifest(
    plan: Plan, sums: Mapping[str, Any], tallies: Mapping[str, Tally], notices: list[str], seconds: float
) -> dict[str, Any]:
    job, total = plan.job, _total(tallies)
    per_tensor = job.merging.per_tensor
    return {
        "method": METHOD,
        "command": job.command,
        "versions": {
            "leanthink": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "safetensors": version("safetensors"),
        },
        "seconds": round(seconds, 3),
        "base": {"path": str(job.base), "sha256": sums["base"]},
        "trained": {"path": str(job.trained), "sha256": sums["trained"]},
        **dataclasses.asdict(job.merging),
        "dtype": job.dtype,
        "entries": total.entries,
        "kept": total.kept,
        "changed": total.changed,
        "threshold": None if per_tensor else total.threshold,
        "effective_scale": total.effective_scale,
        "copied": list(plan.copied),
        "tied": {HEAD: plan.embedding} if plan.embedding else {},
        "notices": notices,
        "tensors": {
            name: {
                "entries": tally.entries,
                "kept": tally.kept,
                "share": tally.share,
                "changed": tally.changed,
                **({"threshold": tally.threshold} if per_tensor else {}),
            }
            for name, tally in tallies.items()
        },
    }


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    if storable(text)[1]:  # half of a surrogate pair, which JSON can hold and UTF-8 cannot
        text = json.dumps(content, indent=2, allow_nan=False)
    write_text(path, text + "\n")
