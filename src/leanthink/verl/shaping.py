"""The sampler: shapes whole prompt groups on the driver, once per training step, in every trainer mode.

verl hands the sampler finished groups; it reads their facts, runs the recipe's reward tree, writes the shaped rewards
back as ``rm_scores`` and returns the metrics. Validation passes through untouched.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transfer_queue as tq
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from leanthink.batch import RolloutBatch
from leanthink.errors import BatchError, ConfigError
from leanthink.module import State
from leanthink.placement import Placement, token_rewards
from leanthink.recipe import Recipe
from leanthink.rewards.probed import probed_part
from leanthink.scoring import ScoredStep, batch_of_facts, score_step
from leanthink.verl import plugin
from leanthink.verl.checkpoint import load_state
from leanthink.verl.probes import PROBED, check_known, columns_of, probe_metrics
from leanthink.verl.settings import NAME, Settings

logger = logging.getLogger(__name__)

FIELDS = ("rm_scores", "response_mask", "extra_fields", "uid")
NOT_COLUMNS = frozenset({"acc", "unknown", "verify_seconds", "pred", "reason"})


class Shaped(NamedTuple):
    """A batch shaped: its rewards (N,), where some of them fall, whether each response takes part (N,), metrics."""

    reward_N: Tensor
    takes_part_N: Tensor
    metrics: dict[str, float]
    placement: Placement | None = None


class Shaper:
    """The recipe at work on one trainer's batches; holds the only mutable reward state of a run."""

    def __init__(self, settings: Settings, checkpoints: Path, resume_from: Path | None = None) -> None:
        """Takes the folder of verl's checkpoints, and one checkpoint where the run starts from a named one."""
        self.settings = settings
        self.recipe: Recipe = settings.build()
        self._checkpoints = checkpoints
        self._resume_from = resume_from
        self._state: State | None = None

    @property
    def state(self) -> State:
        """The reward state after the last step."""
        return self.recipe.reward.init() if self._state is None else self._state

    def resume(self, step: int) -> None:
        """Read the state that belongs before ``step`` (from 1), once; a run that starts at 1 has none to read."""
        if self._state is not None:
            return
        if step <= 1:
            self._state = self.recipe.reward.init()
            return
        folder = self._resume_from or self._checkpoints / f"global_step_{step - 1}"
        self._state = load_state(folder, self.settings)

    def shape(self, facts: list[dict[str, Any]], uids: list[str], step: int) -> Shaped:
        """Shape one batch.

        Args:
            facts: what the reward manager returned for each response.
            uids: the prompt of each response.
            step: verl's global step, from 1.

        Returns:
            The rewards, whether each response takes part, and the metrics.
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
        takes_part_N = ~unknown_N if self.settings.unknown == "mask" else torch.ones_like(unknown_N)
        rows = takes_part_N.nonzero().squeeze(-1).tolist()
        reward_N = torch.zeros(len(facts), dtype=torch.float64)
        if not rows:
            return Shaped(reward_N, takes_part_N, metrics)
        batch = self._batch([facts[row] for row in rows], [uids[row] for row in rows], step)
        scored: ScoredStep = score_step(self.recipe, batch, self._state)
        self._state = scored.state
        reward_N[rows] = scored.reward
        placement = None if scored.placement is None else scored.placement.renumbered(torch.tensor(rows))
        return Shaped(reward_N, takes_part_N, {**metrics, **scored.metrics}, placement)

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

    def __init__(self, *, sampler_kwargs: Any, **kwargs: Any) -> None:
        """Takes verl's arguments; ours come through ``trainer.v1.sampler.sampler_kwargs``."""
        plugin.check_registered()
        settings = Settings.read(sampler_kwargs[NAME])
        run = sampler_kwargs["run"]
        resume_from = run["resume_from"] if run["resume_mode"] == "resume_path" else None
        self.shaper = Shaper(
            settings, Path(run["checkpoints"]).absolute(), Path(resume_from).absolute() if resume_from else None
        )
        super().__init__(  # type: ignore[call-arg]  # the replay buffer that a subclass adds
            sampler_kwargs=sampler_kwargs, poll_interval=settings.poll_interval, **kwargs, **_filtering(run, self)
        )

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """A batch of finished groups; in training, with shaped rewards and our metrics."""
        batch, metrics = super().sample(  # type: ignore[misc]
            global_steps=global_steps, partition_id=partition_id, batch_size=batch_size
        )
        if partition_id != "train":
            return batch, metrics
        if self.shaper.settings.sort_by_length:
            lengths = [tag["seq_len"] for tag in batch.tags]
            batch.reorder(sorted(range(len(lengths)), key=lengths.__getitem__))
        return batch, {**metrics, **self._shape(batch, global_steps)}

    def _shape(self, batch: KVBatchMeta, step: int) -> dict[str, float]:
        keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=list(FIELDS))
        extra_fields = [_plain(fields) for fields in data["extra_fields"]]
        for key, fields in zip(keys, extra_fields, strict=True):
            if "unknown" not in fields.get("reward_extra_info", {}):
                raise ConfigError(
                    f"response {key} carries no facts; set reward.reward_manager to leanthink's, as "
                    "`leanthink show RECIPE --verl` prints it"
                )
        facts = [fields["reward_extra_info"] for fields in extra_fields]
        metrics: dict[str, float] = {}
        if probed_part(self.shaper.recipe.reward) is not None:
            probed = [_probed(key, fields) for key, fields in zip(keys, extra_fields, strict=True)]
            metrics = probe_metrics(probed, [fact["length"] for fact in facts])
            check_known(metrics, self.shaper.settings.max_unknown, step)
            facts = [{**fact, **columns_of(one)} for fact, one in zip(facts, probed, strict=True)]
        uids = [str(_plain(uid)) for uid in data["uid"]]
        shaped = self.shaper.shape(facts, uids, step)
        self._write(keys, batch.partition_id, data, shaped)
        return {f"leanthink/{name}": value for name, value in {**metrics, **shaped.metrics}.items()}

    def _write(self, keys: list[str], partition: str, data: Any, shaped: Shaped) -> None:
        """The shaped rewards at their tokens; nothing left to train on where a response takes no part."""
        lengths_N = data["rm_scores"].offsets().diff()
        reward_NT = token_rewards(shaped.reward_N, lengths_N, shaped.placement).to(data["rm_scores"].dtype)
        fields = {"rm_scores": _jagged([row[:length] for row, length in zip(reward_NT, lengths_N, strict=True)])}
        takes_part_N = shaped.takes_part_N
        masks = [
            mask if takes_part else torch.zeros_like(mask)
            for mask, takes_part in zip(data["response_mask"].unbind(), takes_part_N, strict=True)
        ]
        if not bool(takes_part_N.all()):
            fields |= {"response_mask": _jagged(masks), "loss_mask": _jagged(masks)}
        tq.kv_batch_put(keys=keys, partition_id=partition, fields=TensorDict(fields, batch_size=len(keys)))


def _jagged(rows: list[Tensor]) -> Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def _probed(key: str, fields: dict[str, Any]) -> dict[str, Any]:
    """What probing found about a response."""
    if fields.get(PROBED) is None:
        raise ConfigError(
            f"response {key} was not probed, and the recipe's reward reads probes; set "
            "actor_rollout_ref.rollout.agent.agent_loop_manager_class as `leanthink show RECIPE --verl` prints it, and "
            "let the data name no agent loop of their own"
        )
    probed: dict[str, Any] = fields[PROBED]
    return probed


def _plain(value: Any) -> Any:
    """The object itself where the queue has wrapped it."""
    return getattr(value, "data", value)


def _filtering(run: Any, sampler: Any) -> dict[str, Any]:
    """What verl gives its own replay buffers, but no custom one, for filtering groups as DAPO does."""
    filter_groups = run["filter_groups"] or {}
    metric = filter_groups.get("metric") if filter_groups.get("enable") else None
    if metric not in (None, "acc"):
        raise ConfigError(
            f"algorithm.filter_groups.metric is {metric!r}; set it to acc: groups are filtered on raw correctness, "
            "before a length penalty makes every group look informative"
        )
    arguments: dict[str, Any] = {
        "filter_groups_metric": metric,
        "sync_refill_failed_groups": bool(run["sync_refill_failed_groups"]),
    }
    if isinstance(sampler, ReplayBufferAsync):
        return arguments
    exact = metric is not None or arguments["sync_refill_failed_groups"]
    return arguments | {
        "train_batch_size": run["train_batch_size"],
        "gen_batch_size": 1 if exact else run["gen_batch_size"] or run["train_batch_size"],
        "max_inflight_gen_batches": filter_groups.get("max_inflight_gen_batches", 1),
    }


class ShapingReplayBuffer(_Shaping, ReplayBuffer):  # type: ignore[misc]  # verl is untyped
    """For ``trainer.v1.trainer_mode=sync``."""


class ShapingReplayBufferAsync(_Shaping, ReplayBufferAsync):  # type: ignore[misc]  # verl is untyped
    """For the async trainer modes."""
