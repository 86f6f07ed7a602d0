from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from leanthink.cli import main
from leanthink.commands import jobs
from leanthink.core.errors import ConfigError
from leanthink.rewards import SoftOverlong
from leanthink.testbed import policy_path, rows


def job(tmp_path: Path, *arguments: str, recipe: str = "grpo") -> tuple[argparse.Namespace, Any]:
    parser = argparse.ArgumentParser()
    jobs.add_arguments(parser)
    args = parser.parse_intermixed_args([recipe, "--profile", "cpu", *arguments])
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


@pytest.mark.parametrize(
    ("recipe", "arguments", "tools"),
    [
        ("tool_cost", (), True),
        ("tool_cost", ("--testbed", "tools"), True),
        ("grpo", ("--testbed", "tools"), True),
        ("tool_cost", ("--model", "mine/tools"), True),
        ("grpo", ("agent=tools",), True),
        ("grpo", (), False),
        ("effort", ("--testbed", "effort"), False),
    ],
)
def test_tools_come_with_their_testbed_and_the_other_way_round(
    recipe: str, arguments: tuple[str, ...], tools: bool, tmp_path: Path
) -> None:
    _, made = job(tmp_path, *arguments, recipe=recipe)
    keys = made.keys()
    assert (made.recipe.agent == "tools") == tools == made.model.endswith("tools")
    assert keys["data.max_response_length"] == (144 if tools else 96)
    if tools:
        assert Path(keys["actor_rollout_ref.rollout.multi_turn.function_tool_path"]).is_file()
        assert keys["actor_rollout_ref.rollout.multi_turn.max_assistant_turns"] == 12
    jobs.check(made)


@pytest.mark.parametrize(("recipe", "named"), [("tool_cost", "tools"), ("grpo", "chains")])
def test_the_questions_that_a_pasted_command_needs_are_those_it_is_for(tmp_path: Path, recipe: str, named: str) -> None:
    _, made = job(tmp_path, recipe=recipe)
    assert f"rows --testbed {named} " in jobs.testbed_notice(made, tmp_path / "data", None)


def test_what_the_caller_says_wins_over_the_testbed_with_tools(tmp_path: Path) -> None:
    turns = "actor_rollout_ref.rollout.multi_turn.max_assistant_turns"
    given = (
        "reward={sum: {right: correct, length: {soft_overlong: {limit: max_response_length, buffer: 5}}}}",
        f"{turns}=4",
    )
    _, made = job(tmp_path, "--testbed", "tools", *given, "data.max_response_length=60")
    assert made.keys()[turns] == 4 and made.keys()["data.max_response_length"] == 60
    assert [part.limit for part in made.recipe.reward.walk() if isinstance(part, SoftOverlong)] == [60]


def test_a_testbed_without_tools_is_refused_where_a_recipe_wants_some(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--testbed search has no tools, and recipe tool_cost wants some"):
        job(tmp_path, "--testbed", "search", recipe="tool_cost")
    with pytest.raises(ConfigError, match="EarlyExit samples a response of one turn"):
        job(tmp_path, "--testbed", "tools", recipe="s_grpo")[1].keys()


def test_a_pasted_command_of_the_cpu_profile_finds_its_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["show", "grpo", "--profile", "cpu", "--verl", "--out", str(tmp_path / "a run")]
    assert main(words) == 0
    shown = capsys.readouterr()
    (word,) = (word for word in shlex.split(shown.out.replace("\\\n", "")) if word.startswith("data.train_files="))
    train = word.partition("=")[2].strip("[']")
    command = re.search("`(python -m leanthink.testbed.rows [^`]*)`", shown.err)
    assert command is not None and not Path(train).exists()
    rows.main(shlex.split(command[1])[3:])
    assert Path(train).exists() and train in capsys.readouterr().out
    assert main(words) == 0
    assert capsys.readouterr().err == ""  # nothing is missing any more
    assert main(["show", "grpo", "--profile", "gpu", "--verl"]) == 0
    assert capsys.readouterr().err == ""


def test_a_seed_is_every_seed_but_those_that_are_set_by_themselves(tmp_path: Path) -> None:
    _, made = job(tmp_path, "--seed", "5", "actor_rollout_ref.rollout.seed=7")
    assert [made.keys()[key] for key in jobs.SEED_KEYS] == [5, 5, 5, 7]
