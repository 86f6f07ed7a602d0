from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from leanthink.commands import jobs
from leanthink.core.errors import ConfigError
from leanthink.testbed import policy_path


def job(tmp_path: Path, *arguments: str) -> tuple[argparse.Namespace, object]:
    parser = argparse.ArgumentParser()
    jobs.add_arguments(parser)
    args = parser.parse_args(["grpo", "--profile", "cpu", *arguments])
    return args, jobs.job_of(args, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "policy", "question"),
    [((), "chains", " = "), (("--testbed", "chains"), "chains", " = "), (("--testbed", "search"), "search", " times ")],
)
def test_a_testbed_brings_its_policy_and_its_questions(
    tmp_path: Path, arguments: tuple[str, ...], policy: str, question: str
) -> None:
    args, made = job(tmp_path, *arguments)
    assert isinstance(made, jobs.Job)
    assert made.model == str(policy_path(policy))
    jobs.write_testbed(made, tmp_path / "data", args.testbed)
    first = pq.read_table(tmp_path / "data" / "train.parquet").to_pylist()[0]
    assert question in first["prompt"][0]["content"] + " "


def test_a_testbed_is_of_the_cpu_and_not_beside_data_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--testbed search is of the CPU profile"):
        job(tmp_path, "--testbed", "search", "--profile", "gpu")
    file = tmp_path / "mine.parquet"
    file.touch()
    own = ("--train-file", str(file), "--val-file", str(file), "--model", "x")
    with pytest.raises(ConfigError, match="brings its own questions"):
        job(tmp_path, "--testbed", "search", *own)
