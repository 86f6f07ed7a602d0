"""The sampler: shapes whole prompt groups on the driver, once per training step, in every trainer mode.

verl hands the sampler finished groups; it reads their facts, runs the recipe's reward tree, writes the shaped rewards
back as ``rm_scores`` and returns the metrics. Validation passes through untouched.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transfer_queue as tq
from tensordict import NonTensorStack, TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from leanthink.algorithms import VerlAdvantage
from leanthink.core.errors import ConfigError
from leanthink.core.placement import flat_token_rewards
from leanthink.core.reward import Reward, Scope
from leanthink.rewards import EasyShare
from leanthink.rewards.probed import probed_part
from leanthink.training.filtering import ACC_THEN_REWARD
from leanthink.training.keeping import write_shaped
from leanthink.training.names import RESPONSE_KEY
from leanthink.training.shaper import Shaped, Shaper
from leanthink.verl import LAST_FIELD, NAME
from leanthink.verl.driver import dispatch
from leanthink.verl.driver.advantage import tagged
from leanthink.verl.driver.filtering import BoundedRefill, filter_metric, filtering_arguments, prompts_a_step
from leanthink.verl.driver.grouping import GroupLoss, StepBatch
from leanthink.verl.driver.lost import end_without_queue
from leanthink.verl.driver.place import check_cluster, prepare_folder
from leanthink.verl.driver.registered import check_registered
from leanthink.verl.rollout.probes import PROBED, check_known, columns_of, probe_metrics
from leanthink.verl.settings import Settings

logger = logging.getLogger(__name__)

FIELDS = ("extra_fields", "uid")  # nothing by token: at 65,536 responses that would be gigabytes


def checkpoint_before(checkpoints: str, resume_from: str | None, step: int) -> Path:
    """The checkpoint that a run which goes on at ``step`` has resumed: a named one, or the one of the step before."""
    return Path(resume_from or f"{checkpoints}/global_step_{step - 1}").absolute()


def easy_part(reward: Reward) -> EasyShare | None:
    """Who says how many always-solved prompts a batch may have; None for nobody.

    Raises:
        ConfigError: it is a part of another: its state would have no place that the sampler knows.
    """
    if isinstance(reward, EasyShare):
        return reward
    if any(isinstance(part, EasyShare) for part in reward.walk()):
        raise ConfigError(
            f"easy_share is a part of {type(reward).__name__}; let it be the whole reward, with the rest in its `of`"
        )
    return None


class _Shaping:
    """Adds shaping to one of verl's replay buffers; use the class that fits the trainer mode."""

    shaper: Shaper

    def __init__(self, *, sampler_kwargs: Any, refill_fn: Callable[[int], Any], **kwargs: Any) -> None:
        """Takes verl's arguments; ours come through ``trainer.v1.sampler.sampler_kwargs``."""
        check_registered()
        settings = Settings.read(sampler_kwargs[NAME])
        run = sampler_kwargs["run"]
        if settings.check_cluster and run.get("gpus"):
            check_cluster(int(run["nodes"]), int(run["gpus"]))
        if run.get("folder"):
            prepare_folder(Path(run["folder"]), settings)
        self._group_loss = GroupLoss.of(settings, refill_fn)
        self._sort_by_length = settings.sort_by_length
        resume_from = run["resume_from"] if run["resume_mode"] == "resume_path" else None
        self.shaper = Shaper(settings, functools.partial(checkpoint_before, run["checkpoints"], resume_from))
        self._rollouts = Path(run["rollouts"]).absolute() if run.get("rollouts") else None
        self._refill = BoundedRefill(refill_fn, prompts_a_step(run))
        dispatch.use(self.shaper)
        self._keeps_all_correct = filter_metric(run) == ACC_THEN_REWARD
        if self._keeps_all_correct and self.shaper.recipe.reward.scope > Scope.GROUP:
            raise ConfigError(
                f"algorithm.filter_groups.metric is {ACC_THEN_REWARD}, which looks at one group at a time, but the "
                f"reward of recipe {settings.recipe} reads the whole batch; filter with metric acc"
            )
        self._easy = easy_part(self.shaper.recipe.reward)
        self._told_apart: dict[str, bool] = {}  # all-correct groups by id, so that each is scored once
        super().__init__(  # type: ignore[call-arg]  # the replay buffer that a subclass adds
            sampler_kwargs=sampler_kwargs,
            poll_interval=settings.poll_interval,
            refill_fn=self._refill,
            **kwargs,
            **filtering_arguments(run, self),
        )
        end_without_queue()

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """A batch of finished groups; in training, with shaped rewards and our metrics."""
        self._refill.asked = 0
        batch, metrics = super().sample(  # type: ignore[misc]
            global_steps=global_steps, partition_id=partition_id, batch_size=batch_size
        )
        if partition_id != "train":
            return batch, metrics
        self._told_apart.clear()
        self._order(batch)
        if self._group_loss is not None:
            batch = self._group_loss.arrange(batch)
        return batch, {**metrics, **self._shape(batch, global_steps)}

    def _order(self, batch: KVBatchMeta) -> None:
        """Put a batch into an order of its own: the one responses come in differs from run to run.

        Sums are then taken in the same order, and tables of limited size forget the same prompts.
        """
        keys = _responses(batch)
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
        facts = [_plain(fields).get("reward_extra_info", {}) for fields in data["extra_fields"]]
        name_of = {key: str(fact.get(RESPONSE_KEY, "")) for key, fact in zip(keys, facts, strict=True)}

        def place(row: int) -> tuple[int, bool, str]:
            length = batch.tags[row]["seq_len"] if self._sort_by_length else 0
            return length, batch.keys[row] not in name_of, name_of.get(batch.keys[row], "")

        batch.reorder(sorted(range(len(batch.keys)), key=place))

    def _terminal_eviction_reasons(self, global_steps: int, partition_id: str) -> Any:
        """verl's, but for all-correct groups that the filter's metric, or the reward's share of easy prompts, keeps."""
        stale, alike, failed, counts = super()._terminal_eviction_reasons(global_steps, partition_id)  # type: ignore[misc]
        if not alike or not (self._keeps_all_correct or self._easy is not None):
            return stale, alike, failed, counts
        values = self._dapo_classification_cache[partition_id]  # type: ignore[attr-defined]
        solved = sorted(uid for uid in alike if values[uid] == 1)
        if self._keeps_all_correct:
            kept = {uid for uid in solved if self._tells_apart(uid, partition_id, global_steps)}
        else:
            kept = set(solved[: self._easy_groups(len(values.keys() - alike - failed - stale), len(solved))])
        return stale, alike - kept, failed, counts - Counter({1.0: len(kept)})

    def _easy_groups(self, mixed: int, solved: int) -> int:
        """How many of the solved groups may stay beside so many that are neither all right nor all wrong."""
        return 0 if self._easy is None else self._easy.kept(mixed, solved, self.shaper.states.reward)

    def _tells_apart(self, uid: str, partition_id: str, step: int) -> bool:
        if uid not in self._told_apart:
            keys = [key for key in self.partitions[partition_id] if key.split("_")[0] == uid]  # type: ignore[attr-defined]
            data = tq.kv_batch_get(keys=keys, partition_id=partition_id, select_fields=["extra_fields"])
            facts = [_plain(fields)["reward_extra_info"] for fields in data["extra_fields"]]
            self._told_apart[uid] = self.shaper.tells_apart(facts, step)
        return self._told_apart[uid]

    def _shape(self, batch: KVBatchMeta, step: int) -> dict[str, float]:
        keys = _responses(batch)
        by_token = () if self._group_loss is None else ("response_mask", *self._group_loss.reads)
        wanted = [*FIELDS, *by_token]
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=wanted)
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
        metrics |= shaped.metrics
        lengths = {key: tag.get("response_len", 0) for key, tag in zip(batch.keys, batch.tags, strict=True)}
        length_N = torch.tensor([lengths[key] for key in keys])
        last_N = torch.tensor(
            [int(fields.get(LAST_FIELD) or lengths[key]) for key, fields in zip(keys, extra_fields, strict=True)]
        )
        self._write(keys, batch.partition_id, length_N, last_N, shaped)
        if self._rollouts is not None:
            write_shaped(self._rollouts, step, keys, facts, shaped.rows, shaped.scored)
        if self._group_loss is not None:
            metrics |= self._group_loss.write(
                StepBatch(
                    batch=batch,
                    keys=keys,
                    data=data,
                    uids=uids,
                    correct_N=torch.tensor([fact["acc"] for fact in facts], dtype=torch.float64),
                    reward_N=shaped.reward_N,
                    takes_part_N=shaped.takes_part_N,
                    facts=facts,
                )
            )
        if isinstance(self.shaper.recipe.advantage, VerlAdvantage):
            # verl's own reads groups by id alone: who takes no part in the statistics is a group of its own.
            taking_part = shaped.takes_part_N.tolist()
            tags = [uid if part else f"{uid}/{key}" for uid, key, part in zip(uids, keys, taking_part, strict=True)]
        else:
            marks = self.shaper.marks(facts, shaped)
            tags = [tagged(uid, mark) for uid, mark in zip(uids, marks, strict=True)]
        if tags != uids:
            fields = TensorDict({"uid": NonTensorStack(*tags)}, batch_size=len(keys))
            tq.kv_batch_put(keys=keys, partition_id=batch.partition_id, fields=fields)
        return {f"leanthink/{name}": value for name, value in metrics.items()}

    def _write(self, keys: list[str], partition: str, length_N: Tensor, last_N: Tensor, shaped: Shaped) -> None:
        """The shaped rewards at their tokens; nothing left to train on where a response takes no part.

        What falls on no single token falls on the last that the policy wrote (``last_N`` tokens up to there): at a
        masked one it would be lost.
        """
        reward = flat_token_rewards(shaped.reward_N, length_N, shaped.placement, last_N)
        fields = TensorDict({"rm_scores": _jagged(reward, length_N)}, batch_size=len(keys))
        tq.kv_batch_put(keys=keys, partition_id=partition, fields=fields)
        left_out = (~shaped.takes_part_N).nonzero().squeeze(-1)
        if len(left_out):
            length_M = length_N[left_out]
            mask = _jagged(torch.zeros(int(length_M.sum()), dtype=torch.int64), length_M)
            tq.kv_batch_put(
                keys=[keys[row] for row in left_out.tolist()],
                partition_id=partition,
                fields=TensorDict({"response_mask": mask, "loss_mask": mask}, batch_size=len(left_out)),
            )


def _jagged(values: Tensor, length_N: Tensor) -> Tensor:
    """Rows of these lengths, which lie behind each other in ``values``."""
    offsets = torch.cat([length_N.new_zeros(1), length_N.cumsum(0)])
    return torch.nested.nested_tensor_from_jagged(values, offsets)


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


def _responses(batch: KVBatchMeta) -> list[str]:
    """The keys of a batch's rows that are no padding."""
    return [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]


def _plain(value: Any) -> Any:
    """The object itself where the queue has wrapped it."""
    return getattr(value, "data", value)


class ShapingReplayBuffer(_Shaping, ReplayBuffer):  # type: ignore[misc]  # verl is untyped
    """For ``trainer.v1.trainer_mode=sync``."""


class ShapingReplayBufferAsync(_Shaping, ReplayBufferAsync):  # type: ignore[misc]  # verl is untyped
    """For the async trainer modes."""
