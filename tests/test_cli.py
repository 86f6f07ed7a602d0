"""The command line: what it prints, and that every wrong input ends in one paragraph that names the cure."""

import json
import platform
import subprocess
import sys
from importlib.metadata import version

import pytest
import yaml

from leanthink import __version__, cli
from leanthink.recipe.definition import Recipe, load_recipe, recipe_from, recipe_names
from leanthink.recipe.registry import REGISTRY
from leanthink.recipe.yaml import parse_yaml
from leanthink.rewards import Correct, HistoryLength
from leanthink.runs.folder import Run
from leanthink.verl.start import train as training

GOOD = [
    {"group": "a", "length": 10, "correct": 1},
    {"group": "a", "length": 20, "correct": 0},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def failure(capsys, *arguments):
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    assert code != 0
    assert captured.err.count("\n") == 1, f"more than one paragraph: {captured.err}"
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize("command", ["train", "show", "list"])
def test_a_mistyped_option_is_no_override(capsys, command):
    given = [command, *(["trle"] if command != "list" else []), "--stpes=3"]
    with pytest.raises(SystemExit) as ended:
        cli.main(given)
    assert ended.value.code == 2
    assert f"unrecognized arguments: --stpes=3; see `leanthink {command} --help`" in capsys.readouterr().err


def test_list_json_names_everything(capsys):
    assert cli.main(["list", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [recipe["name"] for recipe in content["recipes"]] == recipe_names()
    assert {(part["kind"], part["name"]) for part in content["parts"]} == {
        (kind, name) for kind, table in REGISTRY.items() for name in table
    }
    assert all(part["description"] for part in content["parts"])


def test_without_a_command_the_help_is_shown(capsys):
    assert cli.main([]) == 0
    assert "doctor" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("names", [[], ["rewards", "losses", "limits", "stops", "schedules", "advantages"]])
def test_lists_fit_into_a_terminal_and_a_pipe(capsys, monkeypatch, names, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert cli.main(["list", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    shown = {line.split()[0] for line in lines if line.startswith("  ") and line[2:3].strip()}
    wanted = [name for table in REGISTRY.values() for name in table] if names else recipe_names()
    assert shown >= set(wanted)


def test_list_shows_what_is_asked_for(capsys):
    assert cli.main(["list", "drpo", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [recipe["name"] for recipe in content["recipes"]] == ["drpo"]
    assert [(part["kind"], part["name"]) for part in content["parts"]] == [("loss", "drpo")]
    assert "did you mean 'trle'" in failure(capsys, "list", "trel")
    assert "give 'recipes', a kind of part" in failure(capsys, "list", "zzzzzz")


def test_show_tells_of_a_part(capsys):
    assert cli.main(["show", "soft_overlong"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("reward soft_overlong, looks at the response alone\n")
    assert "buffer (number; must be given): " in out and "factor (number; default 1.0)" in out
    assert max(len(line) for line in out.partition("In Python:")[0].splitlines()) <= 80
    assert cli.main(["show", "loss.drpo"]) == 0
    assert capsys.readouterr().out.startswith("loss drpo\n")
    assert "there is no loss 'dpro'" in failure(capsys, "show", "loss.dpro")


def test_show_prints_a_recipe_that_builds_again(capsys):
    assert cli.main(["show", "trle", "reward.sigmoid_length.alpha=0.4"]) == 0
    shown = recipe_from(yaml.safe_load(capsys.readouterr().out), "trle")
    assert shown == load_recipe("trle", ["reward.sigmoid_length.alpha=0.4"])


def test_show_wraps_prose_for_a_terminal(capsys):
    for name in recipe_names():
        assert cli.main(["show", name]) == 0
        out = capsys.readouterr().out
        assert recipe_from(parse_yaml(out, "here"), name) == load_recipe(name)
        long = [line for line in out.splitlines() if len(line) > 80]
        assert all(max(map(len, line.split())) > 14 for line in long), long  # nothing but a long name goes beyond


def test_show_state_tells_what_is_remembered_and_where(capsys):
    guard = "reward={sum: {a: correct, b: {collapse_guard: {of: history_length}}}}"
    limit = "limit={per_pass_rate: {thresholds: [0.5], lengths: [40, 20]}}"
    assert cli.main(["show", "grpo", "--state", guard, limit]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "in leanthink.json of each checkpoint, at the start:"
    assert [line.split()[0] for line in lines] == ["state.b.own", "state.b.of", "limit_state"]
    assert json.loads(lines[1].partition(": ")[2]) == HistoryLength().init()
    assert cli.main(["show", "gfpo_adaptive", "--state"]) == 0
    assert "advantage_state (adaptive_top_k):" in capsys.readouterr().out
    assert cli.main(["show", "trle", "--state"]) == 0
    assert capsys.readouterr().out == "trle remembers nothing across steps\n"


def test_show_verl_prints_one_command(capsys):
    arguments = ["--profile", "gpu", "--verl", "--nodes", "2", "--gpus", "4", "--model", "org/model"]
    assert cli.main(["show", "kimi", *arguments, "leanthink.max_unknown=0.2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("python -m verl.trainer.main_ppo")
    for piece in ("trainer.nnodes=2", "trainer.n_gpus_per_node=4", "org/model", "max_unknown:0.2"):
        assert piece in out


# Wrong inputs, one by one: each error names what was given and the cure.


def test_unknown_recipe(capsys):
    assert "did you mean 'trle'" in failure(capsys, "show", "trel")


def test_misspelt_argument(capsys):
    error = failure(capsys, "show", "trle", "reward.sigmoid_length.alhpa=0.1")
    assert "no argument 'alhpa'" in error
    assert "did you mean 'alpha'" in error


def test_misspelt_option_of_ours(capsys):
    assert "did you mean 'unknown'" in failure(
        capsys, "show", "trle", "--profile", "gpu", "--verl", "leanthink.unkown=1"
    )


def test_missing_column(capsys, tmp_path):
    reward = tmp_path / "reward.yaml"
    reward.write_text("gate: {column: budget, of: correct}", encoding="utf-8")
    error = failure(capsys, "score", write(tmp_path / "rows.jsonl", GOOD), "--reward", str(reward))
    assert "'budget'" in error


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"group": None}, "group"),
        ({"length": -1}, "length"),
        ({"correct": 0.5}, "correct"),
    ],
)
def test_wrong_value(capsys, tmp_path, change, expected):
    rows = [GOOD[0], {**GOOD[1], **change}]
    error = failure(capsys, "score", write(tmp_path / "rows.jsonl", rows))
    assert expected in error
    assert "2" in error  # the line


def test_group_id_absent(capsys, tmp_path):
    rows = [{key: value for key, value in row.items() if key != "group"} for row in GOOD]
    assert "group" in failure(capsys, "score", write(tmp_path / "rows.jsonl", rows))


def test_empty_file(capsys, tmp_path):
    assert "rows.jsonl" in failure(capsys, "score", write(tmp_path / "rows.jsonl", []))


def test_file_that_is_no_json(capsys, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("length,correct\n10,1\n", encoding="utf-8")
    error = failure(capsys, "score", str(path))
    assert "JSON" in error
    assert "line 1" in error


def test_run_of_another_recipe(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "require_verl", lambda: None)
    run = Run(folder=tmp_path / "run")
    run.folder.mkdir()
    before = yaml.safe_dump(Recipe(name="mine", reward=Correct(wrong=-1.0)).to_node())
    run.recipe.write_text(before, encoding="utf-8")
    error = failure(capsys, "train", "trle", "--profile", "cpu", "--out", str(run.folder))
    assert "holds a run that began otherwise: recipe.reward" in error
    assert "--out" in error
    assert run.recipe.read_text(encoding="utf-8") == before


def test_folder_that_holds_something_else(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious", encoding="utf-8")
    error = failure(capsys, "train", "trle", "--profile", "cpu", "--out", str(tmp_path))
    assert "holds no run" in error
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "precious"


def test_verl_missing(capsys, tmp_path, monkeypatch):
    find_spec = training.importlib.util.find_spec
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None if name == "verl" else find_spec(name))
    error = failure(capsys, "train", "trle", "--out", str(tmp_path / "run"))
    assert "pip install 'leanthink[verl]'" in error
    assert not (tmp_path / "run").exists()


def test_steps_below_one(capsys, tmp_path):
    assert "--steps is 0" in failure(
        capsys, "train", "trle", "--profile", "cpu", "--steps", "0", "--out", str(tmp_path)
    )


def test_gpu_profile_without_data(capsys, tmp_path):
    error = failure(capsys, "train", "trle", "--profile", "gpu", "--out", str(tmp_path / "run"))
    assert "needs --model" in error


def test_report_of_a_folder_without_a_run(capsys, tmp_path):
    assert "holds no run and no dump" in failure(capsys, "report", str(tmp_path))


def test_an_override_that_is_none(capsys):
    assert "write key=value" in failure(capsys, "show", "trle", "alpha")


def test_the_installed_program_answers():
    done = subprocess.run(
        [sys.executable, "-m", "leanthink", "--version"], capture_output=True, text=True, timeout=120, check=True
    )
    first, *others = done.stdout.splitlines()
    assert first == f"leanthink {__version__}"
    assert [line.split()[0] for line in others] == ["Python", "verl", "trl", "vllm", "torch"]
    assert others[0] == f"Python {platform.python_version()}" and others[-1] == f"torch {version('torch')}"
