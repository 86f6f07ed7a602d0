"""``leanthink show RECIPE --verl --diff SCRIPT``, on scripts as forks of verl write them; none of them is ever run."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from leanthink import cli
from leanthink.commands import theirs
from leanthink.verl.start.theirs import find_command
from timing import is_within

pytest.importorskip("verl", reason="verl is not installed: pip install 'leanthink[verl]'")

LASER = r"""ENVNAME=$1
if [ -z "$ENVNAME" ]; then
    echo "Usage: $0 <envname>"
    exit 1
fi
MODEL="deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
NNODES=2 # 2 or 4 nodes
export DATA=$DATAPATH
TRAIN_BATCH_SIZE=128
MAX_RESPONSE_LENGTH=16384
TARGET_LENGTH_UPPER_BOUND=$MAX_RESPONSE_LENGTH
max_num_batched_tokens=$(expr 1024 + $MAX_RESPONSE_LENGTH)
while [[ "$#" -gt 0 ]]; do
  case "$1" in
    --train_batch_size) TRAIN_BATCH_SIZE="$2"; shift 2 ;;
    $ENVNAME) shift ;;
    *) echo "Unknown option: $1"; exit 1 ;;
  esac
done
PYTHONUNBUFFERED=1 python -m verl.trainer.main_ppo \
    length_penalty.enable=True \
    length_penalty.method=laser-d \
    length_penalty.upper_bound=$TARGET_LENGTH_UPPER_BOUND \
    length_penalty.lower_bound=4096 \
    algorithm.adv_estimator=grpo \
    data.train_files=$DATA/train.parquet \
    data.val_files=$DATA/aime.parquet \
    data.monitor_files=$DATA/train_sample500.parquet \
    data.train_batch_size=$TRAIN_BATCH_SIZE \
    data.max_prompt_length=1024 \
    data.max_response_length=$MAX_RESPONSE_LENGTH \
    actor_rollout_ref.model.path=$MODEL \
    actor_rollout_ref.actor.optim.lr=1e-6 \
    actor_rollout_ref.actor.ppo_mini_batch_size=64 \
    actor_rollout_ref.actor.use_kl_loss=True \
    actor_rollout_ref.actor.kl_loss_coef=0.001 \
    actor_rollout_ref.actor.entropy_coeff=0.001 \
    actor_rollout_ref.actor.clip_ratio_low=0.2 \
    actor_rollout_ref.actor.clip_ratio_high=0.28 \
    actor_rollout_ref.actor.fsdp_config.param_offload=True \
    actor_rollout_ref.rollout.temperature=0.6 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.7 \
    actor_rollout_ref.rollout.max_num_batched_tokens=$max_num_batched_tokens \
    actor_rollout_ref.rollout.n=8 \
    trainer.logger=['console','wandb'] \
    trainer.n_gpus_per_node=8 \
    trainer.nnodes=$NNODES \
    trainer.monitor_freq=20 \
    trainer.total_epochs=5 2>&1 | tee -a $LOG_FILE_PATH
"""

DLER = r"""#!/bin/bash
#SBATCH --nodes 4
set -x
max_response_length=4000
overlong_buffer_len=$((1024 * 4))
MODEL_PATH="deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
CKPT_DIR="./results/$SLURM_JOB_ID/ckpt"
srun --overlap --nodes=1 -w $head_node bash -c "$headnode_cmd" &
sleep 30s
srun --overlap --nodes=1 -w $head_node -o "$CKPT_DIR/%j.out" bash -c \
"ray status && ray job submit --address=http://localhost:8265 \
    --runtime-env-json='{\"working_dir\": \"/verl\"}' \
    -- python3 -m recipe.dapo.main_dapo \
    data.train_files=./data/train.parquet \
    data.val_files=./data/aime.parquet \
    data.truncation='left' \
    data.max_response_length=$max_response_length \
    data.gen_batch_size=384 \
    algorithm.adv_estimator=reinforce_plus_plus_baseline \
    actor_rollout_ref.actor.use_kl_loss=True\
    actor_rollout_ref.actor.kl_loss_coef=0.0005 \
    actor_rollout_ref.actor.clip_ratio_c=10.0 \
    algorithm.filter_groups.enable=True \
    actor_rollout_ref.model.path=$MODEL_PATH \
    actor_rollout_ref.rollout.tensor_model_parallel_size=2 \
    actor_rollout_ref.actor.correct_sample_advantage_boost_value=0.1 \
    stop_properly_penalty.penalty_coef=0.1 \
    reward_model.reward_manager=dapo \
    trainer.nnodes=$SLURM_JOB_NUM_NODES \
    trainer.default_local_dir=$CKPT_DIR"
"""

VSRM = r"""#!/bin/bash
train_path=/data/train.parquet
math500=/MATH-500/test.parquet
aime=/aime.parquet
train_files="['$train_path']"
test_files="['$math500', '$aime']"
python3 -m verl.trainer.main_ppo \
    custom_reward_function.path=/.../val_reward.py \
    custom_reward_function.name=compute_math_val \
    algorithm.adv_estimator=gae \
    data.train_files="$train_files" \
    data.val_files="$test_files" \
    data.train_batch_size=256 \
    actor_rollout_ref.model.path=/models/DeepScaleR \
    actor_rollout_ref.rollout.n2=5 \
    critic.optim.lr=1e-5 \
    trainer.total_epochs=3 $@ \


"""

ARRAYS = r"""
DATA=(
    data.train_files="['a b.parquet']"   # quoted, with a blank
    data.val_files=v.parquet
)
MODEL=(actor_rollout_ref.model.path=Qwen/Qwen2.5-7B actor_rollout_ref.actor.optim.lr=2e-6)
python3 -m verl.trainer.main_ppo "${DATA[@]}" "${MODEL[@]}" +algorithm.alpha=0.05 ~critic "$@"
"""

COMMENTED = """python -m verl.trainer.main_ppo \\
    data.train_batch_size=64 \\
    # data.max_prompt_length=99 \\
    data.max_response_length=77 \\
    trainer.total_epochs=1
"""


def shown(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, *words: str, recipe: str = "laser_d") -> str:
    path = tmp_path / "theirs.sh"
    path.write_text(text, encoding="utf-8")
    assert cli.main(["show", recipe, "--verl", "--diff", str(path), *words]) == 0
    return capsys.readouterr().out


def section(out: str, title: str) -> list[list[str]]:
    """The rows of a section as words, behind its line of heads; its title takes one line or two."""
    below = out.partition(title)[2].partition("\n\n")[0].splitlines()
    return [line.split() for line in below if line.startswith("  ")]


def test_a_forks_script_beside_its_recipe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = shown(capsys, tmp_path, LASER)
    assert "line 20: verl.trainer.main_ppo with 29 keys" in " ".join(out.split())
    assert section(out, "laser_d changes (1)") == [
        ["theirs", "laser_d"], ["algorithm."], ["adv_estimator", "grpo", "leanthink", "(grpo)"],
    ]  # fmt: skip
    assert ["gpu_memory_utilization", "0.7", "0.6"] in section(out, "settings for GPUs differ")
    lost = section(out, "laser_d leaves out")
    assert ["param_offload", "true"] in lost
    assert ["max_num_batched_tokens", "$(expr", "1024", "+", "$MAX_RESPONSE_LENGTH)", "(?)"] in lost
    foreign = section(out, "no key of verl 0.9")
    for row in (["method", "laser-d"], ["upper_bound", "16384"], ["monitor_freq", "20"]):
        assert row in foreign
    assert ["lr", "1e-06", "1e-06"] not in section(out, "laser_d changes") and "lr  " not in out
    notes = " ".join(out.split())
    assert "the first value is taken: TRAIN_BATCH_SIZE (line 15)" in notes
    assert "not known without running the script: $DATAPATH, $(expr 1024 + $MAX_RESPONSE_LENGTH)" in notes


def test_the_command_at_the_end_keeps_what_is_theirs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = shown(capsys, tmp_path, LASER, "actor_rollout_ref.rollout.gpu_memory_utilization=0.5")
    words = shlex.split(out.partition("the recipe's method:\n")[2].replace("\\\n", ""))
    assert words[:3] == ["leanthink", "train", "laser_d"]
    assert words[3:13] == [
        "--model", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "--train-file", "$DATAPATH/train.parquet",
        "--val-file", "$DATAPATH/aime.parquet", "--nodes", "2", "--gpus", "8",
    ]  # fmt: skip
    assert words.count("actor_rollout_ref.rollout.gpu_memory_utilization=0.5") == 1
    assert not any(word.endswith("gpu_memory_utilization=0.7") for word in words)
    assert "actor_rollout_ref.actor.fsdp_config.param_offload=true" in words
    assert '"$DATAPATH/train.parquet"' in out  # the shell fills it in
    assert not any("max_num_batched_tokens" in word for word in words)  # a command prints it
    assert "left out below" in out
    assert cli.main(["show", *words[2:], "--verl", "--profile", "gpu"]) == 0
    assert "verl.trainer.main_ppo" in capsys.readouterr().out


def test_a_command_in_quotes_is_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = shown(capsys, tmp_path, DLER, recipe="dler")
    assert "line 10: recipe.dapo.main_dapo" in " ".join(out.split())
    changed = [row[0] for row in section(out, "dler changes")]
    assert changed == ["theirs", "algorithm.", "adv_estimator"]
    assert ["correct_sample_advantage_boost", "0.1"] in section(out, "no key of verl 0.9")  # folded: _value below
    assert ["reward_manager", "dapo"] in section(out, "who judges")
    assert "--nodes 1 --gpus 8" in out and "(?): not known without running" in " ".join(out.split())


def test_lists_of_files_and_functions_of_theirs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = shown(capsys, tmp_path, VSRM, recipe="vsrm_ppo")
    assert "--val-file /MATH-500/test.parquet" in out and "--val-file /aime.parquet" in out
    judges = section(out, "who judges")
    assert ["name", "compute_math_val"] in judges and ["path", "/.../val_reward.py"] in judges
    assert ["n2", "5"] in section(out, "no key of verl 0.9")


def test_arrays_plus_and_tilde(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = shown(capsys, tmp_path, ARRAYS, recipe="drpo")
    assert "--train-file 'a b.parquet'" in out and "--model Qwen/Qwen2.5-7B" in out
    assert ["alpha", "0.05"] in section(out, "no key of verl 0.9")


def test_what_a_comment_cuts_off_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = " ".join(shown(capsys, tmp_path, COMMENTED, recipe="grpo").split())
    assert "with 1 keys" in out and "line 4: data.max_response_length=77 and what follows is no part" in out


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("text", [LASER, DLER, VSRM, ARRAYS])
def test_it_fits_into_a_terminal_and_a_pipe(
    text: str, width: int, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.sh").write_text(text, encoding="utf-8")
    assert cli.main(["show", "trle", "--verl", "--diff", "theirs.sh"]) == 0
    out = capsys.readouterr().out
    table = out.partition("With what is theirs kept")[0]
    assert max(map(len, table.splitlines())) <= width
    assert "\x1b" not in out
    for key in ("data.", "actor_rollout_ref.model.", "trle adds"):
        assert key in out


def test_the_command_at_the_end_runs_nothing_of_theirs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = tmp_path / "made"
    text = (
        f"python -m verl.trainer.main_ppo data.train_files=$(touch {made}) data.seed=`touch {made}` "
        f"data.val_files='$(touch {made})' actor_rollout_ref.model.path='a\"$(touch {made})' "
        f"data.prompt_key=${{X:-$(touch {made})}} "
        f"data.image_key='`touch {made}`' data.video_key='$Y;touch {made}'\n"
    )
    out = shown(capsys, tmp_path, text)
    command = "leanthink() { :; }\n" + out.partition("the recipe's method:\n")[2]
    subprocess.run(["bash", "-c", command], check=True, cwd=tmp_path)
    assert "data.video_key" in command and not made.exists()


def test_nothing_of_the_script_is_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = tmp_path / "made"
    out = shown(capsys, tmp_path, f"touch {made}\nA=$(touch {made})\n{COMMENTED}    data.seed=$(touch {made})\n")
    assert "Read, not run" in " ".join(out.split()) and not made.exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo hello\n", "holds no verl command: none of its 1 commands"),
        ("", "holds no verl command"),
        (f"{COMMENTED}\n{COMMENTED}", "holds 2 verl commands, on lines 1, 7; name one, as in"),
        ("python -m verl.trainer.main_ppo data.x='a", "line 1: a quote is never closed"),
    ],
)
def test_a_script_without_a_command_or_with_several(
    text: str, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "theirs.sh"
    path.write_text(text, encoding="utf-8")
    assert cli.main(["show", "trle", "--verl", "--diff", str(path)]) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_one_of_several_is_named_by_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "theirs.sh"
    path.write_text(f"{COMMENTED}\n{VSRM}", encoding="utf-8")
    assert cli.main(["show", "trle", "--verl", "--diff", f"{path}:13"]) == 0
    assert "custom_reward_function." in capsys.readouterr().out
    assert cli.main(["show", "trle", "--verl", "--diff", f"{path}:2"]) == 1
    assert "no verl command begins on line 2; they begin on 1, 13" in capsys.readouterr().err
    assert cli.main(["show", "trle", "--verl", "--diff", f"{path}:²"]) == 1  # a digit, and no number
    assert "theirs.sh:²" in capsys.readouterr().err
    assert cli.main(["show", "trle", "--verl", "--diff", "none.sh"]) == 1
    assert "none.sh" in capsys.readouterr().err


def test_it_is_about_verl_on_gpus(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "theirs.sh"
    path.write_text(VSRM, encoding="utf-8")
    for more in (["--trainer", "trl"], ["--profile", "cpu"]):
        assert cli.main(["show", "trle", "--verl", "--diff", str(path), *more]) == 1
        assert "leave out --trainer trl and --profile cpu" in capsys.readouterr().err


def test_their_own_pasted_command_differs_by_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["show", "dler", "--verl", "--profile", "gpu", "--model", "m", "--train-file", "t", "--val-file", "v"]
    assert cli.main(words) == 0
    out = shown(capsys, tmp_path, capsys.readouterr().out, recipe="dler")
    for title in ("dler changes", "settings for GPUs differ", "dler adds", "dler leaves out", "no key of verl"):
        assert title not in out
    found = find_command(VSRM, "a.sh")
    assert theirs.read.__doc__ and found.values["data.train_batch_size"] == 256


def test_keys_of_many_parents_take_time_in_proportion() -> None:
    sides = {f"data.k{number % 8000}.{name}{number}": (number, "") for name in "ab" for number in range(8000)}
    told = list(theirs._table(sides, ("theirs", ""), {}, 80))
    assert len(told) == 1 + 8000 + 16000
    assert told[1:4] == ["  data.k0.", "    a0     0", "    b0     0"]
    assert is_within(3, lambda: list(theirs._table(sides, ("theirs", ""), {}, 80)))
