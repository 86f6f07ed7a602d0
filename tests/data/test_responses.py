"""Rows of several responses, and thinking that stands beside its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leanthink import cli
from leanthink.core.errors import DataError
from leanthink.data.fields import Fields
from leanthink.data.records import Record
from leanthink.data.reference import read_reference
from leanthink.data.responses import one_by_one
from leanthink.data.rollouts import read_rollouts

END = "</think>"
OUTPUTS = [{"text": "So \\boxed{4}", "finish_reason": "stop"}, {"text": "So 5 is it", "finish_reason": "length"}]


def records(*rows: dict[str, Any]) -> list[Record]:
    return [Record(fields=row, file=Path("r.jsonl"), line=line) for line, row in enumerate(rows, 1)]


def server(*messages: dict[str, Any], **row: Any) -> dict[str, Any]:
    return {
        "prompt_id": 1,
        "gold": "4",
        "choices": [{"message": one, "finish_reason": "stop"} for one in messages],
    } | row


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "4", "reasoning_content": "So 4."}, "<think>So 4.</think>\n4"),
        ({"content": "4", "reasoning": "So 4."}, "<think>So 4.</think>\n4"),
        ({"content": "4", "reasoning": "4"}, "<think>4</think>\n4"),
        ({"content": "4", "reasoning_content": None, "reasoning": "So 4."}, "<think>So 4.</think>\n4"),
        ({"content": None, "reasoning": "So \\boxed{4}"}, "<think>So \\boxed{4}"),
        ({"content": "", "reasoning": "So \\boxed{4}"}, "<think>So \\boxed{4}"),
        ({"reasoning": "So \\boxed{4}"}, "<think>So \\boxed{4}"),
        ({"content": "", "reasoning": "So</think> \\boxed{4}"}, "<think>So \\boxed{4}"),
        ({"content": "<think>So 4.</think>4", "reasoning": "So 4."}, "<think>So 4.</think>4"),
        ({"content": "4", "reasoning": " "}, "4"),
        ({"content": "4", "reasoning": {"effort": "low"}}, "4"),
        ({"content": "4"}, "4"),
    ],
)
def test_thinking_is_read_before_its_answer(message: dict[str, Any], text: str) -> None:
    read, told = one_by_one(records(server(message)), Fields(), END)
    assert read[0].get("choices[0].message.content") == text
    assert bool(told) == (text != message.get("content"))
    assert one_by_one(read, Fields(), END)[0] == read


@pytest.mark.parametrize(
    ("row", "name", "text"),
    [
        ({"response": "4", "reasoning_content": "So"}, "response", "<think>So</think>\n4"),
        ({"output": "4", "reasoning_content": "So"}, "output", "<think>So</think>\n4"),
        ({"response": None, "reasoning_content": "So"}, "response", "<think>So"),
        ({"response": "4", "reasoning": "how the data's author solved it"}, "response", "4"),
        (
            {"completion": [{"role": "assistant", "content": "4", "reasoning_content": "So"}]},
            "completion[-1].content",
            "<think>So</think>\n4",
        ),
    ],
)
def test_thinking_beside_other_names(row: dict[str, Any], name: str, text: str) -> None:
    (read,), _ = one_by_one(records(row), Fields(), END)
    assert read.get(name) == text and row.get("reasoning_content") != text


def test_thinking_stands_between_the_tags_that_are_looked_for() -> None:
    rows = records(server({"content": "\\boxed{4}", "reasoning": "\\boxed{5}"}))
    one = read_rollouts(rows, workers=1, thinking_end="[/THINK]")
    assert one.texts == ["[THINK]\\boxed{5}[/THINK]\n\\boxed{4}"] and one.judgements[0].correct
    assert not any("--thinking-end" in notice for notice in one.notices)


def test_thinking_counts_in_the_length() -> None:
    def lengths(**row: Any) -> list[float]:
        thinking = ("Let me think. " * count for count in (50, 100))
        rows = (server({"content": "\\boxed{4}", "reasoning_content": text}, **row) for text in thinking)
        return list(read_rollouts(records(*rows), workers=1).length)

    assert lengths() == [200 + 12, 400 + 12]  # the tags and the box are 12 words and signs
    assert lengths(usage={"completion_tokens": 321}) == [321, 321]


@pytest.mark.parametrize(
    ("row", "lengths", "verdicts", "cut"),
    [
        ({"outputs": OUTPUTS}, [6, 4], ["correct", "wrong"], [False, True]),
        ({"outputs": OUTPUTS[::-1]}, [4, 6], ["wrong", "correct"], [True, False]),
        ({"choices": OUTPUTS, "usage": {"completion_tokens": 99}}, [6, 4], ["correct", "wrong"], [False, True]),
        ({"outputs": OUTPUTS, "length": [7, 8]}, [7, 8], ["correct", "wrong"], [False, True]),
        ({"outputs": OUTPUTS, "acc": [0, 1], "truncated": [1, 0]}, [6, 4], ["wrong", "correct"], [True, False]),
        ({"outputs": OUTPUTS, "response_ids": [[1], [1, 2]]}, [1, 2], ["correct", "wrong"], [False, True]),
        ({"resps": [["\\boxed{4}", "5", "so 6"]]}, [5, 1, 2], ["correct", "wrong", "wrong"], [False] * 3),
        ({"resps": [["\\boxed{4}"], ["5"]]}, [5, 1], ["correct", "wrong"], [False] * 2),
        ({"output": "\\boxed{4}", "outputs": OUTPUTS}, [5], ["correct"], [False]),
    ],
)
def test_the_responses_of_a_row_are_a_group(
    row: dict[str, Any], lengths: list[float], verdicts: list[str], cut: list[bool]
) -> None:
    rows = records({"gold": "4", "prompt_id": 1, **row}, {"gold": "4", "prompt_id": 2, **row})
    if "output" in row:
        rows = [one.having("outputs[1].finish_reason", "stop").having("truncated", 0) for one in rows]
    one = read_rollouts(rows, workers=1)
    count = len(lengths)
    assert list(one.group) == [1] * count + [2] * count and list(one.length) == lengths * 2
    assert [str(each.verdict) for each in one.judgements] == verdicts * 2 and list(one.truncated) == cut * 2
    several = f"{2 * count} responses in 2 rows: those of a row are read one by one"
    assert (several in one.notices) == (count > 1)
    assert any("every prompt has one response only" in notice for notice in one.notices) == (count == 1)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"acc": 1}, r"line 1: 2 responses in 'outputs', and 'acc' is 1 for all of them; give a list of 2, or a row"),
        ({"length": [1, 2, 3]}, r"'length' is \[1, 2, 3\] for all of them; .* or leave 'length' out"),
        ({"finish_reason": "stop"}, r"'finish_reason' is 'stop' for all of them"),
        ({"token_ids": [1, 2, 3]}, r"'token_ids' is \[1, 2, 3\] for all of them"),
        (
            {"outputs": [OUTPUTS[0], {"text": None}]},
            r"line 1: response 2 of 2 in 'outputs' has no text \('outputs\[0\]",
        ),
        (
            {"outputs": [OUTPUTS[0], OUTPUTS[1] | {"text": 5}]},
            r"line 1, response 2: 'outputs\[0\].text' is 5; give text",
        ),
        ({"outputs": [OUTPUTS[0], OUTPUTS[1] | {"finish_reason": "odd"}]}, r"line 1, response 2: .* is 'odd', which"),
    ],
)
def test_what_is_said_of_several_responses_at_once_is_refused(row: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_rollouts(records({"prompt_id": 1, "gold": "4", "outputs": OUTPUTS, **row}), workers=1)


def test_a_response_that_is_named_is_read_alone() -> None:
    rows = records({"prompt_id": 1, "gold": "4", "outputs": OUTPUTS})
    assert read_rollouts(rows, fields=Fields(response="outputs[1].text"), workers=1).texts == ["So 5 is it"]


def test_lengths_of_a_reference_are_tokens_though_a_server_counted_several_responses_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    rows = [server(*[{"content": "\\boxed{4}"}] * count, usage={"completion_tokens": 9}) for count in (1, 2)]
    path.write_text(json.dumps(rows[0]) + "\n")
    assert read_reference(path).length == [9]
    path.write_text(json.dumps(rows[1]) + "\n")
    with pytest.raises(ValueError, match="--tokenizer"):
        read_reference(path)


def evaluated(**filters: list[str]) -> list[Record]:
    """lm-eval's rows: for each filter, the documents with what was answered."""
    return records(
        *(
            {"doc_id": place, "target": "4", "resps": [[text]], "filter": name}
            for name, texts in filters.items()
            for place, text in enumerate(texts)
        )
    )


def test_a_response_counts_once_though_each_filter_has_a_row_with_it() -> None:
    one = read_rollouts(evaluated(strict=["4", "so 5"], loose=["4", "so 5"]), workers=1)
    assert list(one.group) == [0, 1] and list(one.length) == [1, 2]
    assert any("for each of 2 filters (strict, loose): the 2 rows of 'strict' are read" in told for told in one.notices)
    some = read_rollouts(evaluated(strict=["4", "so 5"], loose=["4"]), workers=1)
    assert len(some) == 3 and any("have some responses in common, which count once" in told for told in some.notices)
    for rows in (evaluated(strict=["4", "so 5"]), evaluated(strict=["4"], loose=["so 5"])):
        apart = read_rollouts(rows, workers=1)
        assert len(apart) == 2 and not any("filter" in told for told in apart.notices)


def test_verdicts_that_go_by_the_filter_are_both_kept() -> None:
    graded = [
        record.having("acc", int(record.get("filter") == "strict")) for record in evaluated(strict=["4"], loose=["4"])
    ]
    assert [str(one.verdict) for one in read_rollouts(graded).judgements] == ["correct", "wrong"]


@pytest.mark.parametrize("options", [[], ["--stream"]])
def test_every_command_reads_them_alike(tmp_path: Path, capsys: Any, options: list[str]) -> None:
    path = tmp_path / "r.jsonl"
    rows = [{"prompt_id": place, "gold": "4", "outputs": OUTPUTS} for place in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli.main(["score", str(path), "--recipe", "grpo", *options]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "6 responses" in out and "every prompt has one response only" not in out
    assert cli.main(["verify", str(path), "--json"]) == 0
    assert [json.loads(line)["verdict"] for line in capsys.readouterr().out.splitlines()] == ["correct", "wrong"] * 3
