"""The page of results shows every variant of its sweep once, and says what is missing."""

from __future__ import annotations

import runpy
from pathlib import Path

from leanthink.recipe.yaml import read_yaml
from leanthink.sweep.plan import Planned, Sweep
from leanthink.sweep.store import Store

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_variant_has_its_row(tmp_path: Path) -> None:
    script = runpy.run_path(str(BENCHMARKS / "results.py"))
    shown = [variant for section in script["SECTIONS"] for variant in section.papers]
    assert shown == list(read_yaml(BENCHMARKS / "results.yaml")["variants"])
    runs = [Planned(variant=name, recipe="r", overrides={}, seed=1, arguments=(), steps=7) for name in shown]
    page = script["page"](Sweep(runs=tuple(runs), file=tmp_path), Store(folder=tmp_path))
    for section in script["SECTIONS"]:
        assert f"## {section.title}" in page and f"Not run: {', '.join(section.papers)}." in page


def test_a_section_without_runs_stays_as_it_was(tmp_path: Path) -> None:
    script = runpy.run_path(str(BENCHMARKS / "results.py"))
    shown = [variant for section in script["SECTIONS"] for variant in section.papers]
    runs = [Planned(variant=name, recipe="r", overrides={}, seed=1, arguments=(), steps=7) for name in shown]
    first = script["SECTIONS"][0].title
    page = script["page"](
        Sweep(runs=tuple(runs), file=tmp_path), Store(folder=tmp_path), f"# Old\n\n## {first}\n\n| a | table |\n"
    )
    assert f"## {first}\n\n| a | table |\n\n## " in page and page.count("Not run") == len(script["SECTIONS"]) - 1
