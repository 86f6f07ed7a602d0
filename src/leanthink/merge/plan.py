"""What to merge, and how: two model folders compared before anything is written."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch

from leanthink.algorithms.merging import SelectiveMerging
from leanthink.core.errors import ConfigError, DataError
from leanthink.files.reading import read_object
from leanthink.merge.weights import DTYPES, Weights, own_file, read_weights, same_bytes

Dtype = Literal["base", "float32", "float16", "bfloat16"]
Side = Literal["trained", "base"]

CONFIG: Final = "config.json"
HEAD: Final = "lm_head.weight"
EMBEDDINGS: Final = ("embed_tokens.weight", "wte.weight")
NAMED: Final = 3  # tensors named in an error


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to merge, and how.

    Attributes:
        base: the folder of the model that training started from.
        trained: the folder of the model that came out.
        out: the folder to write; it must not exist, or be empty.
        merging: density, scale, one cut or one per tensor.
        exclude: patterns, as ``*.mlp.gate.weight``, of tensors that stay as base has them and do not count.
        mixed_dtypes: merge tensors although their dtypes differ.
        dtype: of the merged tensors.
        files_from: whose configuration and tokenizer files to copy.
        device: where to compute.
    """

    base: Path
    trained: Path
    out: Path
    merging: SelectiveMerging = field(default_factory=SelectiveMerging)
    exclude: tuple[str, ...] = ()
    mixed_dtypes: bool = False
    dtype: Dtype = "base"
    files_from: Side = "trained"
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, given, allowed in (("dtype", self.dtype, Dtype), ("files_from", self.files_from, Side)):
            if given not in get_args(allowed):
                raise ConfigError(f"{name} is {given!r}; give one of {', '.join(get_args(allowed))}")
        try:
            torch.zeros(1, device=self.device).item()
        except (RuntimeError, AssertionError) as error:  # an unknown device; torch built without it
            reason = str(error).splitlines()[0]
            raise ConfigError(f"device {self.device!r} cannot be used ({reason}); give cpu, cuda or cuda:1") from error

    @property
    def command(self) -> str:
        """The command that does this job again."""
        merging = self.merging
        words = ["leanthink", "merge", str(self.base), str(self.trained), "--out", str(self.out)]
        words += ["--density", str(merging.density), "--scale", str(merging.scale)]
        words += ["--per-tensor"] * merging.per_tensor
        for pattern in self.exclude:
            words += ["--exclude", pattern]
        words += ["--mixed-dtypes"] * self.mixed_dtypes
        words += ["--dtype", self.dtype, "--files-from", self.files_from, "--device", self.device]
        return shlex.join(words)

    @property
    def source(self) -> Path:
        """The folder whose configuration and tokenizer files are copied."""
        return self.trained if self.files_from == "trained" else self.base

    @property
    def other_side(self) -> Side:
        """The side whose files are not copied."""
        return "base" if self.files_from == "trained" else "trained"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A job whose two models were compared.

    Attributes:
        job: the job.
        base: base's weights; ``trained`` those of the trained model.
        layout: the weights to write: base's files and tensors, with the dtypes asked for.
        merged: the tensors to merge, in sorted order.
        copied: tensors that are written as base has them.
        embedding: the embedding that the output head is tied to, if one side or both store the head as its copy.
        config: what ``config.json`` will hold.
        notices: what the reader should know.
    """

    job: Job
    base: Weights
    trained: Weights
    layout: Weights
    merged: tuple[str, ...]
    copied: tuple[str, ...]
    embedding: str | None
    config: Mapping[str, Any]
    notices: tuple[str, ...]

    @property
    def writes_head(self) -> bool:
        """Whether the merged embedding is written a second time, as the output head."""
        return self.embedding is not None and HEAD in self.base.tensors

    @property
    def work(self) -> int:
        """The bytes to read in all: each file once for its checksum, each tensor to merge up to three times."""
        once = sum((side.folder / file).stat().st_size for side in (self.base, self.trained) for file in side.metadata)
        pairs = sum(side.tensors[name].bytes for side in (self.base, self.trained) for name in self.merged)
        return once + pairs * (1 if self.job.merging.per_tensor else 3)


def make_plan(job: Job) -> Plan:
    """Compare the two models, by their headers and by what is not merged.

    Raises:
        DataError: a folder cannot be read or written, or the models do not match; tensors are named.
        ConfigError: an exclusion that fits nothing, or one model given twice.
    """
    if job.base.resolve() == job.trained.resolve():
        raise ConfigError(f"{job.base} is given as base and as trained; give the folders of two models")
    if job.out.is_symlink():
        raise DataError(f"{job.out} is a link, which is not written through; give another folder with --out")
    if job.out.exists() and (not job.out.is_dir() or any(job.out.iterdir())):
        raise DataError(f"{job.out} is there already and not empty; give another folder with --out, or remove it")
    base, trained = read_weights(job.base), read_weights(job.trained)
    excluded = _excluded(job.exclude, base, trained)
    embedding = None if HEAD in excluded else _tied_embedding(base, trained)
    apart = excluded | {HEAD} if embedding else excluded
    names = [name for name in sorted({*base.tensors, *trained.tensors}) if name not in apart]
    _refuse_mismatches(names, base, trained, job)
    merged = tuple(name for name in names if base.tensors[name].dtype in DTYPES)
    equal = {name for name in names if base.tensors[name].dtype not in DTYPES}
    if not merged:
        raise DataError(f"{job.base} and {job.trained} share no tensor to merge; check the folders and --exclude")
    for name in sorted(equal):
        if not same_bytes(base.load(name), trained.load(name)):
            raise DataError(
                f"{name!r} is {base.tensors[name].dtype} and differs between the two models, but only "
                f"{', '.join(DTYPES)} can be merged; convert quantised models first, or keep base's with --exclude"
            )
    written = (*merged, HEAD) if embedding else merged
    layout = base if job.dtype == "base" else base.in_dtype(written, job.dtype)
    config, notices = _with_dtype(_config_to_write(job, base, embedding), layout, merged, job)
    return Plan(
        job=job,
        base=base,
        trained=trained,
        layout=layout,
        merged=merged,
        copied=tuple(sorted(equal | (excluded & base.tensors.keys()))),
        embedding=embedding,
        config=config,
        notices=(*notices, *([f"{HEAD} is tied to {embedding}, which is merged once"] if embedding else [])),
    )


def _refuse_mismatches(names: Iterable[str], base: Weights, trained: Weights, job: Job) -> None:
    lone: dict[Path, list[str]] = {job.base: [], job.trained: []}
    shapes, dtypes = [], []
    for name in names:
        ours, theirs = base.tensors.get(name), trained.tensors.get(name)
        if ours is None or theirs is None:
            lone[job.trained if ours is None else job.base].append(repr(name))
        elif ours.shape != theirs.shape:
            shapes.append(f"{name!r} ({ours} and {theirs})")
        elif ours.dtype != theirs.dtype and not (job.mixed_dtypes and {ours.dtype, theirs.dtype} <= DTYPES.keys()):
            dtypes.append(f"{name!r} ({ours} and {theirs})")
    cure = "give the model that training started from, or leave tensors out with --exclude"
    for folder, found in lone.items():
        if found:
            raise DataError(f"only {folder} has {_listed(found)}: not two states of one model; {cure}")
    if shapes:
        raise DataError(f"shapes differ between base and trained: {_listed(shapes)}; {cure}")
    if dtypes:
        raise DataError(
            f"dtypes differ between base and trained: {_listed(dtypes)}; save both in one dtype, or merge floats "
            "all the same with --mixed-dtypes (what rounding changed in one of them then counts as a change)"
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _excluded(patterns: Iterable[str], *sides: Weights) -> set[str]:
    names = {name for side in sides for name in side.tensors}
    excluded: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            raise ConfigError(
                f"--exclude {pattern!r} fits no tensor; give a name or a pattern such as '*.mlp.*' (the models have "
                f"{_listed(sorted(map(repr, names)))})"
            )
        excluded |= found
    return excluded


def _tied_embedding(base: Weights, trained: Weights) -> str | None:
    """The embedding whose copy the output head is, on every side that stores it; None if it is not, or not stored.

    A head that both sides store counts as tied only if both configurations say so.
    """
    sides = [side for side in (base, trained) if HEAD in side.tensors]
    if not sides or (len(sides) == 2 and not all(_tied(_read_config(side.folder)) for side in sides)):
        return None
    found = [name for name in base.tensors if name.endswith(EMBEDDINGS) and name in trained.tensors]
    if len(found) == 1 and all(same_bytes(side.load(HEAD), side.load(found[0])) for side in sides):
        return found[0]
    return None


def _tied(config: Mapping[str, Any]) -> bool | None:
    """Whether a configuration ties the head to the embedding; None if it does not say."""
    for part in (config, config.get("text_config")):
        if isinstance(part, Mapping) and isinstance(part.get("tie_word_embeddings"), bool):
            return bool(part["tie_word_embeddings"])
    return None


def _config_to_write(job: Job, base: Weights, embedding: str | None) -> dict[str, Any]:
    config = _read_config(job.source)
    if embedding and HEAD not in base.tensors and _tied(config) is False:
        raise DataError(
            f"{job.source / CONFIG} says tie_word_embeddings false, but base has no {HEAD!r} to write; "
            f"take the files from the other model with --files-from {job.other_side}"
        )
    return config


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        return read_object(own_file(path))
    except (OSError, DataError) as error:
        raise DataError(f"{path} cannot be read ({error}); give a model's folder in Hugging Face's layout") from error


def _with_dtype(
    config: dict[str, Any], layout: Weights, merged: Iterable[str], job: Job
) -> tuple[dict[str, Any], list[str]]:
    """The configuration with the dtype that is written, so that it loads as that, and a notice of the change."""
    written = {layout.tensors[name].dtype for name in merged}
    if len(written) != 1:
        return config, []
    name = str(DTYPES[written.pop()]).removeprefix("torch.")
    wrong = {key: config[key] for key in ("dtype", "torch_dtype") if config.get(key) not in (None, name)}
    if not wrong:
        return config, []
    notice = f"{CONFIG} says {name}, as written; that of {job.source} says {', '.join(map(str, wrong.values()))}"
    return {**config, **dict.fromkeys(wrong, name)}, [notice]
