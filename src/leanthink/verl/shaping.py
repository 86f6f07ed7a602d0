"""The sampler: shapes whole prompt groups on the driver, once per training step, in every trainer mode.

verl hands the sampler finished groups; it reads their facts, runs the recipe's reward tree, writes the shaped rewards
back as ``rm_scores`` and returns the metrics. Validation passes through untouched.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import transfer_queue as tq
from tensordict import NonTensorStack, TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from leanthink.batch import RolloutBatch
from leanthink.errors import BatchError, ConfigError
from leanthink.limits import LIMIT
from leanthink.module import Scope, State
from leanthink.recipe import Recipe
from leanthink.scoring import ScoredStep, batch_of_facts, overlong_filter, score_step
from leanthink.verl import dispatch, plugin
from leanthink.verl.advantage import tagged
from leanthink.verl.checkpoint import load_limit_state, load_state
from leanthink.verl.grouping import GroupLoss
from leanthink.verl.settings import NAME, Settings

logger = logging.getLogger(__name__)

FIELDS = ("rm_scores", "response_mask", "extra_fields", "uid")
NOT_COLUMNS = frozenset({"acc", "unknown", "verify_seconds", "pred", "reason"})

ACC_THEN_REWARD: Final = "acc_then_reward"
"""A metric of ``algorithm.filter_groups``: raw correctness, but all-correct groups stay that the reward tells apart."""

NO_SPREAD: Final = 1e-6
"""Rewards of a group that differ by no more are equal but for rounding."""


class Shaper:
    """The recipe at work on one trainer's batches; holds the only mutable reward state of a run."""

    def __init__(self, settings: Settings, checkpoints: Path, resume_from: Path | None = None) -> None:
        """Takes the folder of verl's checkpoints, and one checkpoint where the run starts from a named one."""
        self.settings = settings
        self.recipe: Recipe = settings.build()
        self._checkpoints = checkpoints
        self._resume_from = resume_from
        self._state: State | None = None
        self._limit_state: State = {} if self.recipe.limit is None else self.recipe.limit.init()

    @property
    def state(self) -> State:
        """The reward state after the last step."""
        return self.recipe.reward.init() if self._state is None else self._state

    @property
    def limit_state(self) -> State:
        """What the recipe's limit remembers after the last step; empty where there is none."""
        return self._limit_state

    def resume(self, step: int) -> None:
        """Read the state that belongs before ``step`` (from 1), once; a run that starts at 1 has none to read."""
        if self._state is not None:
            return
        if step <= 1:
            self._state = self.recipe.reward.init()
            return
        folder = self._resume_from or self._checkpoints / f"global_step_{step - 1}"
        self._state = load_state(folder, self.settings)
        if (limit_state := load_limit_state(folder, self.settings)) is not None:
            self._limit_state = limit_state

    def limits(self, prompts: Sequence[str], step: int) -> list[int]:
        """The recipe's limit (tokens) of each prompt at verl's global step, from 1."""
        if self.recipe.limit is None:
            raise ConfigError(f"recipe {self.recipe.name} has no limit to hand out; give it one, or use verl's manager")
        self.resume(step)
        tokens = self.recipe.limit.tokens(prompts, max(step - 1, 0), self._limit_state)
        return [max(1, round(one)) for one in tokens]

    def shape(self, facts: list[dict[str, Any]], uids: list[str], step: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Shape one batch.

        Args:
            facts: what the reward manager returned for each response.
            uids: the prompt of each response.
            step: verl's global step, from 1.

        Returns:
            The reward (N,) of each response, whether it is trained on (N,), and the metrics.
        """
        self.resume(step)
        unknown_N = torch.tensor([fact["unknown"] == 1 for fact in facts], dtype=torch.bool)
        metrics = unknown_metrics(facts)
        share = float(unknown_N.double().mean()) if len(facts) else 0.0
        if share > self.settings.max_unknown:
            raise BatchError(
                f"step {step}: {share:.0%} of the verdicts are unknown, more than leanthink.max_unknown = "
                f"{self.settings.max_unknown:.0%} ({_reasons(facts)}); look at the gold answers and the verifier's "
                "deadline, or raise max_unknown"
            )
        takes_part_N = torch.tensor([self._takes_part(fact) for fact in facts], dtype=torch.bool)
        # verl hands out responses in the order in which they ended. What goes by the order of groups, as ties may, must
        # not favour prompts that are answered quickly: their ids are random.
        rows = sorted(takes_part_N.nonzero().squeeze(-1).tolist(), key=uids.__getitem__)
        if not rows:
            return torch.zeros(len(facts), dtype=torch.float64), takes_part_N, metrics
        batch = self._batch([facts[row] for row in rows], [uids[row] for row in rows], step)
        scored: ScoredStep = score_step(self.recipe, batch, self._state, self.settings.truncated)
        self._state = scored.state
        if self.recipe.limit is not None:
            self._limit_state = self.recipe.limit.update(batch, self._limit_state)
        reward_N = torch.zeros(len(facts), dtype=torch.float64)
        reward_N[rows] = scored.reward
        trained_N = torch.zeros_like(takes_part_N)
        trained_N[rows] = overlong_filter(batch, self.settings.truncated)[1]
        if not bool(trained_N.any()):
            raise BatchError(
                f"step {step}: no response is left to train on, because leanthink.truncated is "
                f"{self.settings.truncated} and they were cut by their limit; raise data.max_response_length or the "
                "recipe's limit, or set leanthink.truncated=keep"
            )
        if self.settings.truncated != "keep":
            metrics["filtered_share"] = float((takes_part_N & ~trained_N).double().mean())
        if LIMIT in batch.extras:
            metrics[LIMIT] = float(batch.column(LIMIT).mean())
        return reward_N, trained_N, {**metrics, **scored.metrics}

    def tags(self, facts: list[dict[str, Any]], uids: list[str]) -> list[str]:
        """The prompt of each response, with what the advantage estimator must know beside its reward."""
        masked, reads_correct = self.settings.truncated == "mask", self.recipe.advantage.reads_correct
        return [
            tagged(
                uid,
                counted=masked and fact["truncated"] == 1 and self._takes_part(fact),
                correct=reads_correct and fact["acc"] == 1,
            )
            for fact, uid in zip(facts, uids, strict=True)
        ]

    def tells_apart(self, facts: list[dict[str, Any]], step: int) -> bool:
        """Whether the reward, at its present state, differs within one group."""
        self.resume(step)
        known = [fact for fact in facts if self._takes_part(fact)]
        if len(known) < 2:
            return False
        reward_N = self.recipe.reward.breakdown(self._batch(known, ["one"] * len(known), step), self._state).reward
        return float(reward_N.max() - reward_N.min()) > NO_SPREAD

    def _takes_part(self, fact: dict[str, Any]) -> bool:
        """Whether a response is scored at all."""
        return fact["unknown"] == 0 or self.settings.unknown == "wrong"

    def _batch(self, facts: list[dict[str, Any]], uids: list[str], step: int) -> RolloutBatch:
        rows = [
            {"correct": fact["acc"], **{name: fact[name] for name in fact if name not in NOT_COLUMNS}} for fact in facts
        ]
        return batch_of_facts(rows, uids, step - 1)


def unknown_metrics(facts: list[dict[str, Any]]) -> dict[str, float]:
    """The share of unknown verdicts, overall and by reason, and the seconds spent on judging."""
    count = max(len(facts), 1)
    metrics = {
        "unknown_share": sum(fact["unknown"] for fact in facts) / count,
        "verify_seconds": float(sum(fact["verify_seconds"] for fact in facts)),
    }
    for fact in facts:
        if fact["unknown"]:
            key = fact["reason"]
            metrics[key] = metrics.get(key, 0.0) + 1 / count
    return metrics


def _reasons(facts: list[dict[str, Any]]) -> str:
    reasons = [fact["reason"] for fact in facts if fact["unknown"]]
    return ", ".join(f"{reasons.count(reason)} x {reason}" for reason in sorted(set(reasons)))


class _Shaping:
    """Adds shaping to one of verl's replay buffers; use the class that fits the trainer mode."""

    shaper: Shaper

    def __init__(self, *, sampler_kwargs: Any, refill_fn: Callable[[int], Any], **kwargs: Any) -> None:
        """Takes verl's arguments; ours come through ``trainer.v1.sampler.sampler_kwargs``."""
        plugin.check_registered()
        settings = Settings.read(sampler_kwargs[NAME])
        run = sampler_kwargs["run"]
        self._group_loss = GroupLoss.of(settings, kwargs.get("refill_fn"))
        resume_from = run["resume_from"] if run["resume_mode"] == "resume_path" else None
        self.shaper = Shaper(
            settings, Path(run["checkpoints"]).absolute(), Path(resume_from).absolute() if resume_from else None
        )
        self._refill = BoundedRefill(refill_fn, _prompts_a_step(run))
        dispatch.use(self.shaper)
        self._keeps_all_correct = _metric(run) == ACC_THEN_REWARD
        if self._keeps_all_correct and self.shaper.recipe.reward.scope > Scope.GROUP:
            raise ConfigError(
                f"algorithm.filter_groups.metric is {ACC_THEN_REWARD}, but the reward of recipe "
                f"{settings.recipe} compares groups with each other; filter with metric acc"
            )
        self._told_apart: dict[str, bool] = {}  # all-correct groups by id, so that each is scored once
        super().__init__(  # type: ignore[call-arg]  # the replay buffer that a subclass adds
            sampler_kwargs=sampler_kwargs,
            poll_interval=settings.poll_interval,
            refill_fn=self._refill,
            **kwargs,
            **_filtering(run, self),
        )

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """A batch of finished groups; in training, with shaped rewards and our metrics."""
        self._refill.asked = 0
        batch, metrics = super().sample(  # type: ignore[misc]
            global_steps=global_steps, partition_id=partition_id, batch_size=batch_size
        )
        if partition_id != "train":
            return batch, metrics
        self._told_apart.clear()
        if self.shaper.settings.sort_by_length:
            lengths = [tag["seq_len"] for tag in batch.tags]
            batch.reorder(sorted(range(len(lengths)), key=lengths.__getitem__))
        if self._group_loss is not None:
            batch = self._group_loss.arrange(batch)
        return batch, {**metrics, **self._shape(batch, global_steps)}

    def _terminal_eviction_reasons(self, global_steps: int, partition_id: str) -> Any:
        """verl's, but for all-correct groups that the reward tells apart, where the filter's metric keeps them."""
        stale, alike, failed, counts = super()._terminal_eviction_reasons(global_steps, partition_id)  # type: ignore[misc]
        if not self._keeps_all_correct or not alike:
            return stale, alike, failed, counts
        values = self._dapo_classification_cache[partition_id]  # type: ignore[attr-defined]
        kept = {uid for uid in alike if values[uid] == 1 and self._tells_apart(uid, partition_id, global_steps)}
        return stale, alike - kept, failed, counts - Counter({1.0: len(kept)})

    def _tells_apart(self, uid: str, partition_id: str, step: int) -> bool:
        if uid not in self._told_apart:
            keys = [key for key in self.partitions[partition_id] if key.split("_")[0] == uid]  # type: ignore[attr-defined]
            data = tq.kv_batch_get(keys=keys, partition_id=partition_id, select_fields=["extra_fields"])
            facts = [_plain(fields)["reward_extra_info"] for fields in data["extra_fields"]]
            self._told_apart[uid] = self.shaper.tells_apart(facts, step)
        return self._told_apart[uid]

    def _shape(self, batch: KVBatchMeta, step: int) -> dict[str, float]:
        keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
        wanted = [*FIELDS, *(self._group_loss.reads if self._group_loss is not None else ())]
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=wanted)
        extra_fields = [_plain(fields) for fields in data["extra_fields"]]
        for key, fields in zip(keys, extra_fields, strict=True):
            if "unknown" not in fields.get("reward_extra_info", {}):
                raise ConfigError(
                    f"response {key} carries no facts; set reward.reward_manager to leanthink's, as "
                    "`leanthink show RECIPE --verl` prints it"
                )
        facts = [fields["reward_extra_info"] for fields in extra_fields]
        uids = [str(_plain(uid)) for uid in data["uid"]]
        reward_N, takes_part_N, metrics = self.shaper.shape(facts, uids, step)
        self._write(keys, batch.partition_id, data, reward_N, takes_part_N)
        if self._group_loss is not None:
            correct_N = torch.tensor([fact["acc"] for fact in facts], dtype=torch.float64)
            metrics |= self._group_loss.write(batch, keys, data, uids, correct_N, reward_N, takes_part_N)
        if (tags := self.shaper.tags(facts, uids)) != uids:
            fields = TensorDict({"uid": NonTensorStack(*tags)}, batch_size=len(keys))
            tq.kv_batch_put(keys=keys, partition_id=batch.partition_id, fields=fields)
        return {f"leanthink/{name}": value for name, value in metrics.items()}

    def _write(self, keys: list[str], partition: str, data: Any, reward_N: Tensor, takes_part_N: Tensor) -> None:
        """The shaped reward at each response's last token; nothing left to train on where it takes no part."""
        scores, masks = [], []
        for score, mask, reward, takes_part in zip(
            data["rm_scores"].unbind(), data["response_mask"].unbind(), reward_N, takes_part_N, strict=True
        ):
            shaped = torch.zeros_like(score)
            shaped[-1] = reward
            scores.append(shaped)
            masks.append(mask if takes_part else torch.zeros_like(mask))
        fields = {"rm_scores": _jagged(scores)}
        if not bool(takes_part_N.all()):
            fields |= {"response_mask": _jagged(masks), "loss_mask": _jagged(masks)}
        tq.kv_batch_put(keys=keys, partition_id=partition, fields=TensorDict(fields, batch_size=len(keys)))


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


def _jagged(rows: list[Tensor]) -> Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def _plain(value: Any) -> Any:
    """The object itself where the queue has wrapped it."""
    return getattr(value, "data", value)


def _prompts_a_step(run: Any) -> int:
    """How many prompts may take the place of filtered ones: ``max_num_gen_batches`` training batches."""
    filter_groups = run["filter_groups"] or {}
    batches = filter_groups.get("max_num_gen_batches", 0) if filter_groups.get("enable") else 0
    return int(batches) * int(run["train_batch_size"])


def _metric(run: Any) -> str | None:
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


def _filtering(run: Any, sampler: Any) -> dict[str, Any]:
    """What verl gives its own replay buffers, but no custom one, for filtering groups as DAPO does."""
    metric = _metric(run)
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


class ShapingReplayBuffer(_Shaping, ReplayBuffer):  # type: ignore[misc]  # verl is untyped
    """For ``trainer.v1.trainer_mode=sync``."""


class ShapingReplayBufferAsync(_Shaping, ReplayBufferAsync):  # type: ignore[misc]  # verl is untyped
    """For the async trainer modes."""
