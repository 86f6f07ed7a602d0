"""The page of results shows every variant of its sweep once, and says what is missing."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

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


def _sample(text: str, correct: float) -> Sample:
    return Sample(
        question="21 42 times 91 is 139 ?\n42", correct=correct, length=len(text.split()) + 1.0, truncated=False,
        difficulty="2", answer=None, text=text, gold="33", overthinking=None,
    )  # fmt: skip


GUESS, FOUND = _sample(r"<think> </think> \boxed{ 21 }", 0.0), _sample(r"<think> 21 168 no </think> \boxed{ 42 }", 1.0)


def _planned(variant: str, seed: int) -> Planned:
    return Planned(variant=variant, recipe="r", overrides={}, seed=seed, arguments=(), steps=7, key=f"{variant}-{seed}")


def _ended(script: dict[str, Any], variant: str, seed: int, last: Sample) -> Any:
    source = Source(name="a", label=variant, metrics=[{"step": 7}], evaluations={0: [GUESS], 7: [last]})
    ends = {"by_difficulty": {"2": {"accuracy": 1.0, "mean_tokens": 9.0, "questions": 1}}}
    summary = {"recipe": "trle", "before": ends, "after": ends, "seconds": {"per_step": {"step": 2.5}}}
    return script["ended_run"](source, _planned(variant, seed), summary)


def test_the_search_section_shows_start_and_runs_and_stays_where_nothing_was_run(tmp_path: Path) -> None:
    script = runpy.run_path(str(BENCHMARKS / "results.py"))
    runs_of = {"trle": [_ended(script, "trle", 1, FOUND), _ended(script, "trle", 2, GUESS)]}
    lines = script["search_section"](runs_of, ["palu"])
    start, trained = (line.split(" | ") for line in lines[6:8])  # behind picture, text and heads
    # Half of the guesses among two are right at six tokens, and all answers at nine: both ends of the front.
    assert start[2:7] == ["0.0 ± 0.0", "6.0 ± 0.0", "0.0 ± 0.0", "50.0 ± 0.0", "0 ± 0"]
    assert trained[1:5] == ["2", "50.0 ± 70.7", "7.5 ± 2.1", "0.0 ± 0.0"] and trained[-1] == "2.5 ± 0.0 |"
    assert "Not run: palu." in lines and any("2 candidates" in line for line in lines)
    script["draw"](runs_of, tmp_path / "results.png")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    shown = [variant for section in script["SECTIONS"] for variant in section.papers]
    sweep, store = Sweep(runs=tuple(_planned(name, 1) for name in shown), file=tmp_path), Store(folder=tmp_path)
    page = script["page"](sweep, store, search=lines)
    assert script["page"](sweep, store, page) == page


def test_a_run_is_kept_to_the_digit_and_shown_while_the_plan_asks_for_it(tmp_path: Path) -> None:
    script = runpy.run_path(str(BENCHMARKS / "results.py"))
    runs = [_ended(script, "trle", 1, FOUND), _ended(script, "trle", 2, GUESS), _ended(script, "old", 1, FOUND)]
    kept = script["read_kept"](script["kept_text"](runs))
    # One question has no interval, and nobody was right at the start: NaN, which equals nothing, is compared as text.
    assert repr(kept) == repr(runs) and "nan" in repr(runs) and "NaN" not in script["kept_text"](runs)
    plan = Sweep(runs=(_planned("trle", 2), _planned("trle", 1), _planned("trle", 3)), file=tmp_path)
    shown = script["ended_runs"](plan, Store(folder=tmp_path), kept)
    assert [one.key for one in shown] == ["trle-2", "trle-1"]
