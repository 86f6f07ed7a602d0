"""A run's folder and cluster, as the driver sees to them before verl logs."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from leanthink.commands.score import run_recipe
from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.reporting.sources import is_run
from leanthink.runs.folder import Run
from leanthink.verl.driver.place import check_gpus, gpus_of, prepare_folder, room_for
from leanthink.verl.settings import Settings

VARIABLES = ("VERL_FILE_LOGGER_PATH", "TENSORBOARD_DIR")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what is set in a test is taken back
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", recipe_names())
def test_the_recipe_left_there_is_the_runs(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    prepare_folder(tmp_path / "run", Settings.of(recipe))
    assert is_run(tmp_path / "run")
    read = load_recipe(Run(folder=tmp_path / "run").recipe)
    assert (read.reward, read.advantage, read.loss) == (recipe.reward, recipe.advantage, recipe.loss)
    assert (read.limit, read.stop) == (recipe.limit, recipe.stop)


def test_each_start_has_metrics_of_its_own_and_the_recipe_stays(tmp_path: Path, monkeypatch: Any) -> None:
    settings = Settings.of(load_recipe("trle"))
    (tmp_path / "recipe.yaml").write_text("reward: correct\n")
    prepare_folder(tmp_path, settings)
    assert os.environ["VERL_FILE_LOGGER_PATH"] == str(tmp_path / "attempts" / "000.jsonl")
    assert os.environ["TENSORBOARD_DIR"] == str(tmp_path / "tensorboard")
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text()) == {"reward": "correct"}
    (tmp_path / "attempts" / "000.jsonl").touch()
    monkeypatch.delenv("VERL_FILE_LOGGER_PATH")
    prepare_folder(tmp_path, settings)
    assert os.environ["VERL_FILE_LOGGER_PATH"] == str(tmp_path / "attempts" / "001.jsonl")


def test_what_train_has_set_stays(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("VERL_FILE_LOGGER_PATH", "elsewhere")
    prepare_folder(tmp_path, Settings.of(load_recipe("trle")))
    assert os.environ["VERL_FILE_LOGGER_PATH"] == "elsewhere"


def test_kept_rollouts_are_scored_by_the_recipe_left_there(tmp_path: Path) -> None:
    prepare_folder(tmp_path, Settings.of(load_recipe("trle")))
    (tmp_path / "rollouts").mkdir()
    assert run_recipe(tmp_path) == tmp_path / "recipe.yaml"


def test_room_is_counted_as_groups_that_no_machine_tears() -> None:
    for found in itertools.product(range(5), repeat=3):
        for nodes, gpus in itertools.product((1, 2, 3), (1, 2, 3, 4)):
            groups = 0
            for count in found:
                while count >= gpus:
                    count -= gpus
                    groups += 1
            assert room_for(nodes, gpus, found) == (groups >= nodes)


def node(name: str, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeManagerHostname": name, "Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("nodes", "fits"),
    [
        ([node("a", CPU=8.0, GPU=8.0), node("b", GPU=8.0)], True),
        ([node("a", CPU=8.0, NPU=8.0), node("b", NPU=8.0)], True),
        ([node("a", CPU=8.0), node("b", GPU=8.0)], False),
        ([node("a", GPU=8.0), node("b", alive=False, GPU=8.0)], False),
        ([node("a", CPU=64.0)], False),
    ],
)
def test_a_cluster_without_room_is_refused_at_once(nodes: Any, fits: bool) -> None:
    if fits:
        check_gpus(2, 8, nodes)
        return
    told = "a has 0, b has 8" if len(nodes) == 2 and nodes[1]["Alive"] else rf"a has {gpus_of(nodes[0]['Resources'])};"
    with pytest.raises(ConfigError, match=f"wants 2 machines with 8 GPUs each .* has no room for it: {told}"):
        check_gpus(2, 8, nodes)


def test_the_sampler_looks_before_workers_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from leanthink.verl.driver import shaping

    asked: list[Any] = []
    monkeypatch.setattr(shaping, "check_registered", lambda: None)
    monkeypatch.setattr(shaping, "check_cluster", lambda *sizes: asked.append(sizes))
    monkeypatch.setattr(shaping, "prepare_folder", lambda folder, settings: asked.append(folder))
    monkeypatch.setattr(shaping.GroupLoss, "of", lambda *_: pytest.fail("looked"))
    run = {"folder": str(tmp_path), "nodes": 2, "gpus": 4}
    for options, wanted in (({}, [(2, 4), tmp_path]), ({"check_cluster": False}, [tmp_path])):
        asked.clear()
        node_ = Settings.of(load_recipe("trle"), **options).node()
        with pytest.raises(pytest.fail.Exception, match="looked"):
            shaping.ShapingReplayBuffer(sampler_kwargs={"leanthink": node_, "run": run}, refill_fn=print)
        assert asked == wanted
