"""Leaving out groups without spread, as DAPO does: what verl gives its own replay buffers for it, but no custom one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from verl.trainer.ppo.v1.replay_buffer import ReplayBufferAsync

from leanthink.core.errors import BatchError, ConfigError
from leanthink.training import ACC_THEN_REWARD


class BoundedRefill:
    """Asks for more prompts in place of filtered ones, up to a limit for each step; verl's own replay buffer has none.

    A policy that solves all prompts, or none, has no group left to train on, and would generate for ever.
    """

    def __init__(self, refill: Callable[[int], Any], limit: int) -> None:
        """Takes verl's function that submits prompts, and how many it may submit in a step; 0 for any number."""
        self._refill = refill
        self._limit = limit
        self.asked = 0

    def __call__(self, prompts: int) -> Any:
        """Submit more prompts."""
        self.asked += prompts
        if 0 < self._limit < self.asked:
            raise BatchError(
                f"{self.asked} prompts in place of groups without spread, and the batch is not full: nearly all groups "
                "are all right or all wrong; take harder or easier data, or switch algorithm.filter_groups.enable off, "
                "or raise algorithm.filter_groups.max_num_gen_batches (now "
                f"{self._limit} prompts; 0: no limit)"
            )
        return self._refill(prompts)


def prompts_a_step(run: Any) -> int:
    """How many prompts may take the place of filtered ones: ``max_num_gen_batches`` training batches."""
    filter_groups = run["filter_groups"] or {}
    batches = filter_groups.get("max_num_gen_batches", 0) if filter_groups.get("enable") else 0
    return int(batches) * int(run["train_batch_size"])


def filter_metric(run: Any) -> str | None:
    """By what groups are filtered as DAPO does; None where they are not.

    Raises:
        ConfigError: by anything but raw correctness.
    """
    filter_groups = run["filter_groups"] or {}
    metric = filter_groups.get("metric") if filter_groups.get("enable") else None
    if metric not in (None, "acc", ACC_THEN_REWARD):
        raise ConfigError(
            f"algorithm.filter_groups.metric is {metric!r}; set it to acc: groups are filtered on raw correctness, "
            f"before a length penalty makes every group look informative (or to {ACC_THEN_REWARD}, which keeps "
            "all-correct groups that the reward tells apart)"
        )
    return metric


def filtering_arguments(run: Any, sampler: Any) -> dict[str, Any]:
    """What verl gives its own replay buffers, but no custom one, for filtering groups as DAPO does."""
    metric = filter_metric(run)
    arguments: dict[str, Any] = {
        "filter_groups_metric": None if metric is None else "acc",
        "sync_refill_failed_groups": bool(run["sync_refill_failed_groups"]),
    }
    if isinstance(sampler, ReplayBufferAsync):
        return arguments
    exact = metric is not None or arguments["sync_refill_failed_groups"]
    return arguments | {
        "train_batch_size": run["train_batch_size"],
        "gen_batch_size": 1 if exact else run["gen_batch_size"] or run["train_batch_size"],
        "max_inflight_gen_batches": (run["filter_groups"] or {}).get("max_inflight_gen_batches", 1),
    }
