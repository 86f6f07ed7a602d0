"""What a run calls itself is text in terminal, picture and page: no markup, no TeX, no control sequence."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from leanthink import cli
from leanthink.core.errors import ConfigError
from leanthink.core.text import as_label, printable, without_tex
from leanthink.recipe.definition import Recipe, load_recipe, recipe_from
from leanthink.recipe.overrides import read_override
from leanthink.rewards import Correct
from leanthink.trl.start import Job
from leanthink.verl.hydra import overrides
from made_runs import write_run

LABELS = [
    *("$\\frac$", "$", "a$b$c", "\\$x$", "[/x]", "[bold red]x", "[link=http://x]y[/link]", ":smile:", "_hidden"),
    *("<b>x</b>", "<script>alert(1)</script>", "a\x1b]0;owned\x07", "\x1b[31mred", "a\nb", "a\rb", "\x00", "\u202eabc"),
    *("\ud800", "&amp;", "x" * 5_000_000, "$" * 100_000, "{0}", "%s", "", " "),
]


def report(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    started = time.monotonic()
    code = cli.main(["report", str(folder), "--out", str(folder.parent / "out"), *more])
    assert time.monotonic() - started < 60
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\x07" not in out + err and "Traceback" not in err
    return code, out, err


def rewrite(path: Path, change: dict[str, Any], row: int) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[row].update(change)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))


@pytest.mark.parametrize("text", LABELS, ids=lambda text: repr(text[:20]))
def test_a_difficulty_and_a_recipe_are_text(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", "short", 1, quality=0.9, tokens=20, questions=4, steps=2)
    rewrite(run / "validation" / "2.jsonl", {"difficulty": text}, 1)
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "recipe": text}))
    code, out, err = report(run, capsys)
    assert (code, err) == (0, "")
    page = (tmp_path / "out" / "report.html").read_text()
    assert len(out) < 200_000 and len(page) < 5_000_000
    assert "<script" not in page and "<b>x" not in page and not re.search("[\x00-\x08\x0b-\x1f]", page)
    for shown in ("[/x]", "[bold red]x", ":smile:"):
        if text == shown:
            assert shown in out and shown in page


@pytest.mark.parametrize("name", ["a\x1b]0;owned\x07", "[/x]", "$x$", "_x", "a b", "-x", "{x}", "\u202ex", "ünïcödé"])
def test_the_name_of_a_run_is_text(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "runs" / name, "short", 1, quality=0.9, tokens=20, questions=4, steps=2)
    write_run(tmp_path / "runs" / "other", "long", 1, quality=0.6, tokens=30, questions=4, steps=2)
    code, _, err = report(tmp_path / "runs", capsys, "--plot", str(tmp_path / "plot.png"))
    assert (code, err) == (0, "") and (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("validation/2.jsonl", '{"acc": 1, "length": "abc"}\n', "line 1: length is 'abc'"),
        ("validation/2.jsonl", '{"acc": 1, "length": NaN}\n', "length is nan"),
        ("validation/2.jsonl", '{"acc": 1, "length": -1}\n', "length is -1"),
        ("validation/2.jsonl", '{"acc": [1], "length": 1}\n', "no verdict"),
        ("validation/2.jsonl", "[" * 100_000 + "\n", "line 1: lists and objects lie more than"),
        ("attempts/001.jsonl", '{"step": 1e999, "data": {}}\n', "001.jsonl, line 1: 1e999 is no finite number"),
        ("attempts/001.jsonl", '{"step": 1.5, "data": {}}\n', "step: 1.5 is no whole number"),
        ("attempts/001.jsonl", '{"step": NaN, "data": {}}\n', "no whole number"),
        ("attempts/001.jsonl", '{"data": {}}\n', "step: None is no whole number"),
        ("attempts/001.jsonl", '{"step": 1}\n', "data is None"),
        ("attempts/001.jsonl", '{"step": 1, "data": [1]}\n', "data is [1]"),
        ("attempts/001.jsonl", '{"step": ' + "9" * 400 + ', "data": {}}\n', "400 digits"),
        ("attempts/001.jsonl", "7\n", "int instead of an object"),
        ("attempts/001.jsonl", "\xff\n", "001.jsonl, line 1"),
        ("summary.json", "{}", "recipe is None"),
        ("summary.json", "", "is no JSON"),
        ("summary.json", "[]", "holds list instead of an object"),
        ("summary.json", '{"recipe": "x", "steps": "2"}', "steps is '2'"),
        ("summary.json", '{"recipe": "x", "steps": 2, "before": [], "after": {}}', "before"),
        ("summary.json", '{"recipe": "x", "steps": 2, "before": {"accuracy": "x"}, "after": {}}', "accuracy is 'x'"),
        ("summary.json", '{"recipe": "x", "steps": 2, "seconds": {"per_step": {"gen": []}}}', "gen is []"),
        ("summary.json", '{"recipe": "x", "steps": 2, "after": {"by_difficulty": {"1": 3}}}', "is 3"),
        ("recipe.yaml", "reward: &a [*a]", "recipe.yaml, line 1: an alias inside"),
        ("recipe.yaml", "- 1", "holds no recipe"),
        ("recipe.yaml", "a: 2020-01-01", "timestamp"),
    ],
)
def test_a_damaged_file_of_a_run_is_one_paragraph(
    tmp_path: Path, file: str, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", "short", 1, quality=0.9, tokens=20, questions=4, steps=2)
    (run / file).write_text(text, encoding="latin-1")
    code, _, err = report(run, capsys)
    assert code == 1 and err.count("\n") == 1 and told in err, err


def test_metrics_that_are_no_numbers_leave_the_curves_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", "short", 1, quality=0.9, tokens=20, questions=4, steps=2)
    data = {
        "leanthink/accuracy": "x",
        "leanthink/length/all": float("nan"),
        "leanthink/part/$x$": 1.0,
        "timing_s/gen": None,
    }
    (run / "attempts" / "001.jsonl").write_text(json.dumps({"step": 3, "data": data}) + "\n")
    code, _, err = report(run, capsys, "--plot", str(tmp_path / "plot.png"))
    assert (code, err) == (0, "")


def test_a_recipe_of_escape_sequences_is_shown_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = {"reward": "correct", "description": "\x1b]0;owned\x07", "verl": {"+trainer.note": "\x1b[31m"}}
    (tmp_path / "a\x1b[31m.yaml").write_text(yaml.safe_dump(node))
    for more in ([], ["--verl", "--profile", "gpu", "--trust-code"]):
        assert cli.main(["show", str(tmp_path / "a\x1b[31m.yaml"), *more]) == 0
        assert "\x1b" not in capsys.readouterr().out
    assert cli.main(["show", str(tmp_path / "none\x1b[31m.yaml")]) == 1
    assert "\x1b" not in capsys.readouterr().err


NO_KEYS = ["x\ntouch PASTED #", "trainer.a b\rc", "a\x85b", "a\u2028b", "a;b", "$(id)", "a.`id`", "", " a", "x" * 201]
PASTED = ["--verl", "--profile", "gpu", "--model", "m", "--train-file", "a.parquet", "--val-file", "b.parquet"]


@pytest.mark.parametrize("key", NO_KEYS, ids=lambda key: repr(key[:20]))
def test_what_is_no_key_is_refused_wherever_it_is_read(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    node = {"reward": "correct", "verl": {"actor_rollout_ref.rollout.n": 2, key: 1}}
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(node))
    for trainer in ("trl", "verl"):
        assert cli.main(["show", str(tmp_path / "theirs.yaml"), *PASTED, "--trainer", trainer]) == cli.FAILED
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and "recipe theirs, verl: " in err and len(err) < 300
    for block in (
        {"cpu": {key: 1}},
        {"verl": {"+x": {"y": [{key * 5: 1} if len(key) > 200 else None]}}, "cpu": {key: 1}},
    ):
        with pytest.raises(ConfigError, match=r"is no key of verl's configuration|signs; give up to 200"):
            recipe_from({"reward": "correct", **block}, "mine")
    with pytest.raises(ConfigError, match=r"no key of verl's configuration|give up to 200|is no override"):
        read_override(f"{key}=1")
    with pytest.raises(ConfigError, match="verl's command: "):
        overrides({key: 1})
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"recipes": ["grpo"], "profile": "cpu", "set": {key: 1}}))
    assert cli.main(["sweep", str(tmp_path / "sweep.yaml"), "--dry-run"]) == cli.FAILED
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "sweep.yaml, set: " in err and len(err) < 400


def test_a_key_of_the_tree_may_have_any_name_that_can_be_seen() -> None:
    node = {"reward": {"sum": {"my part": "correct"}}, "cpu": {"reward.sum.my part.correct.right": 2}}
    assert recipe_from(node, "mine").cpu == node["cpu"]
    for key in ("reward.sum.a\nb.correct.right", f"reward.sum.{'a' * 200}"):
        with pytest.raises(ConfigError, match=r"mine, cpu: the key .*(cannot be seen; leave it out|give up to 200)"):
            recipe_from({**node, "cpu": {key: 2}}, "mine")
    with pytest.raises(ConfigError, match="is no key of verl's configuration"):  # where a trainer alone reads it
        recipe_from({**node, "cpu": {}, "verl": {"reward.a b": 1}}, "mine")


@pytest.mark.parametrize("name", ["a\ntouch PASTED #", "a\rtouch PASTED", "a\u2028b", "a\x1b[31m", "a;touch PASTED"])
def test_the_name_of_a_recipes_file_is_no_line_of_a_command(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    node = {"reward": "correct", "verl": {"actor_rollout_ref.rollout.n": 2, "data.max_foos": 1}}
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(node))
    assert load_recipe(path).name.isprintable()
    assert cli.main(["show", str(path), *PASTED, "--trainer", "trl"]) == 0
    out = capsys.readouterr().out
    command, _, comments = out.partition("\n# ")
    assert shlex.split(command.replace("\\\n", " "))[-1] == f"runs/{load_recipe(path).name}"
    assert "data.max_foos say nothing to TRL" in comments
    assert all(line.startswith("# ") for line in comments.splitlines()[1:])


def test_a_recipe_that_a_program_makes_has_comments_of_one_line_too() -> None:
    recipe = Recipe(name="a\nb", reward=Correct(), verl={"actor_rollout_ref.rollout.n": 2, "x\ntouch PASTED #": 1})
    job = Job(recipe=recipe, source="a", overrides=(), profile="gpu", model="m", train_files=("t",), val_files=("v",))
    *_, told = job.command().partition("runs/a\nb'\n")
    assert "# a b under TRL: x touch PASTED # say nothing to TRL" in told
    assert all(line.startswith("# ") for line in told.splitlines())


def test_an_error_shows_the_ends_of_a_long_value_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"reward": {"sum": {"x" * 500_000: {"nothing": {}}}}}))
    assert cli.main(["show", str(tmp_path / "mine.yaml")]) == cli.FAILED
    err = capsys.readouterr().err
    assert len(err) < 5000 and err.startswith("leanthink show: recipe mine, reward") and "pkg.mod:Name" in err


def test_labels_by_hand() -> None:
    assert printable("a\tb\nc") == "a\tb\nc" and printable("\x9b\ud800") == "\\x9b\N{REPLACEMENT CHARACTER}"
    assert as_label("  a \n b ") == "a b" and len(as_label("x" * 10**6)) == 200 and as_label("x" * 200) == "x" * 200
    assert without_tex("_$") == " _\\$"
