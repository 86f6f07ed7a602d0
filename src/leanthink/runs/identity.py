"""What a run is: everything that changes its numbers, written down at each start and compared at the next.

A fact has the name of verl's key (``actor_rollout_ref.actor.optim.lr``), or begins with ``recipe.`` (its parts),
``leanthink.`` (our options), ``floor.`` or ``version.``. Of files and models the content counts, not the path.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from leanthink.core.errors import ConfigError, StateError, did_you_mean
from leanthink.files.reading import read_object
from leanthink.files.writing import write_text
from leanthink.runs.words import typed

TRAIN_FILES: Final = "data.train_files"
VAL_FILES: Final = "data.val_files"
MODEL: Final = "actor_rollout_ref.model.path"
STEPS: Final = "trainer.total_training_steps"
EPOCHS: Final = "trainer.total_epochs"
RECIPE: Final = "recipe"
VERSION: Final = "version"
GROUPS: Final = ("data", "model", "recipe", "versions", "seed")
"""Names for several facts at once; ``data`` are the files, and none of verl's other keys under ``data.``."""

FREE: Final = frozenset(
    (
        *(STEPS, EPOCHS, "trainer.save_freq", "trainer.test_freq", "floor.below", "floor.evaluations"),
        *("gpu_memory_utilization", "enforce_eager", "free_cache_engine", "max_num_seqs", "max_num_batched_tokens"),
        *("enable_gradient_checkpointing", "enable_activation_offload", "param_offload", "optimizer_offload"),
        *("use_fused_kernels", "offload_policy", "num_workers", "dataloader_num_workers", "workers", "cache_size"),
        *("ppo_max_token_len_per_gpu", "log_prob_max_token_len_per_gpu", "ppo_infer_max_token_len_per_gpu"),
        *("ppo_micro_batch_size_per_gpu", "log_prob_micro_batch_size_per_gpu", "forward_micro_batch_size_per_gpu"),
    )
)
"""Names, or last words of names, that may change from start to start: how long, how often, what fits into memory."""

BESIDE: Final = (
    *("hydra", "ray_kwargs", "global_profiler", "transfer_queue"),
    *("trainer.logger", "trainer.project_name", "trainer.experiment_name", "trainer.default_hdfs_dir"),
    *("trainer.default_local_dir", "trainer.validation_data_dir", "trainer.rollout_data_dir"),
    *("trainer.val_before_train", "trainer.log_val_generations", "trainer.resume_mode", "trainer.resume_from_path"),
    *("trainer.max_actor_ckpt_to_keep", "trainer.max_critic_ckpt_to_keep", "trainer.del_local_ckpt_after_load"),
    *("leanthink.poll_interval", "leanthink.changed_recipe", "leanthink.recipe"),
    *("leanthink.check_template", "leanthink.check_cluster"),
    *("trainer.v1.sampler.sampler_kwargs", "algorithm.leanthink"),
)
"""Names, or beginnings of names, that are no facts: where things lie, what is logged, how a run is taken up."""

SMALL: Final = 16 * 2**20
"""Bytes up to which a model's file is read whole; of larger ones the size, the first and the last MiB."""

MODEL_FILES: Final = (".json", ".safetensors", ".bin", ".pt", ".model", ".txt", ".jinja", ".py")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One fact that is not what it was; None stands for one that was, or is, not set."""

    name: str
    before: Any
    after: Any
    free: bool = False
    """Whether it may change without being allowed."""

    def __str__(self) -> str:
        return f"{self.name} is {shown(self.after)}, was {shown(self.before)}"


def facts_of(
    keys: Mapping[str, Any],
    parts: Mapping[str, Any],
    options: Mapping[str, Any],
    versions: Mapping[str, str],
    floor: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The facts of a run.

    Args:
        keys: verl's, those of files and model among them.
        parts: the recipe's, as nodes.
        options: our own, as ``leanthink.`` names them.
        versions: of the packages that take part.
        floor: when the run is stopped.
    """
    facts: dict[str, Any] = {}
    for part, node in parts.items():
        facts |= flat(node, f"{RECIPE}.{part}")
    for key, value in keys.items():
        facts[key.lstrip("+")] = value
    facts |= flat(options, "leanthink") if options else {}
    facts |= flat(floor, "floor") if floor else {}
    facts |= {f"{VERSION}.{name}": version for name, version in versions.items()}
    facts = {name: value for name, value in facts.items() if not _is_beside(name)}
    for name in (TRAIN_FILES, VAL_FILES):
        if name in facts:
            given = facts[name]
            facts[name] = [file_fact(str(path)) for path in ([given] if isinstance(given, str) else given)]
    if MODEL in facts:
        facts[MODEL] = model_fact(str(facts[MODEL]))
    plain: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return plain


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """What is not the same, in the order of the facts."""
    by_steps = _rate_goes_by_steps(after)
    return [
        Difference(
            name=name, before=before.get(name), after=after.get(name), free=_is_free(name, rate_goes_by_steps=by_steps)
        )
        for name in dict.fromkeys([*before, *after])
        if not _same(before.get(name), after.get(name))
    ]


def allows(allowed: str, name: str) -> bool:
    """Whether ``allowed``, as people write it, names a fact.

    By its name, by words of it that follow each other, or by one of `GROUPS`.

    >>> allows("lr", "actor_rollout_ref.actor.optim.lr"), allows("data", "data.train_batch_size")
    (True, False)
    """
    if allowed in GROUPS:
        return {
            "data": name in (TRAIN_FILES, VAL_FILES),
            "model": name == MODEL,
            "recipe": name.startswith(f"{RECIPE}."),
            "versions": name.startswith(f"{VERSION}."),
            "seed": name.endswith("seed"),
        }[allowed]
    return f".{allowed}." in f".{name}."


def shortest_name(name: str, names: Iterable[str]) -> str:
    """As little of a fact's end as allows it and no other, or the group it makes up.

    >>> shortest_name("actor_rollout_ref.actor.optim.lr", ["critic.optim.lr", "actor_rollout_ref.actor.optim.lr"])
    'actor.optim.lr'
    """
    for group in ("data", "model", "seed"):
        if allows(group, name):
            return group
    others = set(names) - {name}
    words = name.split(".")
    ends = (".".join(words[-n:]) for n in range(1, len(words)))
    return next((end for end in ends if end not in GROUPS and not any(allows(end, one) for one in others)), name)


def check_allowed(allowed: Iterable[str], *facts: Mapping[str, Any]) -> None:
    """Refuse a name that no fact could have.

    Raises:
        ConfigError: with the nearest names.
    """
    names = [name for mapping in facts for name in mapping]
    for one in allowed:
        if not any(allows(one, name) for name in names):
            words = {name.rpartition(".")[2] for name in names} | set(GROUPS)
            hint = did_you_mean(one, words)
            hint = hint if hint.startswith("did") else "run the command without it: what differs is then named"
            raise ConfigError(f"--allow-changed {one}: nothing of a run is called that; {hint}")


def key_of(facts: Mapping[str, Any]) -> str:
    """A short hash of a run's facts but its versions: runs with equal keys would be the same run."""
    plain = {name: content(value) for name, value in facts.items() if not name.startswith(f"{VERSION}.")}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:8]


def settings_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that make a variant: all but seeds, versions, and what may change freely except for the steps."""
    return {
        name: value
        for name, value in facts.items()
        if not (allows("seed", name) or allows("versions", name))
        and (name in (STEPS, EPOCHS) or not _is_free(name, rate_goes_by_steps=False))
    }


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start of a run: when, after which step, what was changed for it, and the words that were typed."""

    at: str
    from_step: int
    changed: tuple[Difference, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run's record, ``run.json``: its facts as of the last start, and every start."""

    facts: Mapping[str, Any]
    starts: tuple[Start, ...] = ()

    @property
    def changed(self) -> list[tuple[int, Difference]]:
        """What was changed between starts, with the step after which it was."""
        return [(start.from_step, one) for start in self.starts for one in start.changed if not one.free]

    def started(self, facts: Mapping[str, Any], from_step: int, changed: Iterable[Difference] = ()) -> Record:
        """With one more start, after a step, with what was changed for it."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        start = Start(at=now, from_step=from_step, changed=tuple(changed), words=typed())
        return Record(facts=facts, starts=(*self.starts, start))

    def write(self, path: Path) -> None:
        """Write it down, whole or not at all."""
        starts = [
            {
                "at": start.at,
                "from_step": start.from_step,
                "changed": [vars(one) for one in start.changed],
                "words": list(start.words),
            }
            for start in self.starts
        ]
        write_text(path, json.dumps({"facts": self.facts, "starts": starts}, indent=1) + "\n")


def read_record(path: Path) -> Record | None:
    """A run's record; None where it has none.

    Raises:
        StateError: it is damaged.
    """
    try:
        node = read_object(path)
        starts = tuple(
            Start(
                at=str(start["at"]),
                from_step=int(start["from_step"]),
                changed=tuple(Difference(**one) for one in start["changed"]),
                words=tuple(map(str, start.get("words", ()))),
            )
            for start in node["starts"]
        )
        facts: dict[str, Any] = {**node["facts"]}
        if wrong := [one.name for start in starts for one in start.changed if not isinstance(one.name, str)]:
            raise TypeError(f"a change is called {wrong[0]!r:.60}")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise StateError(
            f"{path} is no record of a run ({type(error).__name__}: {error}); put it back from a copy, or remove it: "
            "then only the recipe is compared at the next start"
        ) from error
    return Record(facts=facts, starts=starts)


def file_fact(path: str) -> dict[str, Any]:
    """A data file: where it lies, its rows and its hash; only where, if there is no such file yet."""
    file = Path(path).expanduser()
    if not file.is_file():
        return {"path": path}
    stat = file.stat()
    return {"path": path, **_file_content(str(file), stat.st_mtime_ns, stat.st_size)}


def model_fact(path: str) -> dict[str, Any]:
    """A model: a folder with a hash of its files, or a name of the Hub with the commit that lies in its cache."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
        cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
        try:
            commit = (cache / f"models--{path.replace('/', '--')}" / "refs" / "main").read_text(encoding="ascii")
        except (OSError, ValueError):
            return {"path": path}
        return {"path": path, "commit": commit.strip()[:40]}
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in MODEL_FILES)
    stats = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return {"path": path, "sha256": _model_content(stats)}


def content(value: Any) -> Any:
    """What counts of a fact: of files and models their hash, where there is one, or else the path."""
    if isinstance(value, list):
        return [content(one) for one in value]
    if isinstance(value, Mapping) and "path" in value:
        return value.get("sha256", value["path"])
    return value


def shown(value: Any) -> str:
    """A fact for people, short.

    >>> shown([{"path": "a/train.parquet", "rows": 24, "sha256": "0123456789ab"}])
    'a/train.parquet (24 rows, sha256 01234567)'
    """
    if value is None:
        return "not set"
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "path" in one for one in value):
        return ", ".join(map(shown, value))
    if isinstance(value, Mapping) and "path" in value:
        rows = [f"{value['rows']} rows"] if value.get("rows") is not None else []
        told = [*rows, *(f"{name} {value[name]!s:.8}" for name in ("sha256", "commit") if name in value)]
        return f"{value['path']} ({', '.join(told)})" if told else str(value["path"])
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:97]}..."


def brief(value: Any) -> str:
    """A fact in a label, the same for equal content: of files the rows, of files and models the start of their hash.

    >>> brief([{"path": "a/train.parquet", "rows": 24, "sha256": "0123456789ab"}])
    '24 rows 012345'
    """
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "path" in one for one in value):
        return "+".join(map(brief, value))
    if isinstance(value, Mapping) and "path" in value:
        rows = f"{value['rows']} rows " if value.get("rows") is not None else ""
        return f"{rows}{str(value['sha256'])[:6]}" if "sha256" in value else str(value["path"])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def flat(node: Any, path: str) -> dict[str, Any]:
    """A node as one mapping from dotted names to what is no mapping.

    >>> flat({"sum": {"a": {"by": 1}, "b": "correct"}}, "reward")
    {'reward.sum.a.by': 1, 'reward.sum.b': 'correct'}
    """
    if not isinstance(node, Mapping) or not node:
        return {path: node}
    return {name: value for key, below in node.items() for name, value in flat(below, f"{path}.{key}").items()}


def _same(before: Any, after: Any) -> bool:
    if content(before) != content(after):
        return False
    commits = [value.get("commit") if isinstance(value, Mapping) else None for value in (before, after)]
    return None in commits or commits[0] == commits[1]


def _is_beside(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in BESIDE)


def _is_free(name: str, *, rate_goes_by_steps: bool) -> bool:
    if name in (STEPS, EPOCHS) and rate_goes_by_steps:
        return False
    return name in FREE or name.rpartition(".")[2] in FREE


def _rate_goes_by_steps(facts: Mapping[str, Any]) -> bool:
    return any(
        (name.endswith("optim.lr_scheduler_type") and value not in (None, "constant"))
        or (name.endswith("optim.lr_warmup_steps_ratio") and value not in (None, 0))
        for name, value in facts.items()
    )


@lru_cache(maxsize=256)
def _file_content(path: str, modified: int, size: int) -> dict[str, Any]:
    """Rows and hash, once for each state of a file."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"rows": _rows(Path(path)), "sha256": digest}


def _rows(path: Path) -> int | None:
    """The rows of a file; None where that cannot be told."""
    if path.suffix.lower() == ".jsonl":
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    if path.suffix.lower() == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            return int(pyarrow.parquet.read_metadata(path).num_rows)
        except (pyarrow.ArrowException, OSError):
            return None
    return None


@lru_cache(maxsize=64)
def _model_content(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, size in files:
        digest.update(f"{Path(path).name}\0{size}\0".encode("utf-8", "surrogateescape"))
        with open(path, "rb") as file:
            if size <= SMALL:
                digest.update(file.read())
            else:
                digest.update(file.read(2**20))
                file.seek(-(2**20), 2)
                digest.update(file.read())
    return digest.hexdigest()
