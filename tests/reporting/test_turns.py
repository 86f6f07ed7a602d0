"""What a report says of responses with tools and of levels of effort, against figures worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leanthink.cli import main
from leanthink.metrics import Interval
from leanthink.reporting.fronts import calls_of, is_search
from leanthink.reporting.sources import Sample, sample_of
from leanthink.reporting.turns import efforts_grid, mean_of, obeys, turns_grid

ONCE = "<think> </think> <tool> 21 91 </tool> <result> 168 "
TWICE = ONCE + "<think> no </think> <tool> 21 91 </tool> <result> 168 "
END = r"<think> no </think> \boxed{ 42 }"
QUESTION = "21 42 times 91 is 139 ?"


def talk(text: str, *, calls: int, right: float = 1.0, asked: str = QUESTION) -> Sample:
    row = {"input": asked, "gts": "42", "output": text, "acc": right, "length": 10.0 * calls + 7, "failed_calls": 0.0}
    row |= {"tool_calls": float(calls), "assistant_turns": calls + 1.0, "tool_tokens": 3.0 * calls}
    row |= {"context_tokens": 20.0, "thinking_length": 2.0}
    return sample_of(row, "there", "run", {})


def levelled(level: int, name: str, length: float, number: int) -> Sample:
    row = {
        "input": f"{name} {number}",
        "acc": 1.0,
        "length": length,
        "effort": level,
        "effort_name": name,
        "output": "",
    }
    return sample_of(row, "there", "run", {})


def test_turns_and_calls_are_means_over_responses_and_wasted_calls_are_known_on_the_testbed() -> None:
    samples = [talk(ONCE + END, calls=1), talk(TWICE + END, calls=2, asked="1 42 times 91 is 139 ?")]
    rows = turns_grid([("run", samples)]).rows
    assert [row[0] for row in rows] == ["run", *[""] * (len(rows) - 1)]
    shown = {row[1]: row[2] for row in rows}
    assert shown["tokens written"].startswith("22.0 [") and shown["tool calls"].startswith("1.50 [")
    assert shown["turns"].startswith("2.50 [") and shown["tokens read from tools"].startswith("4.5 [")
    assert shown["failed calls"].startswith("0.00") and shown["tokens of thinking"].startswith("2.0")
    assert "seconds" not in shown
    calls = calls_of(samples)
    assert calls is not None and [one.wasted for one in calls] == [0, 2]  # of 1 91 nothing was called
    assert shown["wasted calls"].startswith("1.00 [")
    assert not is_search(samples)
    elsewhere = [talk("", calls=1, asked="What is the weather?")]
    assert calls_of(elsewhere) is None
    assert "wasted calls" not in [row[1] for row in turns_grid([("run", elsewhere)]).rows]


def test_runs_without_tools_or_levels_have_no_row() -> None:
    plain = [sample_of({"input": "q", "acc": 1.0, "length": 4, "output": "so"}, "there", "run", {})]
    assert turns_grid([("run", plain)]).rows == [] and efforts_grid([("run", plain)]).rows == []


@pytest.mark.parametrize(
    ("high", "told"), [((30.0, 32.0), "yes"), ((0.0, 14.0), "in order, intervals meet"), ((2.0, 3.0), "no")]
)
def test_a_model_obeys_where_levels_are_in_order_and_apart(high: tuple[float, float], told: str) -> None:
    samples = [levelled(0, "low", 5.0 + number % 3, number) for number in range(30)]
    samples = [levelled(1, "high", high[number % 2], number) for number in range(30)] + samples  # in no order
    rows = efforts_grid([("run", samples)]).rows
    assert [row[:3] for row in rows] == [["run", "low", "30"], ["", "high", "30"]]
    assert rows[0][-1] == told and rows[1][-1] == ""
    assert rows[0][3].startswith("100.0") and rows[0][4].startswith("6.0 [")


def test_one_level_is_nothing_to_obey() -> None:
    assert obeys([Interval(value=5, low=4, high=6)]) == "no"


def test_a_mean_keeps_a_questions_samples_together() -> None:
    samples = [talk("", calls=1, asked="a"), talk("", calls=1, asked="a"), talk("", calls=1, asked="b")]
    assert mean_of(samples, [1.0, 3.0, 5.0]).value == 3.0


def test_the_command_shows_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = {"gts": "42", "output": ONCE + END, "acc": 1.0, "tool_calls": 1.0, "assistant_turns": 2.0}
    rows = [
        {
            "input": f"{name} {QUESTION} {n}",
            "length": 9.0 + 9 * level + n % 2,
            "effort": level,
            "effort_name": name,
            **known,
        }
        for level, name in enumerate(("low", "high"))
        for n in range(8)
    ]
    (tmp_path / "dumps").mkdir()
    (tmp_path / "dumps" / "4.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["report", str(tmp_path / "dumps"), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "Turns and tools" in out and "By level of effort" in out and "Distance from the best" not in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "wasted calls" in page and "obeys" in page
