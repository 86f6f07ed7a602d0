"""A run with every stateful part at once, killed and resumed, ends as the run that was never killed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from leanthink.algorithms import AdaptiveTopK
from leanthink.core.limits import PerPassRate
from leanthink.core.schedules import Decay, Linear
from leanthink.recipe.definition import Recipe
from leanthink.rewards import (
    AdaptiveStepLength,
    Chain,
    CollapseGuard,
    Correct,
    Freeze,
    HistoryLength,
    KimiLength,
    QuantileBudget,
    Running,
    Scale,
    SigmoidLength,
    StepLength,
    Sum,
    TriangleLength,
)
from leanthink.verl.driver.checkpoint import save_states
from leanthink.verl.driver.shaping import Shaper
from leanthink.verl.settings import Settings

STEPS, PROMPTS, ROLLOUTS = 60, 8, 8

REWARD = Sum(
    correct=Correct(),
    adaptive=AdaptiveStepLength(lower_bound=10, upper_bound=90, interval=5, monitor_freq=4, explore=True),
    palu=Scale(by=0.5, of=QuantileBudget(longest=90, threshold=0.5, remembered=12)),
    least=Scale(by=0.1, of=HistoryLength(remembered=12)),
    mean=Scale(by=0.1, of=HistoryLength(mode="mean")),
    held=Scale(by=0.1, of=Freeze(of=HistoryLength())),
    guard=CollapseGuard(of=Scale(by=0.5, of=KimiLength()), window=3, drop=0.04, release=0.01, forget=0.001),
    whole=Scale(
        by=0.2,
        of=CollapseGuard(
            of=Chain(shaped=SigmoidLength(alpha=0.5), budget=Sum(so_far=Running(), history=HistoryLength())),
            relaxed=Correct(),
            window=2,
            tighten=0.3,
        ),
    ),
    scheduled=Scale(by=0.1, of=TriangleLength(budget=Decay(start=80, stop=20, drops=5, steps=STEPS))),
    fixed=Scale(by=Linear(start=0.0, stop=0.3, steps=40), of=StepLength(target=30)),
)


def facts_of(step: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The responses of a step, ever the same, however often the run is resumed."""
    draw = random.Random(1000 + step)
    facts, uids = [], []
    for prompt in draw.sample(range(30), PROMPTS):
        for _ in range(ROLLOUTS):
            length, cut = draw.randint(1, 90), draw.random() < 0.1
            right = draw.random() < (0.9 if step % 20 < 12 else 0.4) and not cut
            facts.append(
                {
                    "acc": float(right),
                    "unknown": float(draw.random() < 0.02),
                    "truncated": float(cut),
                    "length": float(length),
                    "verify_seconds": 0.0,
                    "pred": "",
                    "reason": "unknown/timeout",
                    "prompt_key": f"prompt {prompt}",
                }
            )
            uids.append(f"{step}-{prompt}")
    return facts, uids


@pytest.mark.parametrize("seed", range(5))
def test_killed_three_times_it_ends_as_if_never_killed(tmp_path: Path, seed: int) -> None:
    settings = Settings.of(
        Recipe(
            name="all",
            reward=REWARD,
            advantage=AdaptiveTopK(k=(4, 3, 2), ready_after=24, remembered=100),
            limit=PerPassRate(thresholds=(0.5,), lengths=(90, 40), remembered=12),
        )
    )
    settings = Settings.read(json.loads(json.dumps(settings.node())))

    def train(folder: Path, first: int, last: int) -> list[Any]:
        """Steps ``first`` to ``last``, a checkpoint after each; what each gave."""
        shaper, given = Shaper(settings, folder), []
        for step in range(first, last + 1):
            facts, uids = facts_of(step)
            limits = shaper.limits(sorted({str(fact["prompt_key"]) for fact in facts}), step)
            shaped = shaper.shape(facts, uids, step)
            given.append((limits, shaped.reward_N.tolist(), shaped.left_out, shaped.metrics))
            (folder / f"global_step_{step}").mkdir(parents=True, exist_ok=True)
            save_states(folder / f"global_step_{step}", settings, shaper.states, step)
        return [*given, shaper.states]

    straight = train(tmp_path / "straight", 1, STEPS)
    draw, resumed, start = random.Random(seed), [], 1
    for kill in [*sorted(draw.sample(range(2, STEPS - 1), 3)), STEPS]:
        # killed some steps after the checkpoint that the next start goes on from: those steps are lost and done again
        lost = 0 if kill == STEPS else draw.randint(0, min(3, kill - start))
        part = train(tmp_path / "killed", start, kill)
        resumed += part[: len(part) - 1 - lost]
        start = kill + 1 - lost
    assert resumed == straight[:-1]  # limits, rewards, what was left out and metrics, bit for bit
    assert part[-1] == straight[-1]
    state = straight[-1].reward
    assert state["adaptive"]["own"]["searches"] > 10 and state["guard"]["own"]["interventions"] > 3
    assert state["palu"]["of"]["cuts"] > 10 and state["palu"]["of"]["resets"] > 10
    assert len(state["palu"]["of"]["budget"]) == 12 and len(state["mean"]["of"]["length"]) > 25
    assert len(straight[-1].advantage["group_means"]) == 100 and len(straight[-2][2]) > 20
    assert STEPS * PROMPTS * ROLLOUTS > 3000
