"""What was run: recipe, changes, steps, model, data, seed, versions and command of each run of a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from leanthink.core.text import quoted
from leanthink.reporting.page import Grid
from leanthink.reporting.sources import Source, is_run
from leanthink.runs.folder import Run
from leanthink.runs.identity import MODEL, STEPS, TRAIN_FILES, VAL_FILES, VERSION, Record, read_record, shown

SEED: Final = "data.seed"
FIRST: Final = ("leanthink", "verl", "trl", "vllm", "torch", "transformers")
"""The versions that are told; all of them stand in the run's ``run.json``."""


def ran_grid(sources: Sequence[Source]) -> Grid:
    """A row for each fact of each run that has a record."""
    rows = []
    for source in sources:
        folder = source.origin if source.origin is not None and is_run(source.origin) else None
        record = None if folder is None else read_record(Run(folder=folder).record)
        if record is not None:
            facts = list(_facts(source, record))
            rows += [[source.name if not place else "", *fact] for place, fact in enumerate(facts)]
    note = "Changes: what was typed beside the options. All of it stands in run.json and command.txt of each folder."
    return Grid(heads=("run", "", "what was run"), rows=rows, note=note if rows else "")


def _facts(source: Source, record: Record) -> Iterator[list[str]]:
    facts = record.facts
    words = record.starts[-1].words if record.starts else ()
    yield ["recipe", source.recipe or source.label]
    changes = [word for word in words[2:] if "=" in word and not word.startswith("-")]
    if changes:
        yield ["changes", ", ".join(changes)]
    for name, key in (("steps", STEPS), ("seed", SEED)):
        yield [name, str(facts[key]) if facts.get(key) is not None else "not set"]
    for name, key in (("model", MODEL), ("training data", TRAIN_FILES), ("held-out data", VAL_FILES)):
        if facts.get(key) is not None:
            yield [name, shown(facts[key])]
    versions = {name: facts[f"{VERSION}.{name}"] for name in FIRST if f"{VERSION}.{name}" in facts}
    if versions:
        yield ["versions", ", ".join(f"{name} {version}" for name, version in versions.items())]
    if record.starts:
        yield ["started", ", ".join(f"{one.at} from step {one.from_step}" for one in record.starts)]
    if words:
        yield ["command", " ".join(["leanthink", *map(quoted, words)])]
