"""Writes the skeletons of a method: ``make method NAME=my_method``.

Four files, whose tests fail until they are filled in: a reward, a line in ``rewards/__init__.py``, a recipe and a test
file. A name that is taken, or is none, is refused before anything is written.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from leanthink import rewards
from leanthink.recipe.registry import REGISTRY

ROOT: Final = Path(__file__).parents[1]

REWARD: Final = '''\
"""TITLE: what it does, in a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jaxtyping import Bool, Float, Int
from torch import Tensor

from leanthink.core.batch import RolloutBatch
from leanthink.core.reward import Reward, RewardN, Scope


def my_method(
    length_N: Float[Tensor, " N"],
    correct_N: Bool[Tensor, " N"],
    group_N: Int[Tensor, " N"],
) -> Float[Tensor, " N"]:
    """The formula, in a line; what a group of one, of equal lengths, all right or all wrong gets."""
    raise NotImplementedError("my_method: write the formula over the whole batch")


@final
@dataclass(frozen=True, kw_only=True)
class MyMethod(Reward):
    """What it is (TITLE, arXiv NUMBER, Eq. NUMBER), and its range; a term to add to correctness.

    What each argument means, in which unit, and what the paper sets it to.

    >>> batch = RolloutBatch.of(group=[0] * 3, length=[500, 1000, 3000], correct=[1, 0, 0])
    >>> MyMethod()(batch)[0]
    """

    scope = Scope.GROUP  # it compares the responses of a prompt; without this line, each stands for itself
    is_term = True  # a length term alone may rank wrong above right; without this line, it is a whole reward

    def score(self, batch: RolloutBatch) -> RewardN:
        """The term of each response."""
        return my_method(batch.length, batch.correct == 1, batch.group)
'''

RECIPE: Final = """\
description: "" # one line: the method, and what it does
reference:
  title: ""
  paper: "" # as in arXiv:2501.12599
  where: "" # as in Sec. 2.3.3, Eq. 1
reward:
  sum:
    correct: correct
    length: my_method
advantage: {grpo: {scale: std}}
loss: {ppo_clip: {low: 0.2, high: 0.2}}
verl: # as the paper or its code sets them; a comment says what neither states
  data.train_batch_size:
  data.max_prompt_length:
  data.max_response_length:
  actor_rollout_ref.rollout.n:
  actor_rollout_ref.actor.ppo_mini_batch_size:
  actor_rollout_ref.actor.optim.lr:

family: "" # one of the tables of recipes/README.md
rests_on: "" # paper and code, paper, code, partly confirmed, or reconstructed: what each means stands there
kept: ""
differs: ""
use_when: ""
not_when: ""
cost: ""
paper_result: ""
"""

TEST: Final = '''\
"""TITLE, arXiv NUMBER."""

from __future__ import annotations

import pytest
import torch

from collected import SpelledOut
from leanthink.algorithms import Grpo, PpoClip
from leanthink.core.batch import RolloutBatch
from leanthink.rewards import PARTS
from leanthink.rewards.my_method import my_method
from oracles import Flags, Groups, Numbers

EXAMPLES = [MyMethod()]  # at settings that make it bite
RECIPES = {
    "my_method": SpelledOut(
        reward=Sum(correct=Correct(), length=MyMethod()),
        advantage=Grpo(scale="std"),
        loss=PpoClip(low=0.2, high=0.2),
        verl={"data.train_batch_size": 0},  # the keys that the paper or its code state; {} where they state none
    )
}

SIX = RolloutBatch.of(group=[0] * 6, length=[500, 1000, 1500, 2000, 3000, 2500], correct=[1, 0, 1, 0, 0, 1])


def test_worked_example() -> None:
    """The paper's, or one reckoned by hand from its formula."""
    assert MyMethod()(SIX)[0].tolist() == pytest.approx([], abs=1e-6)


def slow_my_method(length: Numbers, correct: Flags, group: Groups) -> list[float]:
    """arXiv NUMBER, Eq. NUMBER: the formula."""
    raise NotImplementedError("slow_my_method: write the formula as plain loops, from the paper alone")


def test_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch) -> None:
    expected: list[float] = []
    for batch in batches:
        expected += slow_my_method(batch.length.tolist(), (batch.correct == 1).tolist(), batch.group.tolist())
    given_N = my_method(merged.length, merged.correct == 1, merged.group)
    torch.testing.assert_close(given_N, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    assert torch.equal(MyMethod()(merged)[0], given_N)


def test_wrong_settings_are_refused() -> None:
    pytest.fail("for each argument, a value out of range and the error it meets; without arguments, drop this test")
'''


def class_name(name: str) -> str:
    """As ``kimi_length`` is ``KimiLength``."""
    return "".join(word.capitalize() for word in name.split("_"))


def refusal(name: str) -> str | None:
    """Why a name cannot be a new method's, and the cure; None if it can."""
    words = re.fullmatch(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*", name)
    if not words or keyword.iskeyword(name) or yaml.safe_load(name) != name:  # YAML reads on and yes as true
        return f"NAME is {name!r}; give lower-case words joined by _, as in make method NAME=kimi_length"
    for kind, table in REGISTRY.items():
        if name in table:
            return f"NAME is {name!r}, which is a registered {kind} already; choose another name"
    if hasattr(rewards, class_name(name)):
        return f"NAME is {name!r}, and leanthink.rewards has a {class_name(name)} already; choose another name"
    for path in skeletons(name):
        if (ROOT / path).exists():
            return f"NAME is {name!r}, and {path} is there already; choose another name, or remove the file"
    return None


def skeletons(name: str) -> Mapping[str, str]:
    """The text of each new file."""
    parts = ", ".join(sorted(("Correct", class_name(name), "Sum")))
    texts = {f"rewards/{name}.py": REWARD, f"recipes/{name}.yaml": RECIPE, f"tests/rewards/test_{name}.py": TEST}
    return {
        path: text.replace("PARTS", parts).replace("my_method", name).replace("MyMethod", class_name(name))
        for path, text in texts.items()
    }


def exported(text: str, name: str) -> str:
    """``rewards/__init__.py`` with the new class, in the order of its lines."""
    cls = class_name(name)
    text = inserted(
        text, r"^from leanthink\.rewards\.(\w+) import", name, f"from leanthink.rewards.{name} import {cls}"
    )
    return inserted(text, r'^    "(\w+)",$', cls, f'    "{cls}",')


def inserted(text: str, pattern: str, key: str, line: str) -> str:
    """A text with a line before the first match whose name sorts behind ``key``, else behind the last match's block."""
    matches = list(re.finditer(pattern, text, re.MULTILINE))
    place = next((match.start() for match in matches if match[1] > key), None)
    if matches and place is None:
        end = re.compile(r"^[\])]?\n", re.MULTILINE).search(text, matches[-1].end() + 1)
        place = end.start() if end else len(text)
    return text if place is None else f"{text[:place]}{line}\n{text[place:]}"


def main(name: str) -> int:
    """Write the files, and say which."""
    if refused := refusal(name):
        print(f"error: {refused}", file=sys.stderr)
        return 2
    init = ROOT / "rewards" / "__init__.py"
    init.write_text(exported(init.read_text(encoding="utf-8"), name), encoding="utf-8")
    for path, text in skeletons(name).items():
        (ROOT / path).write_text(text, encoding="utf-8")
    written = "\n".join(f"  {path}" for path in ("rewards/__init__.py", *skeletons(name)))
    print(f"written:\n{written}\nTheir tests fail until they are filled in: docs/contributing/adding_a_method.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
