from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from leanthink.testbed import Task, policy_path, verify_policy
from leanthink.testbed.rows import measured, rows, write_parquet


def test_rows_are_what_verl_reads() -> None:
    first = next(rows("test", 1, 0))
    assert set(first) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    assert first["prompt"][0]["role"] == "user"
    info = first["extra_info"]
    reference = {"reference_length": 17.8574, "reference_accuracy": 0.9805}
    budget = {name: info[name] for name in ("budget", "at_most", "length_level", "effort")}
    assert info == {"index": 0, "split": "test", "difficulty": 2, **budget, **reference}
    question = first["prompt"][0]["content"]
    assert first["reward_model"] == {"style": "rule", "ground_truth": str(eval(question.removesuffix("=")))}


def test_rows_have_budgets_that_no_prompt_says() -> None:
    columns = [row["extra_info"] for row in rows("train", 2000, 0)]
    budgets, kinds = [info["budget"] for info in columns], [info["at_most"] for info in columns]
    assert 12 <= min(budgets) < 16 and 80 < max(budgets) <= 84 and 44 < sum(budgets) / 2000 < 52
    assert set(kinds) == {0, 1} and 0.45 < sum(kinds) / 2000 < 0.55
    levels = [info["length_level"] for info in columns]
    assert all(600 < levels.count(level) < 730 for level in (0, 1, 2))
    pairs = Counter((info["length_level"], info["effort"]) for info in columns)
    assert len(pairs) == 9 and all(160 < count < 285 for count in pairs.values()), "two columns, each by itself"
    assert not any("Think" in row["prompt"][0]["content"] for row in rows("train", 20, 0))
    by_question: dict[str, set[int]] = {}
    for row in rows("train", 2000, 1):
        by_question.setdefault(row["prompt"][0]["content"], set()).add(row["extra_info"]["budget"])
    assert len(by_question) < 2000 and all(len(budgets) == 1 for budgets in by_question.values())


def test_parquet_round_trip_and_disjoint_files(tmp_path: Path) -> None:
    write_parquet(tmp_path / "new", train=300, test=50)
    train, test = (pq.read_table(tmp_path / "new" / f"{split}.parquet").to_pylist() for split in ("train", "test"))
    assert train == list(rows("train", 300, 0))
    assert test == list(rows("test", 50, 0))
    contents = [{row["prompt"][0]["content"] for row in part} for part in (train, test)]
    assert not contents[0] & contents[1]
    assert len(contents[1]) == 50


def test_reference_values_are_the_policys_own_and_there_for_every_difficulty() -> None:
    manifest = verify_policy(policy_path())
    assert measured().keys() == set(Task().difficulties)
    for row in rows("train", 50, 0):
        info = row["extra_info"]
        figures = manifest["free"]["by_difficulty"][str(info["difficulty"])]
        assert (info["reference_length"], info["reference_accuracy"]) == (figures["mean_tokens"], figures["accuracy"])
