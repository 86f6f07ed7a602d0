"""The sizes of a training run on the testbed, as keys of verl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from leanthink.recipe.lengths import LONGEST, TESTBED_LONGEST

DECIDED_BY_STEPS: Final = 1_000_000
"""Epochs where the number of steps decides: a run ends at whichever comes first."""

TESTBED_SIZES: Final[Mapping[str, Any]] = {
    "data.train_batch_size": 16,
    "data.max_prompt_length": 16,
    LONGEST: TESTBED_LONGEST,
    "actor_rollout_ref.rollout.n": 8,
    "actor_rollout_ref.rollout.temperature": 1.0,  # what the policies were made for; colder, they repeat themselves
    "actor_rollout_ref.actor.ppo_mini_batch_size": 16,
    "actor_rollout_ref.actor.optim.lr": 1.25e-4,
    "actor_rollout_ref.actor.use_kl_loss": False,  # no reference model beside the policy
    "algorithm.use_kl_in_reward": False,
    "trainer.total_epochs": DECIDED_BY_STEPS,
}
"""What the CPU profile puts in place of a paper's sizes; a recipe's ``cpu`` block wins over it."""
