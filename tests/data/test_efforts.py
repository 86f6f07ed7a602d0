"""Levels of effort in the prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from leanthink.cli import main
from leanthink.core.errors import ConfigError
from leanthink.data.efforts import Efforts, with_efforts
from leanthink.data.prepare import Prepared


def prepared(**extra: Any) -> Prepared:
    plain = {"prompt": [{"role": "user", "content": "1 + 1 ="}], "extra_info": {"index": 0, **extra}}
    system = {"prompt": [{"role": "system", "content": "Add."}, *plain["prompt"]], "extra_info": {"index": 1}}
    return Prepared(rows={"train": [plain, system]}, read=2, duplicates=0)


def test_each_prompt_is_there_once_at_every_level() -> None:
    rows = with_efforts(prepared(), Efforts(levels=("low", "high"))).rows["train"]
    assert [(row["extra_info"]["effort"], row["extra_info"]["effort_name"]) for row in rows] == [
        (0, "low"),
        (1, "high"),
    ] * 2
    assert rows[0]["prompt"][0] == {"role": "system", "content": "Reasoning effort: low"}
    assert rows[3]["prompt"][0] == {"role": "system", "content": "Add.\nReasoning effort: high"}
    assert all(row["prompt"][-1]["content"] == "1 + 1 =" for row in rows)


def test_the_command_writes_them(tmp_path: Path) -> None:
    source = tmp_path / "sums.jsonl"
    source.write_text("".join(json.dumps({"question": f"{n} + 1 =", "answer": n + 1}) + "\n" for n in range(40)))
    arguments = ["prepare", str(source), "--out", str(tmp_path / "out"), "--efforts", "low, medium,high"]
    assert main([*arguments, "--effort-text", "{effort} effort"]) == 0
    rows = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert len(rows) % 3 == 0 and {row["extra_info"]["effort"] for row in rows} == {0, 1, 2}
    assert [row["prompt"][0]["content"] for row in rows[:3]] == ["low effort", "medium effort", "high effort"]


@pytest.mark.parametrize(
    ("levels", "sentence", "told"),
    [
        (("low",), "{effort}", "give two names or more"),
        (("low", "low"), "{effort}", "each another"),
        (("low", "high"), "try hard", r"give a text with \{effort\} in it"),
    ],
)
def test_levels_that_are_none_are_refused(levels: tuple[str, ...], sentence: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Efforts(levels=levels, sentence=sentence)


def test_data_with_levels_of_their_own_are_refused() -> None:
    with pytest.raises(ConfigError, match="the data bring 'effort' of their own"):
        with_efforts(prepared(effort=1), Efforts(levels=("low", "high")))


def test_a_text_without_levels_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "sums.jsonl"
    source.write_text(json.dumps({"question": "1 + 1 =", "answer": 2}) + "\n")
    assert main(["prepare", str(source), "--out", str(tmp_path / "o"), "--effort-text", "x"]) != 0
    assert "name the levels: --efforts low,medium,high" in capsys.readouterr().err


def test_a_level_may_be_an_argument_of_the_chat_template(tmp_path: Path) -> None:
    source = tmp_path / "sums.jsonl"
    source.write_text("".join(json.dumps({"question": f"{n} + 1 =", "answer": n + 1}) + "\n" for n in range(40)))
    arguments = ["prepare", str(source), "--out", str(tmp_path / "out"), "--efforts", "low,high"]
    assert main([*arguments, "--effort-argument", "reasoning_effort"]) == 0
    rows = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert rows[0]["prompt"] == rows[1]["prompt"] and rows[0]["prompt"][0]["role"] == "user"
    told = [row["extra_info"]["chat_template_kwargs"] for row in rows[:2]]
    assert told == [{"reasoning_effort": "low"}, {"reasoning_effort": "high"}]


def test_a_rows_own_key_names_its_level() -> None:
    for efforts in (Efforts(levels=("low", "high")), Efforts(levels=("low", "high"), argument="reasoning_effort")):
        rows = with_efforts(prepared(prompt_key="sum"), efforts).rows["train"]
        assert [row["extra_info"].get("prompt_key") for row in rows] == ["sum-low", "sum-high", None, None]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--effort-argument", "x"], "--effort-argument without --efforts"),
        (["--effort-text", "{effort}"], "--effort-text without --efforts"),
        (["--efforts", "a,b", "--effort-argument", "x", "--effort-text", "{effort}"], "each state the level"),
        (["--efforts", "a,b", "--effort-argument", "no name"], "effort argument is 'no name'"),
    ],
)
def test_arguments_that_do_not_go_together_are_told(
    given: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "sums.jsonl"
    source.write_text(json.dumps({"question": "1 + 1 =", "answer": 2}) + "\n")
    assert main(["prepare", str(source), "--out", str(tmp_path / "out"), *given]) != 0
    assert told in " ".join(capsys.readouterr().err.split())


def test_data_with_arguments_of_their_own_are_refused() -> None:
    with pytest.raises(ConfigError, match="the data bring 'chat_template_kwargs' of their own"):
        with_efforts(prepared(chat_template_kwargs={}), Efforts(levels=("low", "high"), argument="reasoning_effort"))
