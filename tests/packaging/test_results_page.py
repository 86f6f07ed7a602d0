"""The page of results shows every variant of its sweep once, and says what is missing."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leanthink.metrics import Interval
from leanthink.recipe.yaml import read_yaml
from leanthink.reporting.sources import Sample, Source
from leanthink.sweep.plan import Planned, Sweep
from leanthink.sweep.store import Store

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(name="script")
def _script(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The names of `results.py` and of its modules."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = runpy.run_path(str(BENCHMARKS / "results.py"))
    modules = ("search_section", "result_tables", "search_picture", "kept_runs")
    yield {**vars(sys.modules[modules[0]]), **names}
    for module in modules:
        del sys.modules[module]


def test_every_variant_has_its_row(script: dict[str, Any], tmp_path: Path) -> None:
    shown = [variant for section in script["SECTIONS"] for variant in section.papers]
    assert shown == list(read_yaml(BENCHMARKS / "results.yaml")["variants"])
    runs = [Planned(variant=name, recipe="r", overrides={}, seed=1, arguments=(), steps=7) for name in shown]
    page = script["page"](Sweep(runs=tuple(runs), file=tmp_path), Store(folder=tmp_path))
    for section in script["SECTIONS"]:
        assert f"## {section.title}" in page and f"Not run: {', '.join(section.papers)}." in page


def test_a_section_without_runs_stays_as_it_was(script: dict[str, Any], tmp_path: Path) -> None:
    shown = [variant for section in script["SECTIONS"] for variant in section.papers]
    runs = [Planned(variant=name, recipe="r", overrides={}, seed=1, arguments=(), steps=7) for name in shown]
    first = script["SECTIONS"][0].title
    page = script["page"](
        Sweep(runs=tuple(runs), file=tmp_path), Store(folder=tmp_path), f"# Old\n\n## {first}\n\n| a | table |\n"
    )
    assert (
        script["EARLIER"] in page
        and f"## {first}\n\n| a | table |\n\n## " in page
        and page.count("Not run") == len(script["SECTIONS"]) - 1
    )


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
    metrics = [{"step": step, "leanthink/length/all": 2.0 * step} for step in range(1, 13)]
    source = Source(name="a", label=variant, metrics=metrics, evaluations={0: [GUESS], 12: [last]})
    ends = {"by_difficulty": {"2": {"accuracy": 1.0, "mean_tokens": 9.0, "questions": 1}}}
    summary = {"recipe": "trle", "before": ends, "after": ends, "seconds": {"per_step": {"step": 2.5}}}
    return script["ended_run"](source, _planned(variant, seed), summary)


def test_the_search_section_shows_start_and_runs_and_stays_where_nothing_was_run(
    script: dict[str, Any], tmp_path: Path
) -> None:
    runs_of = {"trle": [_ended(script, "trle", 1, FOUND), _ended(script, "trle", 2, GUESS)]}
    lines = script["search_section"](runs_of, ["palu"])
    start, trained = (line.split(" | ") for line in lines[10:12])  # behind picture, texts and heads
    # Half of the guesses among two are right at six tokens, and all answers at nine: both ends of the front.
    assert start[2:7] == ["0.0 ± 0.0", "6.0 ± 0.0", "0.0 ± 0.0", "50.0 ± 0.0", "0 ± 0"]
    assert trained[1:5] == ["2", "50.0 ± 70.7", "7.5 ± 2.1", "0.0 ± 0.0"]
    assert start[9] == "none tried" and trained[9] == "0 (50)"
    assert "Not run: palu." in lines and any("2 candidates" in line for line in lines)
    script["draw"](runs_of, tmp_path / "results.png")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    shown = [variant for section in script["SECTIONS"] for variant in section.papers]
    sweep, store = Sweep(runs=tuple(_planned(name, 1) for name in shown), file=tmp_path), Store(folder=tmp_path)
    page = script["page"](sweep, store, search=lines)
    assert script["page"](sweep, store, page) == page


def test_a_run_is_kept_to_the_digit_and_shown_while_the_plan_asks_for_it(
    script: dict[str, Any], tmp_path: Path
) -> None:
    runs = [_ended(script, "trle", 1, FOUND), _ended(script, "trle", 2, GUESS), _ended(script, "old", 1, FOUND)]
    kept = script["read_kept"](script["kept_text"](runs))
    # One question has no interval, and nobody was right at the start: NaN, which equals nothing, is compared as text.
    assert repr(kept) == repr(runs) and "nan" in repr(runs) and "NaN" not in script["kept_text"](runs)
    plan = Sweep(runs=(_planned("trle", 2), _planned("trle", 1), _planned("trle", 3)), file=tmp_path)
    shown = script["ended_runs"](plan, Store(folder=tmp_path), kept, script["of_folder"])
    assert [one.key for one in shown] == ["trle-2", "trle-1"]


def test_every_claim_is_of_a_variant_of_the_plan(script: dict[str, Any]) -> None:
    variants = read_yaml(BENCHMARKS / "results_search.yaml")["variants"]
    assert {claim.variant for claim in script["CLAIMS"]} <= set(variants) and script["TRLE"] in variants


def _accuracy(end: Any, value: float, low: float) -> Any:
    return replace(end, figures=replace(end.figures, accuracy=Interval(value=value, low=low, high=1.0)))


def _with_levels(run: Any, accuracy: dict[str, tuple[float, float]]) -> Any:
    """The same run with other accuracies by number of candidates, before and after."""
    moments = {
        moment: {"by_difficulty": {level: {"accuracy": both[place]} for level, both in accuracy.items()}}
        for place, moment in enumerate(("before", "after"))
    }
    return replace(run, summary={**run.summary, **moments})


def test_a_claim_shows_where_its_numbers_say_so(script: dict[str, Any]) -> None:
    """The start guesses at six tokens, right by no chance; a found answer takes nine, and neither wastes any."""
    longer, same = _ended(script, "grpo", 1, FOUND), _ended(script, "grpo", 2, GUESS)
    table = script["claims_table"]

    def shown(variant: str, *runs: Any, **others: Any) -> list[str]:
        name = f"| `{variant}` |" if variant == runs[0].summary["recipe"] else f"| {variant} |"
        (line,) = (line for line in table({variant: runs, **others}) if line.startswith(name))
        return line.strip("| ").split(" | ")[-2:]

    # Of the twelve steps' lengths, 2 to 24, the last ten have the greatest mean.
    way = "at most 15.0 on the way, waste % 0 → 0"
    assert shown("grpo", longer) == [f"tokens 6.0 → 9.0, {way}, right ones nan → 9.0, wrong ones 6.0 → nan", "yes"]
    assert shown("grpo", longer, same)[-1] == "yes"
    assert shown("grpo", same) == [f"tokens 6.0 → 6.0, {way}, right ones nan → nan, wrong ones 6.0 → 6.0", "no"]
    assert shown("vsrm_rpp", longer) == ["repetitions 0.00 → 0.00, needed tokens 6.0 → 9.0", "no"]
    guarded = script["GUARDED"]
    at_least = replace(longer, start=_accuracy(longer.start, 0.5, 0.4))
    for accuracy, verdict in ((0.9, "yes"), (0.45, "yes"), (0.35, "no")):
        text = f"accuracy % 50.0 → {100 * accuracy:.1f} (the start's interval: from 40.0)"
        assert shown(guarded, replace(at_least, last=_accuracy(longer.last, accuracy, 0.0))) == [text, verdict]
    assert shown("grpo_lambda: on the best-solved fifth", longer)[-1] == "no"  # right, but not shorter

    collapse = script["UNGUARDED"]
    many = {"2": (0.9, 0.8), "8": (0.5, 0.1)}
    worse = replace(longer, start=longer.last, last=longer.start)
    text, verdict = shown(collapse, _with_levels(worse, many))
    assert verdict == "yes" and text.endswith("of 2 candidates 90 → 80, of 8 candidates 50 → 10")
    assert shown(collapse, _with_levels(worse, {"2": (0.9, 0.1), "8": (0.5, 0.4)}))[-1] == "no"
    assert shown(collapse, _with_levels(worse, {"2": (0.9, 0.3), "8": (0.5, 0.1)}))[-1] == "yes"  # by what is left
    assert shown(collapse, _with_levels(longer, many))[-1] == "no"


def test_distance_is_halved_or_not_and_slopes_are_held_against_trle(script: dict[str, Any]) -> None:
    run = _ended(script, "trle", 1, FOUND)

    def but(one: Any, **changes: Any) -> Any:
        return replace(one, search=replace(one.search, **changes))

    def apart(start: float, last: float) -> Any:
        far = [Interval(value=value, low=value, high=value) for value in (start, last)]
        return replace(run, start=but(run.start, tokens_above=far[0]), last=but(run.last, tokens_above=far[1]))

    def sloped(value: float) -> Any:
        return replace(run, last=but(run.last, slope=value, slope_needed=2.0))

    table, name = script["claims_table"], script["TRLE"]
    assert table({name: [apart(8.0, 4.0)]})[-1].endswith("tokens above the front 8.0 → 4.0 | yes |")
    assert table({name: [apart(8.0, 4.1)]})[-1].endswith("| no |")
    # 1.4 is 0.6 too little, 2.5 is 0.5 too much; of three seeds it is the mean that counts.
    for slopes, shown in (([2.5], "yes"), ([1.3], "no"), ([1.0, 3.2], "yes")):
        lines = table({name: [sloped(1.4)], "palu": [sloped(value) for value in slopes]})
        assert lines[-1].endswith(f"needed 2.0 | {shown} |")
    assert len(table({"palu": [sloped(2.0)]})) == 2  # nothing to hold it against
