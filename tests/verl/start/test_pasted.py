"""The command that `show` prints is the one that `train` runs, and its keys are right for whoever pastes it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from leanthink.cli import main
from leanthink.core import code
from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.runs import following
from leanthink.runs.folder import Run
from leanthink.testbed import policy_path
from leanthink.verl.start import train
from leanthink.verl.start.launch import DECIDED_BY_STEPS, MAINS, REFILLS, Job
from leanthink.verl.start.schema import check_keys

ROLLOUT = "actor_rollout_ref.rollout"
VALIDATION = f"{ROLLOUT}.val_kwargs"


def job(name: str = "trle", profile: Any = "gpu", **changes: Any) -> Job:
    return Job(
        recipe=load_recipe(name, profile=profile), profile=profile, model="M", train_files=("T",), val_files=("V",),
        folder="/runs/one", gpus=8 if profile == "gpu" else 1, **changes,
    )  # fmt: skip


def words_of(command: str) -> list[str]:
    return shlex.split(command.replace("\\\n", " "))


@pytest.mark.parametrize(
    "options",
    [
        ["trle", "--steps", "3", "--seed", "5", "--keep-rollouts"],
        ["dapo_overlong", "data.max_response_length=64", f"{VALIDATION}.n=4", "leanthink.poll_interval=0.2"],
    ],
)
def test_show_prints_what_train_runs(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []

    def popen(arguments: list[str], **_: Any) -> Any:
        started.append(arguments)
        return SimpleNamespace(poll=lambda: 1, returncode=1, pid=0)

    monkeypatch.setattr(following.subprocess, "Popen", popen)
    asked = [*options, "--profile", "cpu", "--out", str(tmp_path / "run")]
    assert main(["train", *asked]) != 0
    (arguments,) = started
    capsys.readouterr()
    assert main(["show", *asked, "--verl"]) == 0
    words = words_of(capsys.readouterr().out)
    start = words.index("python")
    assert words[start + 1 :] == arguments[2:]  # behind the interpreter and -P
    assert words[start + 2] == MAINS["cpu"]


def test_everything_a_run_leaves_lies_in_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--verl", "--profile", "gpu", "--keep-rollouts", "--out", str(tmp_path / "a run")]
    assert main(["show", "trle", *options]) == 0
    keys = dict(word.split("=", 1) for word in words_of(capsys.readouterr().out) if "=" in word)
    run = Run(folder=tmp_path / "a run")
    assert keys["trainer.default_local_dir"].strip("'") == str(run.checkpoints)
    assert keys["trainer.validation_data_dir"].strip("'") == str(run.validation)
    assert keys["trainer.rollout_data_dir"].strip("'") == str(run.rollouts)
    assert keys["hydra.run.dir"].strip("'") == str(run.folder / "hydra")
    assert f"folder:'{run.folder}'" in keys["+trainer.v1.sampler.sampler_kwargs.run"]
    assert keys["trainer.logger"] == "[console,tensorboard,file]"


def test_without_out_each_recipe_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["show", "kimi", "--verl", "--profile", "gpu"]) == 0
    assert f"trainer.default_local_dir={tmp_path}/runs/kimi/checkpoints" in words_of(capsys.readouterr().out)


@pytest.mark.parametrize("profile", ["gpu", "cpu"])
@pytest.mark.parametrize(("name", "temperature", "top_p"), [("vsrm_rpp", 0.6, 0.95), ("trle", 1.0, 1.0)])
def test_validation_samples_as_training_does(profile: str, name: str, temperature: float, top_p: float) -> None:
    if profile == "cpu" and name == "vsrm_rpp":
        temperature, top_p = 1.0, 1.0  # what its cpu block trains at
    one = job(name, profile)
    assert one.validation() == {"do_sample": True, "temperature": temperature, "top_p": top_p, "n": 1}
    check_keys(one.keys())
    other = job(name, profile, extra={f"{ROLLOUT}.temperature": 0.3, f"{VALIDATION}.n": 4})
    assert other.validation() == {"do_sample": True, "temperature": 0.3, "top_p": top_p, "n": 4}
    greedy = job(name, profile, extra={f"{VALIDATION}.do_sample": False, f"{VALIDATION}.temperature": 0})
    assert greedy.validation()["do_sample"] is False and greedy.validation()["temperature"] == 0


@pytest.mark.parametrize(
    ("name", "changes", "epochs"),
    [
        ("trle", {}, 3),  # ours
        ("vsrm_rpp", {}, 3),  # its paper's
        ("curriculum", {}, DECIDED_BY_STEPS),  # 600 steps, as its paper has them
        ("trle", {"steps": 9}, DECIDED_BY_STEPS),
        ("vsrm_rpp", {"steps": 9}, DECIDED_BY_STEPS),
        ("trle", {"extra": {"trainer.total_training_steps": 9}}, DECIDED_BY_STEPS),
        ("curriculum", {"extra": {"trainer.total_epochs": 7}}, 7),
        ("trle", {"steps": 9, "extra": {"trainer.total_epochs": 7}}, 7),
    ],
)
def test_epochs_end_no_run_that_is_counted_in_steps(name: str, changes: dict[str, Any], epochs: int) -> None:
    assert job(name, **changes).keys()["trainer.total_epochs"] == epochs


def test_defaults_of_a_cluster_are_bounded_and_visible() -> None:
    keys = job("trle").keys()
    assert keys["trainer.max_actor_ckpt_to_keep"] == 2
    assert keys["data.filter_overlong_prompts"] is True
    assert keys["actor_rollout_ref.model.use_fused_kernels"] is True
    assert "trainer.max_critic_ckpt_to_keep" not in keys
    assert str(job("vsrm_ppo").keys()["trainer.max_critic_ckpt_to_keep"]) == "${trainer.max_actor_ckpt_to_keep}"


@pytest.mark.parametrize(
    ("name", "changes", "bound"),
    [
        ("ulorl", {}, REFILLS),
        ("s_grpo", {}, 10),
        ("trle", {}, None),
        ("trle", {"extra": {"algorithm.filter_groups.enable": True}}, REFILLS),
        ("ulorl", {"extra": {"algorithm.filter_groups.max_num_gen_batches": 0}}, 0),
    ],
)
def test_a_filter_of_groups_does_not_sample_for_ever(name: str, changes: dict[str, Any], bound: int | None) -> None:
    assert job(name, **changes).keys().get("algorithm.filter_groups.max_num_gen_batches") == bound


def test_code_of_ones_own_is_found_on_other_machines(tmp_path: Path) -> None:
    (tmp_path / "paste_mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from leanthink import Reward\n@dataclass(frozen=True, kw_only=True)\nclass Mine(Reward):\n"
        "    def score(self, batch):\n        return batch.correct\n"
    )
    (tmp_path / "mine.yaml").write_text("reward: paste_mine:Mine\n")
    recipe = load_recipe(str(tmp_path / "mine.yaml"))
    one = Job(recipe=recipe, profile="gpu", model="M", train_files=("T",), val_files=("V",), folder="/r")
    variables = one.keys()["+ray_kwargs.ray_init.runtime_env.env_vars"]
    assert str(tmp_path) in variables[code.FOLDERS].split(":")
    assert not [key for key in dict(job().keys()) if "runtime_env" in key]
    check_keys(one.keys())


@pytest.mark.parametrize("command", ["show", "train"])
@pytest.mark.parametrize("profile", ["gpu", "cpu"])
def test_an_unknown_key_is_refused_with_the_nearest(
    command: str, profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--profile", profile, "--out", str(tmp_path / "run")]
    if profile == "gpu" and command == "train":
        for flag in ("train-file", "val-file"):
            (tmp_path / flag).touch()
            options += [f"--{flag}", str(tmp_path / flag)]
        options += ["--model", str(policy_path())]
    options += ["--verl"] * (command == "show")
    assert main([command, "trle", "data.max_respons_length=9", *options]) != 0
    assert "did you mean 'max_response_length'" in capsys.readouterr().err
    assert main([command, "trle", "+data.max_response_length=9", *options]) != 0
    assert "verl has this key, and + is for new ones" in capsys.readouterr().err


def test_show_refuses_an_unknown_key_without_verl_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "trle", "data.max_respons_length=9"]) != 0
    assert "did you mean 'max_response_length'" in capsys.readouterr().err


@pytest.mark.parametrize(("seen", "told"), [(0, "sees 0"), (2, "sees 2")])
def test_gpus_that_are_not_there_are_missed_at_once(seen: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    with pytest.raises(ConfigError, match=f"wants 8 GPUs on this machine, and torch .* {told}"):
        train.check_accelerator(job())
    train.check_accelerator(job(profile="cpu"))
    train.check_accelerator(job(options={"check_cluster": False}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    train.check_accelerator(job())


def test_a_cluster_elsewhere_may_have_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    train.check_accelerator(job())


def write_rows(path: Path, **extra: Any) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {
        "prompt": [{"role": "user", "content": "2+2?"}],
        "data_source": "x",
        "reward_model": {"ground_truth": "4", "style": "rule"},
        "extra_info": {"index": 0, **extra},
    }
    pq.write_table(pa.Table.from_pylist([row]), path)
    return str(path)


def test_a_column_that_the_data_lack_is_missed_before_verl_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(following.subprocess, "Popen", lambda *_, **__: pytest.fail("verl was started"))
    whole = write_rows(tmp_path / "whole.parquet", budget=100, at_most=1)
    lacking = write_rows(tmp_path / "lacking.parquet", budget=100)
    for files in ([whole, lacking], [lacking, whole]):
        options = ["--profile", "cpu", "--model", str(policy_path()), "--out", str(tmp_path / "run")]
        options += ["--train-file", files[0], "--val-file", files[1]]
        assert main(["train", "lcpo_max", *options]) != 0
        told = capsys.readouterr().err
        assert "lacking.parquet, row 1: no extra_info.at_most, which recipe lcpo_max reads" in told
        assert "`leanthink prepare --budget both`" in told


def test_the_summary_says_how_held_out_questions_were_answered(tmp_path: Path) -> None:
    run = Run(folder=tmp_path)
    run.attempts.mkdir()
    run.validation.mkdir()
    (run.attempts / "000.jsonl").write_text(json.dumps({"step": 1, "data": {"timing_s/gen": 1.0}}) + "\n")
    for step in (0, 1):
        (run.validation / f"{step}.jsonl").write_text(json.dumps({"acc": 1.0, "length": 4, "truncated": 0}) + "\n")
    summary = train.finish(job(), run, 1.0)
    assert summary["validation"] == {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "n": 1}
    assert json.loads(run.summary.read_text())["validation"] == summary["validation"]
