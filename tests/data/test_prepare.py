from __future__ import annotations

import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leanthink.cli import main
from leanthink.core.errors import ConfigError, DataError, DependencyError, WriteError
from leanthink.data.prepare import Prepared, held_out, prepare, read_source, verl_row, write_rows
from leanthink.data.questions import Settings, audited
from leanthink.data.records import Record
from timing import is_within

Row = dict[str, Any]

SUMS: list[Row] = [{"question": f"What is {n} + {n}?", "answer": str(2 * n), "level": n % 5} for n in range(200)]


def records(rows: Sequence[Row]) -> list[Record]:
    return [Record(fields=row, file=Path("d.jsonl"), line=line) for line, row in enumerate(rows, 1)]


def prepared(rows: Sequence[Row], **settings: Any) -> Prepared:
    return prepare(records(rows), Settings(data_source="sums", **settings))


def sides(result: Prepared) -> dict[str, str]:
    """The split of each prompt."""
    return {row["prompt"][0]["content"]: split for split, rows in result.rows.items() for row in rows}


def write(path: Path, rows: Sequence[Row]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rows_are_what_verl_reads() -> None:
    result = prepared(SUMS, test_share=0.2)
    row = result.rows["train"][0]
    assert row == {
        "data_source": "sums",
        "prompt": [
            {
                "role": "user",
                "content": "What is 0 + 0?\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
            }
        ],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "0"},
        "extra_info": {"index": 0, "split": "train", "difficulty": 0},
    }
    assert {row["extra_info"]["split"] for row in result.rows["test"]} == {"test"}
    assert result.read == 200 == sum(map(len, result.rows.values()))
    assert 20 <= len(result.rows["test"]) <= 60


def test_the_index_is_the_row_in_the_file() -> None:
    """Not in its split, nor among the questions that are kept: every question says its own row."""
    rows = [{"question": f"row {n}", "answer": "1"} for n in range(40)]
    rows[7] = dict(rows[3])
    for settings in ({"test_share": 0.4}, {"test_size": 5}, {"test_share": 1}):
        result = prepared(rows, template="raw", **settings)
        for split, of_split in result.rows.items():
            for row in of_split:
                assert row["prompt"][0]["content"] == f"row {row['extra_info']['index']}"
                assert row["extra_info"]["split"] == split
        assert sum(map(len, result.rows.values())) == 39


@pytest.mark.parametrize("settings", [{}, {"test_share": 0.3}, {"seed_text": "other", "test_share": 0.3}])
def test_added_rows_move_no_other(settings: Row) -> None:
    before, after = sides(prepared(SUMS[60:], **settings)), sides(prepared(SUMS, **settings))
    assert {question: after[question] for question in before} == before


def test_the_split_is_the_same_for_all_time() -> None:
    """Written down once: another value would move the questions of data that are already split."""
    assert [n for n in range(20) if held_out(f"What is {n} + {n}?", 0.3)] == [9, 15]
    assert sides(prepared(SUMS, test_share=0.3)) != sides(prepared(SUMS, test_share=0.3, seed_text="other"))


def test_a_fixed_number_is_held_out() -> None:
    small, large = prepared(SUMS, test_size=10), prepared(SUMS, test_size=30)
    assert [len(result.rows["test"]) for result in (small, large)] == [10, 30]
    held = {question for question, split in sides(small).items() if split == "test"}
    assert all(sides(large)[question] == "test" for question in held)


def test_one_file_only() -> None:
    assert list(prepared(SUMS, test_share=0).rows) == ["train"]
    assert list(prepared(SUMS, test_share=1).rows) == ["test"]


def test_duplicates_are_dropped_and_disagreement_is_told() -> None:
    rows = [*SUMS, {"question": "What is  3 + 3? ", "answer": "6", "level": 1}, {**SUMS[4], "answer": "9"}]
    result = prepared(rows, template="raw")
    assert (result.read, result.duplicates) == (202, 2)
    assert sides(result) == sides(prepared(SUMS, template="raw"))
    assert result.notices == [
        "1 duplicates answer differently from the row that was kept, as d.jsonl, line 202 ('9') from line 5 ('8'): "
        "check which is right"
    ]


def test_templates() -> None:
    assert Settings(data_source="d", template="raw").prompt("1 {x}?") == "1 {x}?"
    assert Settings(data_source="d", template="Q: {question} {A}").prompt("1?") == "Q: 1? {A}"
    with pytest.raises(ConfigError, match=r"template 'boxd': no such name, .*did you mean 'boxed'.*\{question\}"):
        Settings(data_source="d", template="boxd")


def gold(answers: Sequence[Any], **settings: Any) -> list[str]:
    rows = [{"question": f"q{place}", "answer": answer} for place, answer in enumerate(answers)]
    return [row["reward_model"]["ground_truth"] for row in prepared(rows, test_share=0, **settings).rows["train"]]


def test_answers() -> None:
    assert gold(["18", 7, 0.5, " x = 2 "]) == ["18", "7", "0.5", "x = 2"]
    assert gold(["so <<1+2=3>>3\n#### 18", "a\n#### 1,234,567 "]) == ["18", "1234567"]
    assert gold(["It is 3. It is (1,2)."], answer_pattern=r"It is (.+?)\.") == ["(1,2)"]
    assert gold(["a 3 b 42"], answer_pattern=r"\d+") == ["42"]
    with pytest.raises(DataError, match=r"d.jsonl, line 2: no #### in the answer, which d.jsonl, line 1 has"):
        gold(["#### 3", "4"])
    with pytest.raises(DataError, match=r"line 2: no answer found by '=\(\.\+\)' in 'four'"):
        gold(["x=3", "four"], answer_pattern="=(.+)")
    with pytest.raises(DataError, match="line 1: no answer found"):
        gold(["#### \n"])
    for bad in (None, "", "  ", True, {"a": 4}):
        with pytest.raises(DataError, match=r"line 2: 'answer' is .*name another field with --answer-field"):
            gold(["3", bad])


def test_fields_are_named() -> None:
    rows = [{"problem": "1 + 1?", "gold": 2}]
    assert sides(prepared(rows, question_field="problem", answer_field="gold", test_share=0, template="raw")) == {
        "1 + 1?": "train"
    }
    assert sides(prepared(rows, test_share=0, template="raw")) == {"1 + 1?": "train"}  # usual names
    with pytest.raises(
        DataError, match=r"no question \(question, problem, .*--question-field.*\(the row has: q, gold\)"
    ):
        prepared([{"q": "1 + 1?", "gold": 2}])
    with pytest.raises(DataError, match=r"no 'quest'.*--question-field \(the row has: problem, gold\)"):
        prepared(rows, question_field="quest")
    nested = [{"talk": [{"role": "user", "content": "1 + 1?"}], "a": {"b": "2"}}]
    found = prepared(nested, question_field="talk[-1].content", answer_field="a.b", test_share=0).rows["train"][0]
    assert "1 + 1?" in found["prompt"][0]["content"] and found["reward_model"]["ground_truth"] == "2"


VERL = {
    "data_source": "some_math",
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}],
    "ability": "MATH",
    "reward_model": {"ground_truth": "2", "style": "rule"},
    "extra_info": {"index": "a-1", "subject": "sums"},
}


def test_rows_in_verls_schema_keep_what_they_have() -> None:
    row = prepared([VERL], test_share=0).rows["train"][0]
    assert row["prompt"] == VERL["prompt"] and row["data_source"] == "some_math" and row["ability"] == "MATH"
    assert row["reward_model"]["ground_truth"] == "2"
    assert row["extra_info"] == {"index": 0, "split": "train", "subject": "sums"}
    with pytest.raises(DataError, match="a conversation that does not end in a user's text"):
        prepared([{**VERL, "prompt": [{"role": "assistant", "content": "2"}]}])


def test_answers_that_no_response_can_match() -> None:
    rows = [{"question": f"q{n}", "answer": answer} for n, answer in enumerate(["3", "proof", "4", "notfound", None])]
    with pytest.raises(DataError, match=r"2 of 4 answers can be matched by no response .*'proof'.*--bad-golds drop"):
        prepared(rows[:4])
    dropped = prepared(rows, bad_golds="drop", test_share=0)
    assert [row["extra_info"]["index"] for row in dropped.rows["train"]] == [0, 2]  # as counted in the file
    assert dropped.read == 5 and "3 answers that no response can match were dropped" in dropped.notices[-1]
    kept = prepared(rows[:4], bad_golds="keep", test_share=0)
    assert len(kept.rows["train"]) == 4 and "2 answers that no response can match were kept" in kept.notices[-1]
    with pytest.raises(DataError, match="no row is left"):
        prepared(rows[1:2], bad_golds="drop")


def test_lists_of_answers_are_alternatives_or_all_asked_for() -> None:
    rows = [{"question": "q", "answer": ["1/2", "0.5"]}]
    assert prepared(rows, test_share=0).rows["train"][0]["reward_model"]["ground_truth"] == '["1/2", "0.5"]'
    both = prepared(rows, test_share=0, gold_lists="all").rows["train"][0]
    assert both["reward_model"]["ground_truth"] == "1/2, 0.5"


def test_difficulty_and_kept_fields() -> None:
    def extra(rows: Sequence[Row], **settings: Any) -> list[Row]:
        filled = [{"question": f"q{place}", "answer": 1, **row} for place, row in enumerate(rows)]
        return [row["extra_info"] for row in prepared(filled, test_share=0, **settings).rows["train"]]

    assert [info["difficulty"] for info in extra([{"level": 1}, {"level": 5}])] == [1, 5]
    assert [info["difficulty"] for info in extra([{"level": "Level 5"}, {"level": 3}, {}])] == ["Level 5", "3", ""]
    assert [info["difficulty"] for info in extra([{"level": 1, "difficulty": 9}])] == [9]
    assert "difficulty" not in extra([{}])[0]
    assert [info["budget"] for info in extra([{"budget": 512}, {"budget": 64}], keep=("budget",))] == [512, 64]
    assert [info["budget"] for info in extra([{"budget": 512}, {}], keep=("budget",))] == [512, None]
    with pytest.raises(DataError, match="line 1: no 'budget', which --keep asks for"):
        extra([{}, {}], keep=("budget",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_share": 1.5}, "test share is 1.5; give a share between 0 and 1"),
        ({"test_size": 0}, "test size is 0; give 1 or more"),
        ({"answer_pattern": "("}, "answer pattern '\\('.*give a regular expression"),
    ],
)
def test_wrong_settings(settings: Row, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(data_source="d", **settings)


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match="no question of 1 falls into the"):
        prepared(SUMS[:1], test_share=0.5)
    with pytest.raises(DataError, match="test size 200 leaves nothing to train on: there are 200 questions"):
        prepared(SUMS, test_size=200)


def test_command_writes_and_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "data"
    source = write(tmp_path / "sums.jsonl", SUMS)
    command = ["prepare", str(source), "--out", str(out), "--template", "raw", "--test-size", "20", "--limit", "100"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "first prompt: 'What is 0 + 0?'" in shown and "80" in shown
    assert sorted(path.name for path in out.iterdir()) == ["test.parquet", "train.parquet"]
    tables = {name: pq.read_table(out / f"{name}.parquet").to_pylist() for name in ("train", "test")}
    assert [len(rows) for rows in tables.values()] == [80, 20]
    assert tables["train"][0]["data_source"] == "sums"
    before = (out / "train.parquet").read_bytes()
    assert main([*command, "--limit", "150"]) == 1
    assert "train.parquet is there already; give another folder, or --force" in capsys.readouterr().err
    assert (out / "train.parquet").read_bytes() == before
    assert main([*command, "--limit", "150", "--force"]) == 0
    assert len(pq.read_table(out / "train.parquet")) == 130


def test_parquet_and_jsonl_give_the_same(tmp_path: Path) -> None:
    results = [
        prepare(read_source(str(write(tmp_path / name, SUMS))), Settings(data_source="d")).rows
        for name in ("d.jsonl", "d.parquet")
    ]
    assert results[0] == results[1]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    good = verl_row(prompt="q", answer="a", split="train", index=0, data_source="d")
    write_rows(tmp_path, {"train": [good]})
    before = (tmp_path / "train.parquet").read_bytes()
    with pytest.raises(DataError, match="values of different types"):
        write_rows(tmp_path, {"train": [good], "test": [{**good, "ability": 1}, good]}, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["train.parquet"]
    assert (tmp_path / "train.parquet").read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot write .*file"):
        write_rows(tmp_path / "file", {"train": [good]})


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**250])
def test_numbers_that_no_column_holds_are_told_by_row_and_name(
    tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = [*SUMS[:3], {"question": "How many?", "answer": "3", "level": 1, "more": {"ids": [1, number]}}]
    source, out = write(tmp_path / "d.jsonl", wide), tmp_path / "out"
    command = ["prepare", str(source), "--out", str(out), "--test-share", "0"]
    assert main(command) == 0
    assert main([*command, "--keep", "more", "--force"]) == 1
    told = capsys.readouterr().err.replace("\n", " ")
    assert f"cannot write {out / 'train.parquet'}, row 4: 'extra_info.more.ids[1]' is {str(number)[:40]}" in told
    assert "more than the 64 bits of a column; write it as text, or leave it out" in told
    assert [path.name for path in out.iterdir()] == ["train.parquet"]


def test_a_wide_difficulty_is_text_as_others_that_are_no_numbers(tmp_path: Path) -> None:
    rows = [{**row, "level": level} for row, level in zip(SUMS, (1, 2**63 - 1, -(2**63), 2**63), strict=False)]
    paths = write_rows(tmp_path / "a", prepared(rows[:3], test_share=0).rows)
    assert [row["difficulty"] for row in pq.read_table(paths["train"])["extra_info"].to_pylist()] == [
        1,
        2**63 - 1,
        -(2**63),
    ]
    paths = write_rows(tmp_path / "b", prepared(rows, test_share=0).rows)
    levels = [row["difficulty"] for row in pq.read_table(paths["train"])["extra_info"].to_pylist()]
    assert levels == [str(row["level"]) for row in rows]


def test_data_sets_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def load_dataset(name: str, subset: str | None, *, split: str) -> list[Row]:
        calls.append((name, subset, split))
        if name == "nobody/none":
            raise ConnectionError("Couldn't reach\n the Hub")
        return SUMS[:3]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert (
        main(["prepare", "openai/gsm8k", "--out", "d", "--subset", "main", "--split", "test", "--test-share", "1"]) == 0
    )
    assert calls == [("openai/gsm8k", "main", "test")]
    assert [row["data_source"] for row in pq.read_table("d/test.parquet").to_pylist()] == ["openai/gsm8k"] * 3
    with pytest.raises(DataError, match=r"no file nobody/none, and no data set from the Hub.*Couldn't reach the Hub"):
        read_source("nobody/none")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DependencyError, match="run `pip install datasets`"):
        read_source("openai/gsm8k")


def test_bad_answers_are_dropped_in_time_linear_in_the_rows() -> None:
    """Not in its square, as where what is dropped is gathered anew for each row."""
    rows = records([{"question": f"{n}", "answer": "2" if n % 2 else "proof"} for n in range(40_000)])
    answers = [row.fields["answer"] for row in rows]
    settings = Settings(data_source="sums", question_field="question", answer_field="answer", bad_golds="drop")
    assert audited(rows[:4], answers[:4], settings)[0] == [1, 3]
    assert is_within(1.0, audited, rows, answers, settings)


def test_no_script_of_a_data_set_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions that know such scripts ask on the terminal where nobody says."""

    def load_dataset(name: str, subset: str | None, *, split: str, trust_remote_code: bool | None = None) -> list[Row]:
        assert trust_remote_code is False
        return SUMS[:3]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert len(read_source("openai/gsm8k")) == 3


def test_wrong_sources(tmp_path: Path) -> None:
    (tmp_path / "d.tsv").write_text("a\n")
    for source, message in (
        (str(tmp_path), "is a folder; give one file"),
        (str(tmp_path / "d.tsv"), "cannot read .tsv; allowed: .jsonl, .parquet, .csv"),
        ("missing.jsonl", "missing.jsonl does not exist"),
        ("./a/b/c", "cannot read a file without ending"),
    ):
        with pytest.raises(DataError, match=message):
            read_source(source)


def test_a_row_has_its_number_in_the_file_whatever_its_split() -> None:
    result = prepared([{"question": f"Question {'abc'[n % 3]}{n * 7}?", "answer": str(n)} for n in range(60)])
    rows = [row for split in ("train", "test") for row in result.rows[split]]
    assert len(result.rows["test"]) > 1 and sorted(row["extra_info"]["index"] for row in rows) == [*range(60)]
    for row in rows:  # the answer is the number, too
        assert int(row["reward_model"]["ground_truth"]) == row["extra_info"]["index"]


def test_dropped_rows_are_no_duplicates() -> None:
    rows = [{"question": f"{n}?", "answer": answer} for n, answer in enumerate(["1", "proof", "2", "2"])]
    result = prepared([*rows, rows[0]], bad_golds="drop", test_share=0)
    assert (result.read, result.duplicates, len(result.rows["train"])) == (5, 1, 3)
