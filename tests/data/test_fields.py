"""Which field of a row is what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leanthink import cli
from leanthink.core.errors import DataError
from leanthink.data.fields import Fields, problem_of, truncated_of
from leanthink.data.records import Record, read_records
from leanthink.data.rollouts import read_rollouts


def records(*rows: dict[str, Any]) -> list[Record]:
    return [Record(fields=row, file=Path("r.jsonl"), line=line) for line, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("row", "cut"),
    [
        ({"finish_reason": "length"}, True),
        ({"finish_reason": "stop"}, False),
        ({"finish_reason": "LENGTH"}, True),
        ({"finish_reason": {"type": "length", "length": 9}}, True),
        ({"finish_reason": {"type": "stop", "matched": 2}}, False),
        ({"finish_reason": "max_tokens"}, True),
        ({"finish_reason": "abort"}, True),
        ({"stop_reason": 151645}, False),
        ({"stop_reason": "end_turn"}, False),
        ({"truncated": "True"}, True),
        ({"truncated": 0}, False),
        ({"outputs": [{"finish_reason": "length"}]}, True),
        ({}, False),
    ],
)
def test_why_a_response_ended(row: dict[str, Any], cut: bool) -> None:
    flags, told = truncated_of(records(row), Fields())
    assert flags == [cut]
    assert bool(told) == ("truncated" not in row)


def test_an_end_that_says_nothing_is_refused() -> None:
    with pytest.raises(DataError, match=r"line 2: 'finish_reason' is 'odd', which does not say whether a limit"):
        truncated_of(records({"finish_reason": "stop"}, {"finish_reason": "odd"}), Fields())
    with pytest.raises(DataError, match=r"line 2: 'finish_reason' is None"):
        truncated_of(records({"finish_reason": "stop"}, {"finish_reason": None}), Fields())
    assert truncated_of(records({"stop_reason": 7}, {"stop_reason": None}), Fields())[0] == [False, False]


def test_fields_of_ones_own_and_what_is_not_there() -> None:
    rows = records({"q": "a", "right": {"answer": "4"}, "said": [{"text": "So \\boxed{4}"}], "n": 3, "cut": 1})
    own = Fields(group="q", gold="right.answer", response="said[0].text", length="n", truncated="cut")
    one = read_rollouts(rows, fields=own, workers=1)
    assert (one.group, one.length, one.truncated, str(one.judgements[0].verdict)) == (["a"], [3], [True], "correct")
    with pytest.raises(DataError, match=r"no field 'answer', which --gold-field names; it has: q, right"):
        read_rollouts(rows, fields=Fields(gold="answer"))


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(DataError) as told:
        read_rollouts(records({"foo": 1}))
    for what in ("no prompt group (group, prompt_id or uid", "no length (", "no verdict (", "this row has: foo"):
        assert what in str(told.value)


def test_a_name_of_the_data_stays_within_its_line() -> None:
    with pytest.raises(DataError, match=r"this row has: le gth, \\x1b\[31m, n{199}…") as told:
        read_rollouts(records({"le\ngth": 1, "\x1b[31m": 2, "n" * 10_000: 3}))
    assert "\n" not in str(told.value)


def test_rows_of_one_source_where_others_have_no_verdict() -> None:
    rows = records(
        {"group": 1, "length": 3, "acc": 1, "data_source": "a"},
        {"group": 1, "length": 4, "acc": None, "data_source": "b"},
        {"group": 1, "length": 5, "acc": "False", "data_source": "a"},
    )
    with pytest.raises(DataError, match=r"no 'acc'.*--source \(there are: a, b\)"):
        read_rollouts(rows)
    one = read_rollouts(rows, source="a")
    assert one.length == [3, 5] and [str(each.verdict) for each in one.judgements] == ["correct", "wrong"]
    assert any("1 verdicts in 'acc' are text" in notice for notice in one.notices)
    with pytest.raises(DataError, match="no row of the source 'c'; there are: a, b"):
        read_rollouts(rows, source="c")


def test_thinking_opened_by_the_prompt_and_other_tags() -> None:
    rows = records(
        {"group": 1, "prompt": "3+4?<think>\n", "gold": "7", "response": "It is \\boxed{7}? No"},
        {"group": 1, "prompt": "3+4?<think>\n", "gold": "7", "response": "7 </think> \\boxed{7}"},
        {"group": 1, "prompt": "3+4?", "gold": "7", "response": "It is \\boxed{7}"},
    )
    one = read_rollouts(rows, workers=1)
    assert [str(each.verdict) for each in one.judgements] == ["wrong", "correct", "correct"]
    assert any("2 prompts end in '<think>'" in notice for notice in one.notices)
    other = records({"group": 1, "gold": "7", "response": "[THINK] \\boxed{8} [/THINK] \\boxed{7}"})
    assert any("--thinking-end '[/THINK]'" in notice for notice in read_rollouts(other, workers=1).notices)
    assert not any("--thinking-end" in notice for notice in read_rollouts(other, thinking_end="[/THINK]").notices)


def run_folder(folder: Path) -> Path:
    """A run's folder with two steps of kept rollouts, as training writes them."""
    shaped = folder / "rollouts" / "shaped"
    shaped.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("reward: {sigmoid_length: {alpha: 0.4}}\nadvantage: rloo\n")
    (folder / "metrics.jsonl").write_text('{"step": 1}\n')
    rewards = {1: [0.8, 0.6], 2: [0.5, 0.5]}
    for step in (1, 2):
        dump = [
            {
                "input": "2+2?",
                "output": f"{'so ' * n}\\boxed{{4}}",
                "gts": "4",
                "score": 1.0,
                "step": step,
                "uid": f"u_{n}_0",
            }
            for n in (0, 1)
        ]
        facts = [
            {
                "uid": f"u_{n}_0",
                "step": step,
                "acc": 1.0,
                "unknown": 0.0,
                "length": 10.0 * (n + 1),
                "truncated": float(n),
            }
            | {"reason": "correct/equal", "reward": rewards[step][n], "parts": {}}
            for n in (0, 1)
        ]
        for path, rows in ((folder / "rollouts", dump), (shaped, facts)):
            (path / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize("inside", [".", "rollouts"])
def test_a_run_is_scored_by_its_own_facts_and_recipe(tmp_path: Path, capsys: Any, inside: str) -> None:
    folder = run_folder(tmp_path / "run")
    assert cli.main(["score", str(folder / inside), "--json"]) == 0
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["step"], row["length"], row["truncated"]) for row in rows] == [
        *((1, 10, False), (1, 20, True)),
        *((2, 10, False), (2, 20, True)),
    ]
    assert [row["recipes"].keys() for row in rows] == [{"recipe"}] * 4
    assert " of 4 rewards are not those that the run gave" in err  # those of the made dump are made up


def test_the_rewards_of_a_run_are_compared(tmp_path: Path, capsys: Any) -> None:
    folder = run_folder(tmp_path / "run")
    assert cli.main(["score", str(folder), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for step in (1, 2):
        path = folder / "rollouts" / "shaped" / f"{step}.jsonl"
        facts = [json.loads(line) for line in path.read_text().splitlines()]
        given = [row["recipes"]["recipe"]["reward"] for row in rows if row["step"] == step]
        path.write_text("".join(json.dumps(one | {"reward": r}) + "\n" for one, r in zip(facts, given, strict=True)))
    assert cli.main(["score", str(folder)]) == 0
    assert "the rewards of 4 responses are those that the run gave" in " ".join(capsys.readouterr().out.split())


def test_paths_into_nested_fields() -> None:
    record = records({"a": [{"b": {"c": 1}}, {"b": None}], "a.b": 2})[0]
    assert [record.get(name) for name in ("a[0].b.c", "a[-1].b", "a[2].b", "a.b", "a[0].x", "")] == [
        1,
        None,
        None,
        2,
        None,
        None,
    ]


def test_a_file_is_read_once_more_alike(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"group": 1, "length": 3, "correct": 1}\n')
    assert read_records(path)[0].fields == {"group": 1, "length": 3, "correct": 1}


def test_one_response_with_the_tag_is_enough() -> None:
    rows = records(
        {"group": 1, "gold": "7", "response": "[THINK] 8? [/THINK] \\boxed{7}"},
        {"group": 1, "gold": "7", "response": "</think> \\boxed{7}"},
    )
    assert not any("--thinking-end" in notice for notice in read_rollouts(rows, workers=1).notices)


def test_what_training_knew_of_a_response_wins_over_its_dump(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    path = folder / "rollouts" / "1.jsonl"
    dump = [json.loads(line) | {"acc": 0.0, "length": 1.0} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in dump))
    assert [(row.get("acc"), row.get("length")) for row in read_records(path)] == [(1.0, 10.0), (1.0, 20.0)]


@pytest.mark.parametrize("token", [0, 1])
def test_the_token_that_ended_a_response_may_have_the_number_of_a_flag(token: int) -> None:
    """Gemma's end token is number 1, which vLLM gives as stop_reason."""
    assert truncated_of(records({"stop_reason": token}), Fields())[0] == [False]


def test_the_problem_is_what_the_last_user_says() -> None:
    said = [("user", "Hello"), ("assistant", "Hello!"), ("user", "Write $0.75$ as a fraction.")]
    messages = [{"role": role, "content": text} for role, text in said]
    assert problem_of(records({"prompt": messages})[0]) == "Write $0.75$ as a fraction."
    assert problem_of(records({"prompt": messages[1:2]})[0]) is None
