"""`leanthink train --trainer trl` and `leanthink show --trainer trl`."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from leanthink import cli
from leanthink.core.errors import ConfigError
from leanthink.runs.folder import Run
from leanthink.trl.main import parser
from leanthink.trl.start import last_checkpoint, split


def test_it_trains_goes_on_and_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two steps, then a third in the same folder; the README's line, with another folder and fewer steps."""
    run = Run(folder=tmp_path / "run")
    command = ["train", "hapo", "--trainer", "trl", "--profile", "cpu", "--seed", "3", "--out", str(run.folder)]
    sizes = ["data.train_batch_size=4", "actor_rollout_ref.actor.ppo_mini_batch_size=4", "trainer.save_freq=1"]
    own = ["--keep-rollouts", "data.val_max_samples=96"]
    assert cli.main([*command, "--steps", "2", *sizes, *own]) == 0
    told = capsys.readouterr().out
    assert "step 1  accuracy" in told and "first step done after" in told
    summary = run.read_summary()
    assert (summary["trainer"], summary["steps"], summary["seed"]) == ("trl", 2, 3)
    assert summary["before"]["questions"] == summary["after"]["questions"] == 96
    assert summary["seconds"]["per_step"].keys() >= {"gen", "reward", "step"}
    assert {path.name for path in (run.folder).iterdir()} >= {"metrics.jsonl", "curves.png", "run.json", "recipe.yaml"}
    assert last_checkpoint(run.checkpoints) == run.checkpoints / "checkpoint-2"

    assert cli.main([*command, "--steps", "3", *sizes, *own]) == 0
    assert "from checkpoint-2" in capsys.readouterr().out
    assert [row["step"] for row in run.read_metrics()] == [0, 1, 2, 3]
    assert len(list(run.attempts.iterdir())) == 2 and run.evaluated_steps() == [0, 2, 3]
    content = json.loads((run.checkpoints / "checkpoint-3" / "leanthink.json").read_text())
    assert content["step"] == 3 and content["state"]["length"]["of"]["length"]

    assert cli.main([*command, "--steps", "3", *sizes, *own]) == 0
    assert "is finished: 3 steps are done, nothing was trained" in capsys.readouterr().out
    assert cli.main([*command, "--steps", "4", *sizes, *own, "actor_rollout_ref.actor.optim.lr=1e-5"]) == 1
    assert "trl.learning_rate is 1e-05, was 0.000125" in capsys.readouterr().err

    assert cli.main(["score", str(run.folder)]) == 0
    assert "are those that the run gave" in " ".join(capsys.readouterr().out.split())


def test_what_trl_cannot_do_is_told_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert cli.main(["train", "ulorl", "--trainer", "trl", "--profile", "cpu", "--out", str(out)]) == 1
    assert "recipe ulorl under TRL would lose its loss" in capsys.readouterr().err
    assert not out.exists()


def test_a_failure_is_told_with_its_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--trainer", "trl", "--profile", "cpu", "--steps", "1", "--out", str(tmp_path / "run")]
    assert cli.main(["train", "grpo", *given, "trl.nonsense=1"]) == 1
    assert "TRL ended with exit code 1" in (told := capsys.readouterr().err) and "nonsense" in told


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (["trle", "--profile", "cpu"], "python -m leanthink.trl.main trle"),
        (["trle", "--profile", "cpu", "--gpus", "2"], "accelerate launch --cpu --num_machines 1 --num_processes 2 -m"),
        (
            ["trle", "--profile", "gpu", "--nodes", "2", "trl.use_vllm=true", "trl.vllm_mode=colocate"],
            "accelerate launch --mixed_precision bf16 --multi_gpu --num_machines 2 --num_processes 16 -m",
        ),
    ],
)
def test_the_command_is_shown(arguments: list[str], begins: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", *arguments, "--trainer", "trl"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(begins)
    command, _, comments = told.partition("\n#")
    words = shlex.split(command.replace("\\\n", " "))
    parsed = parser().parse_args(words[words.index("leanthink.trl.main") + 1 :])
    assert parsed.recipe == "trle" and parsed.overrides == [word for word in arguments if "=" in word]
    assert "# learning_rate: " in comments and "# scale_rewards: 'none'" in comments
    if "gpu" in arguments:
        assert "# use_vllm: True" in comments and "# vllm_mode: 'colocate'" in comments
        assert "its KL penalty of 0.001 stands in the loss" in comments


def test_a_path_with_spaces_and_signs_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    model = "/my models/a b=c --run d"
    files = ["--train-file", "t 1.parquet", "--val-file", "v=1.parquet"]
    assert cli.main(["show", "trle", "--trainer", "trl", "--profile", "cpu", "--model", model, *files]) == 0
    command = capsys.readouterr().out.partition("\n#")[0]
    asked = ["bash", "-c", f"printf '%s\\0' {command}"]
    words = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    parsed = parser().parse_args(words[words.index("leanthink.trl.main") + 1 :])
    assert (parsed.model, parsed.train_file, parsed.val_file) == (model, ["t 1.parquet"], ["v=1.parquet"])


def test_overrides_are_the_recipes_ours_or_trls() -> None:
    given = ["reward.sigmoid_length.alpha=0.2", "leanthink.verify={deadline: 2}", "trl.use_vllm=true"]
    assert split(given) == (given[:1], {"verify": {"deadline": 2}}, {"use_vllm": True})
    with pytest.raises(ConfigError, match="'alpha' is no override"):
        split(["alpha"])


def test_showing_and_starting_import_no_trl(tmp_path: Path) -> None:
    code = """
import sys
from leanthink import cli
cli.main(["show", "trle", "--trainer", "trl", "--profile", "cpu"])
import leanthink.trl, leanthink.trl.start, leanthink.trl.fit
hosts = {"trl", "transformers", "accelerate", "datasets", "verl"}
print(sorted(hosts & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
