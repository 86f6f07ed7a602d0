"""Files in the current folder run nothing, and a recipe that names code runs none of it unless it is trusted."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from leanthink import cli
from leanthink.core import code
from leanthink.core.errors import TrustError
from leanthink.doctor import run_probe
from leanthink.recipe.definition import load_recipe, recipe_from, recipe_names
from model_folders import save_program

SOURCE = str(Path(cli.__file__).parents[1])
REWARD = """
from dataclasses import dataclass
from pathlib import Path
import torch
from leanthink import Reward
Path(__file__).with_name("ran").touch()

@dataclass(frozen=True, kw_only=True)
class Mine(Reward):
    price: float = 1.0

    def score(self, batch):
        return self.price * batch.correct.double()

def fn(*_):
    return ""
"""
ROWS = [{"group": "a", "length": 10, "correct": 1}, {"group": "a", "length": 20, "correct": 0}]


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe that names code beside it, and rows to score."""
    name = f"theirs_{abs(hash(str(tmp_path))) % 10**8}"
    (tmp_path / f"{name}.py").write_text(REWARD)
    (tmp_path / "theirs.yaml").write_text(f'reward: {{"{name}:Mine": {{price: 2.0}}}}\n')
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "away").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(code, "_FOLDERS", [])
    return tmp_path


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from leanthink.cli import main; raise SystemExit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": SOURCE, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", ["yaml", "secrets"])
def test_a_module_in_the_current_folder_runs_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("open('ran', 'w')\nraise SystemExit('it ran')\n")
    done = command(tmp_path, "list")
    assert (done.returncode, done.stderr) == (0, "") and not (tmp_path / "ran").exists()


def test_every_python_that_is_started_leaves_the_current_folder_out() -> None:
    """Its own folder comes first for ``-c`` and ``-m``; -I and a program's file leave it out as -P does."""
    started = re.compile(r"\[sys\.executable, (?!\"-[PI]\"|\*argv)")
    sources = [path for path in (Path(SOURCE) / "leanthink").rglob("*.py") if "sys.executable" in path.read_text()]
    assert len(sources) >= 6
    for path in sources:
        assert not started.search(path.read_text()) and "[sys.executable]" not in path.read_text(), path


def test_a_probe_of_doctors_runs_nothing_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    assert run_probe("import json; print(json.dumps(3))") == 3
    assert not (tmp_path / "ran").exists()


def test_as_a_module_of_python_it_leaves_the_current_folder_out_as_well(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('it ran')\n")
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    line = [sys.executable, "-P", "-m", "leanthink", "show", "grpo"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_empty_entry_of_the_path_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert cli.main(["show", "grpo"]) == 0
    assert "" not in sys.path


def test_no_model_is_loaded_without_saying_whether_its_code_is_trusted() -> None:
    """transformers asks on the terminal where nobody said, and a script that answers yes to all runs it."""
    loads = {"from_pretrained", "from_config", "pipeline"}
    plain = {"GenerationConfig"}  # JSON alone
    silent = []
    for folder, _, names in os.walk(Path(SOURCE) / "leanthink", followlinks=True):
        for path in (Path(folder) / name for name in names if name.endswith(".py")):
            nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            calls = [node for node in nodes if isinstance(node, ast.Call)]
            said = {id(call.func) for call in calls if any(word.arg == "trust_remote_code" for word in call.keywords)}
            found = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr in loads]
            silent += [
                f"{path}:{node.lineno} {ast.unparse(node)}"
                for node in found
                if id(node) not in said and ast.unparse(node.value) not in plain
            ]
    assert silent == []


def test_a_tokenizers_own_code_is_not_run_whoever_says_yes(hostile: Path) -> None:
    save_program(hostile / "tokenizer")
    (hostile / "rows.jsonl").write_text('{"group": "a", "response": "x y", "correct": 1}\n' * 2)
    program = (
        "from leanthink.cli import main; raise SystemExit(main(['score', 'rows.jsonl', '--tokenizer', 'tokenizer']))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=hostile,
        env={**os.environ, "PYTHONPATH": SOURCE},
        input="y\n" * 20,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == cli.FAILED and "[y/N]" not in done.stdout + done.stderr
    assert "--tokenizer tokenizer: no tokenizer there" in done.stderr and "custom code" in done.stderr
    assert not (hostile / "ran").exists()


def test_show_tells_of_code_and_imports_none(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", str(hostile / "theirs.yaml")]) == 0
    out, err = capsys.readouterr()
    assert ":Mine" in out and "price: 2.0" in out
    assert "names code to run" in err and "--trust-code" in err and err.count("\n") == 1
    assert not (hostile / "ran").exists()


@pytest.mark.parametrize(
    "before", [["show", "--verl", "--profile", "cpu"], ["score", "rows.jsonl", "--recipe"], ["check"]]
)
def test_what_needs_the_code_asks_for_trust(
    hostile: Path, before: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(hostile)
    arguments = [*before, "theirs.yaml"]
    assert cli.main(arguments) == cli.FAILED
    err = capsys.readouterr().err
    assert "names code to run" in err and ":Mine" in err and "--trust-code" in err
    assert not (hostile / "ran").exists()
    assert cli.main([*arguments, "--trust-code"]) == 0
    assert (hostile / "ran").exists()


def test_code_is_found_beside_the_recipe_from_elsewhere(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile / "away")
    before = [*sys.path]
    assert cli.main(["show", "../theirs.yaml", "--trust-code"]) == 0
    assert (hostile / "ran").exists()
    assert sys.path[: len(before)] == [path for path in before if path]  # at the end only


def test_code_beside_the_recipe_comes_before_that_of_the_current_folder(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (module,) = hostile.glob("theirs_*.py")
    (hostile / "away" / module.name).write_text("raise SystemExit('of the current folder')\n")
    monkeypatch.chdir(hostile / "away")
    assert cli.main(["show", "../theirs.yaml", "--trust-code"]) == 0


def test_what_is_installed_comes_before_all(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (hostile / "json.py").write_text("raise SystemExit('it ran')\n")
    (hostile / "shadow.yaml").write_text('reward: "json:Mine"\n')
    assert cli.main(["show", str(hostile / "shadow.yaml"), "--trust-code"]) == cli.FAILED
    assert "module 'json' has no 'Mine'" in capsys.readouterr().err


def test_what_is_typed_is_trusted(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile)
    (module,) = hostile.glob("theirs_*.py")
    assert cli.main(["check", f"{module.stem}:Mine", "price=0.5"]) == 0
    assert cli.main(["show", "grpo", f"reward={module.stem}:Mine"]) == 0


@pytest.mark.parametrize(
    "text",
    [
        'reward: {thinking_compression: {extractor: "subprocess:getoutput"}}',
        'reward: {sum: {a: correct, b: {conciseness_score: {scorer: "os:system"}}}}',
        'reward: {scale: {by: {"os:Schedule": {}}, of: correct}}',
        'reward: correct\nadvantage: "antigravity:X"',
        'reward: correct\nlimit: {"antigravity:X": {}}',
        'reward: {thinking_compression: {extractor: "leanthink.merge.write:shutil.rmtree"}}',
        'reward: {thinking_compression: {extractor: "leanthink.core.functions:import_named"}}',
        "reward: correct\nverl: {data.custom_cls.path: evil.py, data.custom_cls.name: X}",
        "reward: correct\nverl: {data: {custom_cls: {path: evil.py}}}",
        "reward: correct\nverl: {actor_rollout_ref.model.external_lib: evil}",
        "reward: correct\nverl: {actor_rollout_ref.model.trust_remote_code: true}",
        "reward: correct\nverl: {+ray_kwargs.ray_init.runtime_env.py_executable: ./evil.sh}",
        "reward: correct\nverl: {trainer.checkpoint_callback_class: evil.X}",
        "reward: correct\nverl: {++leanthink.verify.task: 'os:system'}",
        "reward: correct\nverl: {++leanthink.verify: {task: 'leanthink.merge.write:shutil.rmtree'}}",
        "reward: correct\nverl: {++leanthink.reward: {'evil:X': {}}}",
        "reward: correct\nverl: {actor_rollout_ref.rollout.multi_turn.tool_config_path: evil.yaml}",
        "reward: correct\nverl: {global_profiler.finish_hook_cmd: rm}",
        "reward: correct\nverl: {hydra.launcher: {_target_: os.system}}",
        "reward: correct\ncpu: {+x._target_: os.system}",
        "reward: correct\nverl: {+data@_global_: ../../evil}",
        "reward: correct\nverl: {actor/evil@actor_rollout_ref.actor: x}",
        "reward: correct\nverl: {~critic@critic: dp_critic}",
    ],
)
def test_every_way_to_name_code_asks_for_trust(tmp_path: Path, text: str) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text(text)
    with code.trusting(()), pytest.raises(TrustError, match="names code to run"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_engine", "../../evil"),
        ("actor_rollout_ref.actor.optim.optimizer_impl", "evilmod"),
        ("actor_rollout_ref.model.path", "hdfs://x;touch pwned"),
        ("actor_rollout_ref.model.tokenizer_path", "hdfs://x;touch pwned"),
        ("critic.model.path", "hdfs:x"),
        ("data.train_files", ["train.parquet", "hdfs://x"]),
        ("trainer.resume_from_path", "theirs/global_step_3"),
        ("trainer.default_local_dir", "/home/you/.ssh"),
        ("trainer.rollout_data_dir", "x"),
        ("skip.rollout_tq.dump_dir", "x"),
        ("+actor_rollout_ref.rollout.engine_kwargs.vllm.logits_processors", ["evil:X"]),
        ("+actor_rollout_ref.rollout.engine_kwargs.vllm", {"distributed_executor_backend": "evil.X"}),
        ("+actor_rollout_ref.model.override_config.attn_implementation", "theirs/kernel"),
        ("actor_rollout_ref.rollout.prometheus.file", "x"),
        ("trainer.experiment_name", "../../x"),
        ("+trainer.anything", "text"),
    ],
)
def test_text_that_verl_may_import_run_read_or_write_to_asks_for_trust(key: str, value: object) -> None:
    with code.trusting(()), pytest.raises(TrustError, match=r"mine, verl: .*text that verl may import.*--trust-code"):
        recipe_from({"reward": "correct", "verl": {key: value}}, "mine")
    with code.trusting(code.named_in([f"{key}={value}"])):
        recipe_from({"reward": "correct", "verl": {key: value}}, "mine")


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_recipes_that_ship_name_no_code_of_others(name: str, profile: str) -> None:
    with code.trusting(()):
        load_recipe(name, profile=profile)  # type: ignore[arg-type]


def test_keys_that_name_no_code_ask_for_nothing() -> None:
    keys = {
        "actor_rollout_ref.model.path": "m", "data.custom_cls.path": None, "actor_rollout_ref.actor.clip_ratio": 0.2,
        "actor_rollout_ref.model.trust_remote_code": False, "actor_rollout_ref.model.target_modules": "all-linear",
        "trainer.logger": ["console"], "actor_rollout_ref.model.lora.target_modules": ["q"],
        "actor_rollout_ref.actor.strategy": "fsdp2", "actor_rollout_ref.rollout.name": "vllm", "model_engine": "dp",
        "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-sum", "data.train_files": ["~/data/a-b_c.parquet"],
        "+actor_rollout_ref.rollout.engine_kwargs.vllm": {"seed": 3, "dtype": "bfloat16"},
    }  # fmt: skip
    with code.trusting(()):
        recipe_from({"reward": "correct", "verl": keys}, "mine")


def test_a_typed_key_is_trusted() -> None:
    node = {"reward": "correct", "verl": {"data.custom_cls.path": "mine.py", "data.custom_cls.name": "X"}}
    with code.trusting(code.named_in(["data.custom_cls.path=mine.py", "data.custom_cls.name=X"])):
        recipe_from(node, "mine")


@pytest.mark.parametrize(
    ("typed", "free"),
    [
        ("reward=correct", False),  # the recipe's own, which verl has a key of the same name for
        ("reward={sum: {a: correct}}", False),
        ("reward.custom_reward_function={path: a.py}", True),
        ("reward.custom_reward_function.path=a.py", True),
        ("reward.custom_reward_function.path.more=a.py", False),
        ("reward.custom_reward_function=null", False),
    ],
)
def test_what_is_typed_is_trusted_and_no_more(typed: str, free: bool) -> None:
    node = {"reward": "correct", "verl": {"reward.custom_reward_function.path": "evil.py"}}
    with code.trusting(code.named_in([typed])):
        if free:
            recipe_from(node, "mine")
            return
        with pytest.raises(TrustError, match="names code to run"):
            recipe_from(node, "mine")


def test_a_sweep_asks_too(hostile: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(hostile)
    (hostile / "sweep.yaml").write_text("recipes: [theirs.yaml]\nprofile: cpu\nsteps: 3\n")
    assert cli.main(["sweep", "sweep.yaml", "--dry-run"]) == cli.FAILED
    assert "--trust-code" in capsys.readouterr().err and not (hostile / "ran").exists()
    assert cli.main(["sweep", "sweep.yaml", "--dry-run", "--trust-code"]) == 0


@pytest.mark.parametrize(
    ("key", "value", "asks"),
    [
        ("leanthink.verify.task", "os:system", True),
        ("data.custom_cls.path", "evil.py", True),
        ("actor_rollout_ref.model.trust_remote_code", "true", True),
        ("leanthink.verify.deadline", "3", False),
        ("leanthink.max_unknown", "0.2", False),
        ("data.train_batch_size", "8", False),
    ],
)
def test_what_a_sweep_sets_may_name_code(
    tmp_path: Path, key: str, value: str, asks: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.yaml").write_text(f"recipes: [grpo]\nprofile: cpu\nsteps: 3\nset: {{{key}: '{value}'}}\n")
    code_ = cli.main(["sweep", str(tmp_path / "sweep.yaml"), "--dry-run", "--out", str(tmp_path / "out")])
    told = "names code to run" in capsys.readouterr().err
    assert told is asks and (code_ == cli.FAILED) >= asks


def test_the_printed_command_says_where_the_code_lies(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", str(hostile / "theirs.yaml"), "--verl", "--profile", "gpu", "--trust-code"]) == 0
    words = shlex.split(capsys.readouterr().out.replace("\\\n", " "))
    (told,) = (word for word in words if "runtime_env.env_vars" in word)
    assert f"{code.FOLDERS}:'{hostile}" in told
