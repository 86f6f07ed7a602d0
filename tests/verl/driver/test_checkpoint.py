"""The state beside verl's checkpoints: when it is written, and from where it is read."""

import json
from types import SimpleNamespace

import pytest

from leanthink.core.errors import StateError
from leanthink.recipe.definition import load_recipe
from leanthink.training import Shaper
from leanthink.training.state import FILE
from leanthink.verl.driver.checkpoint import SaveRewardState
from leanthink.verl.driver.shaping import checkpoint_before
from leanthink.verl.settings import Settings
from made_facts import before_in, fact


def test_it_is_written_with_each_checkpoint(tmp_path):
    one = Shaper(Settings.of(load_recipe("hapo")))
    one.shape([fact(prompt_key="p", length=30.0)], ["a"], step=1)
    SaveRewardState.on_save(None, SimpleNamespace(replay_buffer=SimpleNamespace(shaper=one)), 1, str(tmp_path))
    content = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    assert (content["step"], content["state"]) == (1, {"length": {"of": {"length": {"p": 30.0}, "count": {}}}})


def test_one_without_it_is_told_with_verls_way_to_an_earlier_one(tmp_path):
    (tmp_path / "global_step_4").mkdir()
    with pytest.raises(StateError, match=r"has no reward state.*resume_path"):
        Shaper(Settings.of(load_recipe("hapo")), before_in(tmp_path)).shape([fact(prompt_key="p")], ["a"], step=5)


def test_it_is_read_from_the_step_before_or_from_a_named_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoint_before("checkpoints", None, 5) == tmp_path / "checkpoints" / "global_step_4"
    assert checkpoint_before("checkpoints", "other/global_step_9", 10) == tmp_path / "other" / "global_step_9"
