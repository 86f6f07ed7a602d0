"""What the plug-in costs a program that imports verl, and that verl knows ours all the same once it is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from leanthink.core import code
from leanthink.training import settings
from leanthink.verl import NAME

pytest.importorskip("verl")

COUNT = """
import importlib.abc, json, sys, time

class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "leanthink.verl.plugin" and "without" in sys.argv:
            raise ImportError(name)

sys.meta_path.insert(0, Without())
import verl
print(json.dumps(sorted(sys.modules)))
"""


def modules(*arguments: str) -> set[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("VERL_PLATFORM", code.FOLDERS)}
    line = [sys.executable, "-W", "ignore", "-c", COUNT, *arguments]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_verl_costs_next_to_nothing_more() -> None:
    extra = modules() - modules("without")
    assert "leanthink.verl.plugin" in extra
    assert {name for name in extra if not name.startswith("leanthink")} <= {"omegaconf._impl"}
    assert len(extra) < 12, sorted(extra)


KNOWN = """
import sys
if "before" in sys.argv:
    import verl.trainer.ppo.core_algos
else:
    import verl
from verl.trainer.ppo.core_algos import get_adv_estimator_fn, get_policy_loss_fn
from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
from leanthink.verl.driver.registered import check_registered
check_registered()
import torch, numpy
advantage, returns = get_adv_estimator_fn("leanthink")(
    token_level_rewards=torch.tensor([[0.0, 1.0], [0.0, 0.0]]), response_mask=torch.ones(2, 2),
    index=numpy.array(["a", "a"], dtype=object), config={"leanthink": "rloo"},
)
assert advantage.tolist() == [[1.0, 1.0], [-1.0, -1.0]], advantage
try:
    get_policy_loss_fn("leanthink")()
except ImportError:
    print("known")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_verl_knows_ours_once_it_is_asked(when: str) -> None:
    line = [sys.executable, "-W", "ignore", "-c", KNOWN, when]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.endswith("known\n"), done.stderr[-2000:]


def test_one_name_for_all() -> None:
    assert NAME == settings.NAME


PATH = """
import sys
sys.path.insert(0, "")  # as Ray does with the folder a driver was started in
sys.path.insert(0, {here!r})
import leanthink.verl.plugin
print(sys.path.index({here!r}) == len(sys.path) - 1 and sys.path.count({here!r}) == 1 and "" not in sys.path)
"""


@pytest.mark.parametrize("started_by_us", [True, False])
def test_the_current_folder_goes_last_in_what_we_started(tmp_path: Path, started_by_us: bool) -> None:
    environment = {**os.environ, **({code.FOLDERS: str(tmp_path)} if started_by_us else {})}
    line = [sys.executable, "-W", "ignore", "-c", PATH.format(here=str(tmp_path))]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == f"{started_by_us}\n"


TRL = """
import importlib.machinery, sys, types

fake = types.ModuleType("trl")
fake.__path__, fake.__spec__ = [], importlib.machinery.ModuleSpec("trl", None)
if sys.argv[1] == "old":
    fake.AutoModelForCausalLMWithValueHead = type("AutoModelForCausalLMWithValueHead", (), {})
sys.modules["trl"] = fake
import verl.models.transformers.monkey_patch as patching
from transformers import LlamaConfig, LlamaForCausalLM

sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
patching.apply_monkey_patch(LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=8)), use_remove_padding=False)
print("usable" if patching.is_trl_available() else "none to verl")
"""


@pytest.mark.parametrize(("trl", "told"), [("old", "usable"), ("new", "none to verl")])
def test_a_trl_that_verl_cannot_use_ends_no_worker(trl: str, told: str) -> None:
    done = subprocess.run([sys.executable, "-c", TRL, trl], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == told
