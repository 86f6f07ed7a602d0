"""The page of results shows every variant of its sweep once, and says what is missing."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from leanthink.recipe.yaml import read_yaml
from leanthink.reporting.sources import Sample, Source
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


def test_every_search_variant_is_a_run_of_the_search_task() -> None:
    node = read_yaml(BENCHMARKS / "results_search.yaml")
    assert node["testbed"] == "search" and len(node["seeds"]) == 3
    assert node["variants"] and "testbed" not in read_yaml(BENCHMARKS / "results.yaml")


def test_the_search_section_shows_start_and_runs_and_stays_where_nothing_was_run(tmp_path: Path) -> None:
    script = runpy.run_path(str(BENCHMARKS / "results.py"))
    question = "21 42 times 91 is 139 ?\n42"

    def sample(text: str, correct: float) -> Sample:
        return Sample(
            question=question, correct=correct, length=len(text.split()) + 1.0, truncated=False, difficulty="2",
            answer=None, text=text, gold="33", overthinking=None,
        )  # fmt: skip

    guess, found = (
        sample(r"<think> </think> \boxed{ 21 }", 0.0),
        sample(r"<think> 21 168 no </think> \boxed{ 42 }", 1.0),
    )
    source = Source(name="a", label="trle", metrics=[{"step": 7}], evaluations={0: [guess], 7: [found]})
    ends = {"by_difficulty": {"2": {"accuracy": 1.0, "mean_tokens": 9.0}}}
    summary = {"recipe": "trle", "before": ends, "after": ends, "seconds": {"per_step": {"step": 2.5}}}
    lines = script["search_section"]([source], {"trle": [summary]}, ["palu"])
    start, trained = (line.split(" | ") for line in lines[6:8])  # behind picture, text and heads
    # Half of the guesses among two are right at six tokens, and all answers at nine: both ends of the front.
    assert start[2:7] == ["0.0", "6.0", "0.0", "50.0", "0"]
    assert trained[1:7] == ["1", "100.0", "9.0", "0.0", "0.0", "0"] and trained[-1] == "2.5 |"
    assert "Not run: palu." in lines and any("2 candidates" in line for line in lines)
    (raw,) = script["kept_figures"]([source], {"trle": [summary | {"metrics": []}]})
    assert raw["variant"] == "trle" and raw["summary"] == summary
    assert raw["search"]["tokens_above"]["value"] == pytest.approx(0.0)
    script["draw"]([source], tmp_path / "results.png")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    shown = [variant for section in script["SECTIONS"] for variant in section.papers]
    runs = [Planned(variant=name, recipe="r", overrides={}, seed=1, arguments=(), steps=7) for name in shown]
    sweep, store = Sweep(runs=tuple(runs), file=tmp_path), Store(folder=tmp_path)
    page = script["page"](sweep, store, search=lines)
    assert script["page"](sweep, store, page) == page
