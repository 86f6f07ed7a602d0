"""What a report is made of: our runs, folders of them, verl's validation dumps, verl's metrics files.

Correctness is the verifier's raw verdict (``acc``), never the shaped reward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from leanthink.core.errors import DataError
from leanthink.core.text import REPLACEMENT, storable
from leanthink.data.rollouts import words_and_signs
from leanthink.files.reading import read_jsonl, read_text
from leanthink.recipe.keys import PARTS
from leanthink.recipe.yaml import read_yaml
from leanthink.reporting.tables import is_number
from leanthink.rewards.counted import COLUMN_OF
from leanthink.rewards.effort_length import EFFORT, EFFORT_NAME
from leanthink.runs.folder import LARGEST, Run, dumps_in, is_size, step_number, step_of
from leanthink.runs.identity import RECIPE, brief, flat, read_record, settings_of

DEPTH: Final = 4  # how far below a folder runs are looked for
SEEDS: Final = ("data.seed", "data_loader_seed", "fsdp_config.seed", "rollout.seed")
AROUND: Final = (
    *("ray_kwargs.", "trainer.logger", "trainer.project_name", "trainer.experiment_name"),
    "trainer.val_before_train",  # a resumed run has been evaluated before
)
"""How keys begin that change nothing about what is learnt."""
COSTS: Final = tuple(dict.fromkeys(COLUMN_OF.values()))
JUDGED_BY: Final = ("task", "relative_tolerance", "absolute_tolerance")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One validation response; ``correct`` is None where the verdict is unknown.

    ``effort`` is the level that its prompt states, by name and by number; ``costs`` what else is counted of it, as
    turns and calls, by column.
    """

    question: str
    correct: float | None
    length: float
    truncated: bool | None
    difficulty: str
    answer: str | None
    text: str
    gold: str
    overthinking: bool | None
    effort: tuple[float, str] | None = None
    costs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One run, or what is there of one.

    Attributes:
        name: what it is called in the report.
        label: what it shares with runs that differ in the seed only.
        metrics: one flat mapping per step.
        evaluations: validation samples by step.
        settings: what it was started with, but for seeds and paths.
        stopped: why it was ended early, if it was.
        judged_by: how its answers were judged, as `leanthink.verify.same.same_answers` takes it.
        notices: what the reader should know about it.
        origin: the file or folder it was read from.
        recipe: the recipe's name, where it is known.
    """

    name: str
    label: str
    metrics: Sequence[Mapping[str, Any]]
    evaluations: Mapping[int, Sequence[Sample]]
    settings: Mapping[str, str] = field(default_factory=dict)
    stopped: str | None = None
    judged_by: Mapping[str, Any] = field(default_factory=dict)
    notices: Sequence[str] = ()
    origin: Path | None = None
    recipe: str = ""


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """Everything to report on, in the order given; runs inside a folder by name.

    Raises:
        DataError: nothing to report on, named.
    """
    found = [source for path in paths for source in _sources_of(path)]
    found = [replace(source, name=storable(source.name)[0], label=storable(source.label)[0]) for source in found]
    names = distinct_names([(source.origin or Path()).absolute().parent for source in found], [s.name for s in found])
    return _labelled([replace(source, name=name) for source, name in zip(found, names, strict=True)])


def distinct_names(parents: Sequence[Path], names: Sequence[str]) -> list[str]:
    """The names, those that are not unique with as many of their parent folders as it takes, at last with a number.

    >>> distinct_names([Path("/runs/a"), Path("/runs/b"), Path("/runs")], ["seed-1", "seed-1", "trle"])
    ['a/seed-1', 'b/seed-1', 'trle']
    >>> distinct_names([Path("/runs"), Path("/runs")], ["trle", "trle"])
    ['trle (1)', 'trle (2)']
    """
    told = list(names)
    for depth in range(1, DEPTH + 1):
        told = [
            "/".join([*parent.parts[-depth:], name]) if told.count(shown) > 1 else shown
            for parent, name, shown in zip(parents, names, told, strict=True)
        ]
        if len(set(told)) == len(told):
            return told
    return [
        f"{name} ({names[:place].count(name) + 1})" if told.count(shown) > 1 else shown
        for place, (name, shown) in enumerate(zip(names, told, strict=True))
    ]


def run_folders(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The runs in a folder, itself included."""
    if is_run(folder):
        yield folder
    elif depth:
        for below in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
            yield from run_folders(below, depth - 1)


def is_run(folder: Path) -> bool:
    """Whether ``leanthink train`` wrote this folder."""
    return (folder / "recipe.yaml").is_file() and (folder / "attempts").is_dir()


def _sources_of(path: Path) -> list[Source]:
    if not path.exists():
        raise DataError(f"{path} does not exist; give a run's folder, a folder of runs, or verl's files")
    if path.is_file():
        return [replace(_of_file(path), origin=path)]
    folders = list(run_folders(path))
    if folders:
        return [replace(_of_run(folder), origin=folder) for folder in folders]
    dumps = dumps_in(path)
    if not dumps:
        raise DataError(
            f"{path} holds no run and no dump; give the folder that `leanthink train` wrote, a folder of such, verl's "
            "trainer.validation_data_dir, or the file of its logger 'file'"
        )
    return [replace(_of_dumps(path.name, dumps, []), origin=path)]


def _of_file(path: Path) -> Source:
    if path.suffix != ".jsonl":
        raise DataError(f"{path}: cannot read {path.suffix or 'a file without ending'}; give a .jsonl file of verl's")
    first = next(iter(read_jsonl(path, whole=False)), None)
    if first is None:
        raise DataError(f"{path} is empty; give a file with at least one line")
    if isinstance(first.get("data"), dict) and "step" in first:
        rows: dict[int, dict[str, Any]] = {}
        for number, line in enumerate(read_jsonl(path, whole=False), 1):
            step, data = step_of(line, f"{path}, line {number}")
            rows.setdefault(step, {"step": step}).update(data)
        return Source(name=path.stem, label=path.stem, metrics=[rows[step] for step in sorted(rows)], evaluations={})
    if "step" in first and any(key.startswith("leanthink/") for key in first):  # metrics.jsonl of a run's folder
        name = path.parent.name if path.name == Run(folder=path.parent).metrics.name else path.stem
        flat_rows = {step_number(row["step"], f"{path}, line {n}, step"): row for n, row in _numbered(path)}
        return Source(name=name, label=name, metrics=[flat_rows[step] for step in sorted(flat_rows)], evaluations={})
    return _of_dumps(path.stem, {step_number(first.get("step") or 0, f"{path}, line 1, step"): path}, [])


def _numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file that have a step, with their lines."""
    return ((n, row) for n, row in enumerate(read_jsonl(path, whole=False), 1) if "step" in row)


def _of_run(folder: Path) -> Source:
    run = Run(folder=folder)
    summary: dict[str, Any] = {}
    if run.summary.exists():
        summary = run.read_summary()
    dumps = dumps_in(run.validation)
    stopped = summary.get("stopped")
    record = read_record(run.record)
    told = [
        f"{folder.name} went on after step {step} with a change: {one}"
        for step, one in (record.changed if record is not None else [])
    ]
    source = _of_dumps(folder.name, dumps, run.read_metrics())
    if not summary:
        told.append(f"{folder.name} has not finished (no summary.json)")
    return replace(
        source,
        label=str(summary.get("recipe", folder.name)),
        recipe=str(summary.get("recipe", "")),
        notices=[*source.notices, *told],
        settings=_settings(run),
        judged_by={
            name: record.facts[key]
            for name in JUDGED_BY
            if record is not None
            and isinstance(record.facts.get(key := f"leanthink.verify.{name}"), str if name == "task" else float)
        },
        stopped=None if not stopped else _reason(stopped),
    )


def _reason(stopped: Any) -> str:
    """Why a run was stopped, as one line."""
    if isinstance(stopped, Mapping):
        return str(stopped.get("reason") or ", ".join(f"{key} {value}" for key, value in stopped.items()))
    return str(stopped)


def _of_dumps(name: str, dumps: Mapping[int, Path], metrics: Sequence[Mapping[str, Any]]) -> Source:
    notices: dict[str, None] = {}
    evaluations = {}
    for step in sorted(dumps):
        evaluations[step] = [
            sample_of(row, f"{dumps[step]}, line {line}", name, notices)
            for line, row in enumerate(read_jsonl(dumps[step], whole=False), 1)
        ]
    evaluations = {step: samples for step, samples in evaluations.items() if samples}
    return Source(name=name, label=name, metrics=metrics, evaluations=evaluations, notices=list(notices))


def sample_of(row: Mapping[str, Any], place: str, name: str, notices: dict[str, None]) -> Sample:
    """A row of a validation dump, ours or plain verl's.

    Raises:
        DataError: it has no verdict.
    """
    row, replaced = storable(row)
    if replaced and not any("surrogate" in notice for notice in notices):
        told = f"{name}: halves of surrogate pairs, which are no text, are shown as {REPLACEMENT}; as at {place}"
        notices[told] = None
    verdict = row.get("acc", row.get("correct"))
    if verdict is None and row.get("score") in (0, 1):
        verdict = row["score"]
        notices[f"{name}: no 'acc' in the dump; its scores of 0 and 1 count as verdicts"] = None
    if not is_number(verdict) or verdict not in (0, 1):
        raise DataError(
            f"{place}: no verdict of 0 or 1 (acc: {row.get('acc')!r:.40}, score: {row.get('score')!r:.40}); let the "
            "reward function return {'score': ..., 'acc': 0 or 1}, as leanthink's does"
        )
    text = str(row.get("output", row.get("response", "")))
    length = row.get("length")
    if length is None:
        length = len(words_and_signs(text))
        notices[f"{name}: lengths are counted in words and signs, not tokens: no 'length' in the dump"] = None
    elif not is_size(length) or length < 0:
        raise DataError(f"{place}: length is {length!r:.80}; give a number of tokens, from 0 to {LARGEST:g}")
    truncated = _flag(row, "truncated")
    if truncated is None:
        notices[f"{name}: how many responses the limit cut is not known: no 'truncated' in the dump"] = None
    question = str(row.get("input", row.get("prompt_id", row.get("group", place))))
    return Sample(
        question=f"{question}\n{row.get('gts', '')}",
        correct=None if row.get("unknown") else float(verdict),
        length=float(length),
        truncated=truncated,
        difficulty=str(row.get("difficulty", "")),
        answer=None if row.get("pred") in (None, "") else str(row["pred"]),
        text=text,
        gold=str(row.get("gts", "")),
        overthinking=_flag(row, "overthinking"),
        effort=(_counted(row, EFFORT, place), str(row[EFFORT_NAME]))
        if row.get(EFFORT_NAME) and is_number(row.get(EFFORT))
        else None,
        costs={name: _counted(row, name, place) for name in COSTS if is_number(row.get(name))},
    )


def _flag(row: Mapping[str, Any], name: str) -> bool | None:
    """Whether something holds of a row; None where it does not say."""
    return None if row.get(name) is None else bool(row[name])


def _counted(row: Mapping[str, Any], name: str, place: str) -> float:
    """A number of a row that can be added up with others."""
    if not is_size(row[name]):
        raise DataError(f"{place}: {name} is {row[name]!r:.80}; give a number up to {LARGEST:g}")
    return float(row[name])


def _settings(run: Run) -> dict[str, str]:
    """What a run was started with, flat, without seeds and paths; of an earlier version's run, as its command says."""
    if (record := read_record(run.record)) is not None:
        facts = {name.removeprefix(f"{RECIPE}."): value for name, value in settings_of(record.facts).items()}
        return {name: brief(value) for name, value in facts.items()}
    settings: dict[str, str] = {}
    if run.recipe.exists():
        node = read_yaml(run.recipe) or {}
        if not isinstance(node, Mapping):
            raise DataError(f"{run.recipe} holds no recipe; train in the folder again")
        for part in PARTS:
            if part in node:
                settings |= {name: brief(value) for name, value in flat(node[part], part).items()}
    command = run.folder / "command.txt"
    if command.exists():
        for line in read_text(command).splitlines():
            key, equals, value = line.strip().rstrip("\\").strip().strip("'").partition("=")
            key = key.lstrip("+")
            if key.startswith(AROUND) or key.endswith(SEEDS) or "leanthink" in key:
                continue
            if equals and "." in key and "/" not in value:
                settings[key] = value
    return settings


def _labelled(sources: Sequence[Source]) -> list[Source]:
    """Labels that differ exactly where settings do: the recipe, and what tells its variants apart."""
    labelled = []
    for source in sources:
        variants = [other.settings for other in sources if other.label == source.label]
        keys = sorted({key for settings in variants for key in settings})
        differing = [key for key in keys if len({settings.get(key) for settings in variants}) > 1]
        told = [f"{key.rpartition('.')[2]}={source.settings[key]}" for key in differing if key in source.settings]
        label = f"{source.label} {', '.join(told[:3])}{', …' if len(told) > 3 else ''}" if told else source.label
        if not source.settings and len(variants) > 1:
            label = source.name
        labelled.append(replace(source, label=label))
    return [
        replace(source, label=f"{source.label} ({source.name})")
        if any(other.label == source.label and other.settings != source.settings for other in labelled)
        else source
        for source in labelled
    ]
