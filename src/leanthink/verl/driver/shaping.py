"""The sampler: shapes whole prompt groups on the driver, once per training step, in every trainer mode.

verl hands the sampler finished groups; it reads their facts, runs the recipe's reward tree, writes the shaped rewards
back as ``rm_scores`` and returns the metrics. Validation passes through untouched.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
import transfer_queue as tq
from tensordict import NonTensorStack, TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from leanthink.algorithms import Advantage
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.limits import LIMIT, limit_tokens
from leanthink.core.placement import Placement, token_rewards
from leanthink.core.reward import Scope
from leanthink.recipe.definition import Recipe
from leanthink.recipe.scoring import ScoredStep, batch_of_facts, overlong_filter, score_step
from leanthink.rewards.probed import probed_part
from leanthink.verl.driver import dispatch
from leanthink.verl.driver.advantage import tagged
from leanthink.verl.driver.checkpoint import States, load_states
from leanthink.verl.driver.filtering import (
    ACC_THEN_REWARD,
    BoundedRefill,
    filter_metric,
    filtering_arguments,
    prompts_a_step,
)
from leanthink.verl.driver.grouping import GroupLoss, StepBatch
from leanthink.verl.driver.keeping import write_shaped
from leanthink.verl.driver.registered import check_registered
from leanthink.verl.rollout.facts import RESPONSE_KEY
from leanthink.verl.rollout.probes import PROBED, check_known, columns_of, probe_metrics
from leanthink.verl.settings import NAME, Settings

logger = logging.getLogger(__name__)

FIELDS = ("rm_scores", "response_mask", "extra_fields", "uid")
NOT_COLUMNS = frozenset({"acc", "unknown", "verify_seconds", "pred", "reason", RESPONSE_KEY})
NO_SPREAD: Final = 1e-6
"""Rewards of a group that differ by no more are equal but for rounding."""


class Shaped(NamedTuple):
    """A batch shaped: its rewards (N,), where some of them fall, whether each response takes part (N,), metrics.

    ``scored`` is what the recipe made of the responses ``rows``; ``left_out`` are those that an advantage with a memory
    did not choose.
    """

    reward_N: Tensor
    takes_part_N: Tensor
    metrics: dict[str, float]
    placement: Placement | None = None
    rows: Sequence[int] = ()
    scored: ScoredStep | None = None

    @property
    def left_out(self) -> frozenset[int]:
        """Rows that were scored, and not chosen."""
        chosen = None if self.scored is None else self.scored.chosen
        return frozenset() if chosen is None else frozenset(compress(self.rows, (~chosen).tolist()))


class Shaper:
    """The recipe at work on one trainer's batches; holds the only mutable reward state of a run."""

    def __init__(self, settings: Settings, checkpoints: Path, resume_from: Path | None = None) -> None:
        """Takes the folder of verl's checkpoints, and one checkpoint where the run starts from a named one."""
        self.settings = settings
        self.recipe: Recipe = settings.build()
        self._checkpoints = checkpoints
        self._resume_from = resume_from
        self._states: States | None = None

    @property
    def states(self) -> States:
        """What the recipe's parts remember after the last step."""
        return States.start(self.recipe) if self._states is None else self._states

    def resume(self, step: int) -> None:
        """Read the states that belong before ``step`` (from 1), once; a run that starts at 1 has none to read."""
        if self._states is not None:
            return
        if step <= 1:
            self._states = States.start(self.recipe)
            return
        folder = self._resume_from or self._checkpoints / f"global_step_{step - 1}"
        self._states = load_states(folder, self.settings, self.recipe, step - 1)

    def limits(self, prompts: Sequence[str], step: int) -> list[int]:
        """The recipe's limit (tokens) of each prompt at verl's global step, from 1."""
        if self.recipe.limit is None:
            raise ConfigError(f"recipe {self.recipe.name} has no limit to hand out; give it one, or use verl's manager")
        self.resume(step)
        limit, reward, states = self.recipe.limit, self.recipe.reward, self.states
        tokens = limit_tokens(limit, prompts, max(step - 1, 0), states.limit, reward, states.reward)
        return [max(1, round(one)) for one in tokens]

    def shape(self, facts: list[dict[str, Any]], uids: list[str], step: int) -> Shaped:
        """Shape one batch.

        Args:
            facts: what the reward manager returned for each response.
            uids: the prompt of each response.
            step: verl's global step, from 1.

        Returns:
            The rewards, whether each response is trained on, and the metrics.
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
        order = _group_order(facts, uids, step)
        rows = sorted(takes_part_N.nonzero().squeeze(-1).tolist(), key=order.__getitem__)
        reward_N = torch.zeros(len(facts), dtype=torch.float64)
        if not rows:
            return Shaped(reward_N, takes_part_N, metrics)
        batch = self._batch([facts[row] for row in rows], [uids[row] for row in rows], step)
        before = self.states
        scored = score_step(self.recipe, batch, before.reward, self.settings.truncated, before.advantage)
        limit_state = before.limit
        for event in scored.events:
            logger.warning("step %d, %s", step, event)
        if self.recipe.limit is not None:
            limit_state = self.recipe.limit.update(batch, limit_state)
            more = self.recipe.limit.shown(step - 1, limit_state)
            metrics |= {f"control/limit/{name}": value for name, value in more.items()}
        self._states = States(reward=scored.state, limit=limit_state, advantage=scored.advantage_state)
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
        placement = None if scored.placement is None else scored.placement.renumbered(torch.tensor(rows))
        return Shaped(reward_N, trained_N, {**metrics, **scored.metrics}, placement, rows, scored)

    def tags(self, facts: list[dict[str, Any]], uids: list[str], left_out: Collection[int] = ()) -> list[str]:
        """The prompt of each response, with what the advantage estimator must know beside its reward."""
        masked, advantage = self.settings.truncated == "mask", self.recipe.advantage
        reads_correct = isinstance(advantage, Advantage) and advantage.reads_correct
        return [
            tagged(
                uid,
                counted=masked and fact["truncated"] == 1 and self._takes_part(fact),
                correct=reads_correct and fact["acc"] == 1,
                left_out=row in left_out,
            )
            for row, (fact, uid) in enumerate(zip(facts, uids, strict=True))
        ]

    def tells_apart(self, facts: list[dict[str, Any]], step: int) -> bool:
        """Whether the reward, at its present state, differs within one group."""
        self.resume(step)
        known = [fact for fact in facts if self._takes_part(fact)]
        if len(known) < 2:
            return False
        reward_N = self.recipe.reward.breakdown(
            self._batch(known, ["one"] * len(known), step), self.states.reward
        ).reward
        return float(reward_N.max() - reward_N.min()) > NO_SPREAD

    def _takes_part(self, fact: dict[str, Any]) -> bool:
        """Whether a response is scored at all."""
        return fact["unknown"] == 0 or self.settings.unknown == "wrong"

    def _batch(self, facts: list[dict[str, Any]], uids: list[str], step: int) -> RolloutBatch:
        rows = [
            {"correct": fact["acc"], **{name: fact[name] for name in fact if name not in NOT_COLUMNS}} for fact in facts
        ]
        return batch_of_facts(rows, uids, step - 1)


def _group_order(facts: Sequence[Mapping[str, Any]], uids: Sequence[str], step: int) -> list[tuple[str, str, str]]:
    """By what responses are sorted for scoring: group by group, groups in an order drawn for the step.

    What goes by the order of groups, as ties may, must favour neither prompts that are answered quickly nor the same
    ones in every step; and a run that is done again must find the same order, which verl's random ids would not give.
    """
    names = [str(fact.get(RESPONSE_KEY, "")) for fact in facts]
    prompts = [name.partition("-")[0] for name in names]
    drawn = {one: hashlib.blake2b(f"{step} {one}".encode(), digest_size=8).hexdigest() for one in set(prompts)}
    return [(drawn[one], uid, name) for one, uid, name in zip(prompts, uids, names, strict=True)]


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
        check_registered()
        settings = Settings.read(sampler_kwargs[NAME])
        run = sampler_kwargs["run"]
        self._group_loss = GroupLoss.of(settings, refill_fn)
        resume_from = run["resume_from"] if run["resume_mode"] == "resume_path" else None
        self.shaper = Shaper(
            settings, Path(run["checkpoints"]).absolute(), Path(resume_from).absolute() if resume_from else None
        )
        self._rollouts = Path(run["rollouts"]).absolute() if run.get("rollouts") else None
        self._refill = BoundedRefill(refill_fn, prompts_a_step(run))
        dispatch.use(self.shaper)
        self._keeps_all_correct = filter_metric(run) == ACC_THEN_REWARD
        if self._keeps_all_correct and self.shaper.recipe.reward.scope > Scope.GROUP:
            raise ConfigError(
                f"algorithm.filter_groups.metric is {ACC_THEN_REWARD}, which looks at one group at a time, but the "
                f"reward of recipe {settings.recipe} reads the whole batch; filter with metric acc"
            )
        self._told_apart: dict[str, bool] = {}  # all-correct groups by id, so that each is scored once
        super().__init__(  # type: ignore[call-arg]  # the replay buffer that a subclass adds
            sampler_kwargs=sampler_kwargs,
            poll_interval=settings.poll_interval,
            refill_fn=self._refill,
            **kwargs,
            **filtering_arguments(run, self),
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
            length = batch.tags[row]["seq_len"] if self.shaper.settings.sort_by_length else 0
            return length, batch.keys[row] not in name_of, name_of.get(batch.keys[row], "")

        batch.reorder(sorted(range(len(batch.keys)), key=place))

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
        keys = _responses(batch)
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
        metrics: dict[str, float] = {}
        if probed_part(self.shaper.recipe.reward) is not None:
            probed = [_probed(key, fields) for key, fields in zip(keys, extra_fields, strict=True)]
            metrics = probe_metrics(probed, [fact["length"] for fact in facts])
            check_known(metrics, self.shaper.settings.max_unknown, step)
            facts = [{**fact, **columns_of(one)} for fact, one in zip(facts, probed, strict=True)]
        uids = [str(_plain(uid)) for uid in data["uid"]]
        shaped = self.shaper.shape(facts, uids, step)
        metrics |= shaped.metrics
        self._write(keys, batch.partition_id, data, shaped)
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
        if (tags := self.shaper.tags(facts, uids, shaped.left_out)) != uids:
            fields = TensorDict({"uid": NonTensorStack(*tags)}, batch_size=len(keys))
            tq.kv_batch_put(keys=keys, partition_id=batch.partition_id, fields=fields)
        return {f"leanthink/{name}": value for name, value in metrics.items()}

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
