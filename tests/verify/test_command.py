r"""`leanthink verify`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leanthink import cli
from leanthink.commands import verify

KEYS = ["verdict", "extracted", "judge", "reason", "seconds", "gold_type", "answer_type"]


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def objects(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert cli.main(["verify", "--json", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([r"\frac{1}{2}", "0.5"], ["correct", "0.5", "number", "equal"]),
        (["7", r"I think \boxed{8}"], ["wrong", "8", "number", "not_equal"]),
        (["2x", "x+x"], ["correct", "x+x", "expression", "equal"]),
        (["3", "{3"], ["correct", "3", "number", "equal"]),
        (["7", " "], ["wrong", None, "extraction", "empty"]),
        (["--", r"-\frac{1}{2}", "-0.5"], ["correct", "-0.5", "number", "equal"]),
        (["--task", "choice", "B", "(b)"], ["correct", "(b)", "choice", "equal"]),
        (["--task", "numeric", "--tolerance", "0.1", "10", "10.5"], ["correct", "10.5", "math-verify", "equal"]),
    ],
)
def test_one_answer(capsys: pytest.CaptureFixture[str], arguments: list[str], expected: list[str | None]) -> None:
    (judgement,) = objects(capsys, *arguments)
    assert list(judgement) == KEYS
    assert [judgement[key] for key in KEYS[:4]] == expected
    assert judgement["seconds"]


def test_one_answer_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "8", "\ud8007 [bold]"]) == 0
    out = capsys.readouterr().out
    assert "wrong" in out and "not_equal" in out


ROWS: list[dict[str, object]] = [
    {"gold": "18", "response": r"<think>10 + 8</think> \boxed{18}"},
    {"gold": 18, "response": "so x = 18", "truncated": True},
    {"gold": "18", "response": "<think>so x = 18"},
    {"gold": "x+1", "response": "\ud800 \\boxed{\x00}"},
    {"gold": "$", "response": r"\boxed{x}"},
]


def test_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    judged = objects(capsys, path, "--workers", "1", "--deadline", "60")
    assert [list(one) for one in judged] == [KEYS] * 5
    assert [one["verdict"] for one in judged] == ["correct", "wrong", "wrong", "wrong", "unknown"]
    assert [one["judge"] for one in judged] == ["number", "extraction", "extraction", "expression", "none"]
    assert [one["reason"] for one in judged][:3] == ["equal", "truncated", "unfinished_thinking"]


@pytest.mark.parametrize("chunk", [2, 100])
def test_each_response_keeps_its_own_flag(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(verify, "CHUNK", chunk)
    rows = [{"gold": "18", "response": "so x = 18", "truncated": cut} for cut in (False, False, True, False, True)]
    judged = objects(capsys, write(tmp_path / "rows.jsonl", rows), "--workers", "1", "--deadline", "60")
    assert [one["verdict"] for one in judged] == ["correct", "correct", "wrong", "correct", "wrong"]


def test_a_file_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["verify", write(tmp_path / "rows.jsonl", ROWS)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["1", "correct", "number"] and lines[0].endswith(" 18")
    assert lines[1].split()[-2:] == ["truncated", "-"]
    assert "5 responses in" in "".join(lines)


def test_a_copied_problem_is_no_answer_wherever_the_file_has_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    problem = "Write $0.75$ as a fraction."
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": problem}]
    asked: list[dict[str, object]] = [{name: problem} for name in ("problem", "question", "prompt", "input")]
    rows = [{"gold": r"\frac{3}{4}", "response": r"\boxed{0.75}", **row} for row in [*asked, {"prompt": messages}, {}]]
    judged = objects(capsys, write(tmp_path / "rows.jsonl", rows))
    assert [one["reason"] for one in judged] == ["echo"] * 5 + ["equal"]
    (one,) = objects(capsys, r"\frac{3}{4}", "0.75", "--problem", problem)
    assert one["reason"] == "echo"
    (one,) = objects(capsys, "437", r"19 \cdot 23", "--accept-unevaluated")
    assert one["verdict"] == "correct"


def test_the_types_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = objects(capsys, "18 dollars", r"so \boxed{(1, 2)}")
    assert (one["gold_type"], one["answer_type"]) == ("quantity", "tuple")
    (one,) = objects(capsys, "7", "7 0")
    assert one["answer_type"] == "unreadable: two numbers side by side"


def test_a_response_that_was_cut_says_so_by_its_finish_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows: list[dict[str, object]] = [
        {"gold": "7", "response": "so the sum is 7", "finish_reason": reason} for reason in ("length", "stop")
    ]
    assert [one["verdict"] for one in objects(capsys, write(tmp_path / "rows.jsonl", rows))] == ["wrong", "correct"]


def test_options_reach_the_verifier(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"gold": "18", "response": "so x = 18"}])
    assert [one["reason"] for one in objects(capsys, path)] == ["equal"]
    assert [one["reason"] for one in objects(capsys, path, "--require-marked")] == ["unmarked"]
    assert [one["reason"] for one in objects(capsys, path, "--require-thinking-end")] == ["unfinished_thinking"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1", "2", "3"], "3 texts; give a FILE, or GOLD and ANSWER"),
        (["nowhere.jsonl"], "does not exist"),
        (["--task", "maths", "1", "2"], "did you mean 'math'"),
        (["--deadline", "0", "1", "2"], "give seconds greater than 0"),
    ],
)
def test_errors(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert cli.main(["verify", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"response": "1"}, "no gold (gold, gts, reward_model.ground_truth)"),
        ({"gold": "1"}, "no response (response, output, completion)"),
        ({"gold": {"text": "1"}, "response": "1"}, "is a mapping; name the field within it"),
    ],
)
def test_a_file_without_what_it_takes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, row: dict[str, object], message: str
) -> None:
    assert cli.main(["verify", write(tmp_path / "rows.jsonl", [row])]) == 1
    assert message in capsys.readouterr().err
