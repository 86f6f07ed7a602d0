"""docs/howto/data.md: what its tables say of each shape is what happens to it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from leanthink import cli
from leanthink.data.fields import CUT, USUAL
from leanthink.data.prepare import prepare
from leanthink.data.questions import ANSWERS, QUESTIONS, Settings
from leanthink.data.records import Record, read_records
from leanthink.data.rollouts import read_rollouts

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "data.md").read_text(encoding="utf-8")
OPTION = {"--question-field": "question_field", "--answer-field": "answer_field"}


def table(heading: str) -> list[list[str]]:
    """The cells of the table whose first line begins so."""
    block = PAGE.split(f"\n| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in block]


DATA_SETS, TOOLS = table("data set"), table("written by")


def record(code: str) -> Record:
    return Record(fields=json.loads(code.strip("`")), file=Path("r.jsonl"), line=1)


@pytest.mark.parametrize("row", DATA_SETS, ids=lambda row: row[0])
def test_data_sets(row: list[str]) -> None:
    _, code, options, answer = row
    words = shlex.split(options.strip("`-") and options.strip("`"))
    settings: dict[str, Any] = {OPTION[name]: value for name, value in zip(words[::2], words[1::2], strict=True)}
    made = Settings(data_source="d", test_share=0, template="raw", **settings)
    if answer.startswith("refused: "):
        with pytest.raises(ValueError, match=answer.removeprefix("refused: ")):
            prepare([record(code)], made)
        return
    (found,) = prepare([record(code)], made).rows["train"]
    assert found["reward_model"]["ground_truth"] == answer.strip("`")
    assert found["prompt"][-1]["content"] in ("2+2?", "Half of 1?") and found["prompt"][-1]["role"] == "user"


@pytest.mark.parametrize("row", TOOLS, ids=lambda row: row[0])
def test_tools(row: list[str]) -> None:
    one = read_rollouts([record(row[1])], workers=1)
    told = [
        f"group {str(group).strip()}, {length:g} tokens, {judgement.verdict}{', cut' * cut}"
        for group, length, judgement, cut in zip(one.group, one.length, one.judgements, one.truncated, strict=True)
    ]
    assert "; ".join(told) == row[2]


def test_the_names_are_those_that_are_read() -> None:
    named = [re.findall(r"`([^`]+)`", line) for line in PAGE.splitlines() if line.startswith(("| ", "The question"))]
    for role, names in USUAL.items():
        assert any(set(names) <= set(line) and f"--{role}-field" in line for line in named), role
    text = " ".join(PAGE.split())
    for names in (QUESTIONS, ANSWERS):
        assert ", ".join(f"`{name}`" for name in names) in text
    assert "length" in CUT


def test_every_shape_goes_through_a_file_and_the_command_line(tmp_path: Path, capsys: Any) -> None:
    for number, row in enumerate(TOOLS):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps(json.loads(row[1].strip("`"))) + "\n", encoding="utf-8")
        assert cli.main(["score", str(path), "--recipe", "grpo", "--json"]) == 0
        lines = capsys.readouterr().out.splitlines()
        for line, told in zip(lines, row[2].split("; "), strict=True):
            assert json.loads(line)["verdict"] in told


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text('group,gold,response,length\na,4,"So, \\boxed{4}",5\na,4,5,\n', encoding="utf-8")
    first, second = read_records(path)
    assert first.fields["response"] == "So, \\boxed{4}" and first.place.endswith("row 1")
    assert not second.has("length")
    path.write_text("a,b\n1,2,3\n")
    with pytest.raises(ValueError, match="row 1: more or fewer cells"):
        read_records(path)
