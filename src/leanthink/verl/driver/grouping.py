"""The driver's side of a loss of ours, which may see whole prompt groups: order the batch, write fields, install it.

verl's V1 trainer always deals responses out to ranks by length, which tears prompt groups, and has no switch for it. So
the sampler hands it a batch in whole groups that keeps its order. ``_N`` responses.
"""

from __future__ import annotations

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
from verl.utils.config import omega_conf_to_dataclass

from leanthink.algorithms import AdaptThink, Degrpo, Drpo, Loss, MasteredTokenMask, ModeSwitch, PpoClip, VerlLoss
from leanthink.algorithms.drpo import shortest_weight
from leanthink.core.errors import BatchError, ConfigError, DependencyError
from leanthink.core.groups import group_codes, group_max
from leanthink.recipe.definition import Recipe
from leanthink.recipe.registry import name_of
from leanthink.rewards import AdaptThinkReward, ModeSwitchReward
from leanthink.rewards.mode_switch_reward import preferred_modes
from leanthink.rewards.opened import MODE
from leanthink.training.sampling import only_part
from leanthink.verl.settings import Settings
from leanthink.verl.update import first_token, losses, variants
from leanthink.verl.update.arrangement import MINI, N, require

Ours = TypeVar("Ours", bound=Loss)

SAMPLED: Final = "rollout_log_probs"
"""The log-probabilities at sampling: the old policy's where verl computes none of its own, else close to them."""


class WholeGroups(KVBatchMeta):  # type: ignore[misc]  # the queue is untyped
    """A batch in whole prompt groups, which stays as it is."""

    def reorder(self, indexes: list[int]) -> None:
        """Keep the order: verl asks for another only to balance lengths over ranks."""


def in_whole_groups(
    batch: KVBatchMeta, rollouts: int, prompts: int, pad: Callable[[KVBatchMeta, int], KVBatchMeta]
) -> WholeGroups:
    """The batch prompt by prompt, each of ``rollouts`` rows, the number of prompts a multiple of ``prompts``.

    Where rollouts have failed, and where prompts are too few, empty rows fill up: verl splits a batch by numbers of
    rows alone.

    Args:
        batch: rows of whole groups in any order; a key begins with its prompt's id.
        rollouts: rows of a group.
        prompts: groups of a mini-batch.
        pad: appends empty rows to a batch until it has so many.

    Raises:
        BatchError: a prompt has more rows than rollouts.
    """
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(batch.keys):
        rows.setdefault(key.split("_")[0], []).append(row)
    if crowded := [uid for uid, members in rows.items() if len(members) > rollouts]:
        raise BatchError(
            f"prompt {crowded[0]} has {len(rows[crowded[0]])} responses, more than rollout.n = {rollouts}, and the "
            "loss sees whole groups; use an agent loop with one output a rollout, or another loss (drpo: "
            "form=advantage)"
        )
    groups = -(-len(rows) // prompts) * prompts
    padded = pad(batch, groups * rollouts)
    spare = iter(range(len(batch.keys), groups * rollouts))
    order: list[int] = []
    for members in [*rows.values(), *([] for _ in range(groups - len(rows)))]:
        order += [*members, *itertools.islice(spare, rollouts - len(members))]
    return WholeGroups(
        keys=[padded.keys[row] for row in order],
        tags=[padded.tags[row] for row in order],
        partition_id=padded.partition_id,
        fields=padded.fields,
        extra_info=padded.extra_info,
    )


@dataclass(frozen=True, kw_only=True)
class StepBatch:
    """What is known of a step's responses when the loss's fields are written.

    Attributes:
        batch: all rows.
        keys: those that are no padding, in the batch's order, as are all the following.
        data: their ``response_mask`` and what else the loss ``reads``.
        uids: their prompts.
        correct_N: raw verdicts.
        reward_N: the recipe's rewards.
        takes_part_N: whether the verdict is known.
        facts: what is known of each response; only some losses need to know more.
    """

    batch: KVBatchMeta
    keys: list[str]
    data: Any
    uids: Sequence[str]
    correct_N: Tensor
    reward_N: Tensor
    takes_part_N: Tensor
    facts: Sequence[Mapping[str, Any]] = ()

    @property
    def group_N(self) -> Tensor:
        """A number for each response's prompt, counting up."""
        return group_codes(self.uids)

    @property
    def complete_N(self) -> Tensor:
        """Whether each response is correct and was not truncated: an answer that stands before the cut is none."""
        return (self.correct_N == 1) & torch.tensor([fact["truncated"] == 0 for fact in self.facts], dtype=torch.bool)

    def put(self, fields: Mapping[str, Tensor]) -> None:
        """Write fields of the responses into verl's queue."""
        _put(self.keys, self.batch.partition_id, fields)

    def put_whole(self, fields: Mapping[str, Tensor], rollouts: int) -> None:
        """Write fields into all rows, 0 into padding, together with each row's group."""
        row_of = {key: row for row, key in enumerate(self.batch.keys)}
        at_N = torch.tensor([row_of[key] for key in self.keys])
        rows = len(self.batch)
        wide = {name: torch.zeros(rows).double().index_copy_(0, at_N, values_N) for name, values_N in fields.items()}
        _put(self.batch.keys, self.batch.partition_id, {losses.GROUP: torch.arange(rows) // rollouts, **wide})


def _put(keys: list[str], partition: str, fields: Mapping[str, Tensor]) -> None:
    tq.kv_batch_put(keys=keys, partition_id=partition, fields=TensorDict(dict(fields), batch_size=len(keys)))


class GroupLoss(ABC, Generic[Ours]):
    """A loss of ours, seen from the driver."""

    def __init__(self, loss: Ours, recipe: Recipe, trainer: Any) -> None:
        """Takes the recipe's loss, the recipe, and the trainer whose batches and workers it is for."""
        self.loss, self.recipe = loss, recipe
        self._trainer = trainer
        self._rollouts = int(OmegaConf.select(trainer.config, N))
        self._prompts = int(OmegaConf.select(trainer.config, MINI))
        self._installed = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The fields of a response that :meth:`write` needs beside ``response_mask``."""
        return ()

    @classmethod
    def of(cls, settings: Settings, refill_fn: Any) -> GroupLoss[Any] | None:
        """The run's loss, if it is ours; None where verl's own does it.

        Args:
            settings: of the run.
            refill_fn: the trainer's method that verl gives its samplers; the one way from a sampler to its trainer.

        Raises:
            ConfigError: verl's configuration does not suit the loss.
            DependencyError: this verl gives samplers no method of its trainer.
        """
        recipe = settings.build()
        loss = recipe.loss
        if isinstance(loss, PpoClip | VerlLoss):
            return None
        label = f"loss {name_of(type(loss))}"
        kind = _KINDS[type(loss)]
        kind.check(recipe)
        trainer: Any = getattr(refill_fn, "__self__", None)
        if not hasattr(trainer, "config"):
            raise DependencyError(
                f"{label}: the sampler was given {refill_fn!r} instead of a method of verl's trainer, so the loss "
                "cannot reach the workers; this version of leanthink fits verl 0.9.x, install that or update leanthink"
            )
        require(loss, functools.partial(OmegaConf.select, trainer.config), settings.sort_by_length)
        return kind(loss, recipe, trainer)

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Refuse a recipe whose other parts do not give the loss what it needs."""

    def install(self) -> None:
        """Give the training workers the loss, once, as verl gives its critics theirs."""
        if self._installed:
            return
        workers: Any = getattr(self._trainer, "actor_rollout_wg", None)
        if not hasattr(workers, "set_loss_fn"):
            raise DependencyError(
                f"loss {name_of(type(self.loss))}: verl's trainer has no actor_rollout_wg.set_loss_fn any more; this "
                "version of leanthink fits verl 0.9.x, install that or update leanthink"
            )
        workers.set_loss_fn(self._function())
        self._installed = True

    def arrange(self, batch: KVBatchMeta) -> KVBatchMeta:
        """The batch in the order that the loss needs."""
        if not self.loss.whole_groups:
            return batch

        def pad(short: KVBatchMeta, rows: int) -> KVBatchMeta:
            return upsample_batch_to_divisible_size(short, rows, self._trainer.tokenizer.eos_token_id)

        return in_whole_groups(batch, self._rollouts, self._prompts, pad)

    def write(self, step: StepBatch) -> dict[str, float]:
        """Write what the loss needs to know of each response, and return the driver's metrics."""
        self.install()
        return self._write(step)

    @abstractmethod
    def _function(self) -> Callable[..., Any]:
        """The loss, to be pickled and sent to the workers."""

    @abstractmethod
    def _write(self, step: StepBatch) -> dict[str, float]:
        """What :meth:`write` does."""

    def _actor(self) -> Any:
        """verl's configuration of the actor, for a loss that calls verl's own."""
        node = OmegaConf.to_container(self._trainer.config.actor_rollout_ref.actor, resolve=True)
        node["policy_loss"]["loss_mode"] = "vanilla"  # ours stood there so that verl's is never called alone
        return omega_conf_to_dataclass(OmegaConf.create(node))


class _Drpo(GroupLoss[Drpo]):
    @property
    def reads(self) -> tuple[str, ...]:
        return (SAMPLED,) if self.loss.form == "advantage" and self.loss.score == "logL" else ()

    def _function(self) -> Callable[..., Any]:
        return functools.partial(losses.drpo_loss, settings=self.loss, rollouts=self._rollouts)

    def _write(self, step: StepBatch) -> dict[str, float]:
        group_N, masks = step.group_N, step.data["response_mask"].unbind()
        length_N = torch.stack([mask.sum() for mask in masks]).double() * step.takes_part_N
        score_N = None
        if SAMPLED in self.reads:
            rows = zip(step.data[SAMPLED].unbind(), masks, strict=True)
            score_N = torch.stack([(old.double() * mask).sum() for old, mask in rows]) / length_N.clamp(min=1)
        advantage_N = self.loss.advantage(step.reward_N, group_N, step.correct_N, length_N, score_N)
        if self.loss.form == "advantage":
            step.put({losses.ADVANTAGE: advantage_N})
        else:
            preference_N = self.loss.preferences(step.reward_N, length_N)
            step.put_whole({losses.CORRECT: step.correct_N, losses.PREFERENCE: preference_N}, self._rollouts)
        kept_N = group_max(advantage_N.abs(), group_N)[group_N] > 0
        positive_N = kept_N & (step.correct_N == 1) & (length_N > 0)
        weight_G = shortest_weight(advantage_N, length_N, group_N, positive_N)
        return {"drpo/shortest_weight": float(weight_G.mean())} if len(weight_G) else {}


class _MasteredTokens(GroupLoss[MasteredTokenMask]):
    def _function(self) -> Callable[..., Any]:
        return functools.partial(variants.mastered_token_loss, settings=self.loss, config=self._actor())

    def _write(self, step: StepBatch) -> dict[str, float]:
        step.put({losses.CORRECT: step.complete_N.double()})
        return {}


class _Modes(GroupLoss[ModeSwitch]):
    @classmethod
    def check(cls, recipe: Recipe) -> None:
        if only_part(recipe.reward, ModeSwitchReward) is None:
            raise ConfigError(
                f"recipe {recipe.name}: loss mode_switch ranks the modes that reward mode_switch_reward has sampled, "
                "and the reward has no such part; add it"
            )

    def _function(self) -> Callable[..., Any]:
        return functools.partial(
            variants.mode_switch_loss,
            settings=self.loss,
            config=self._actor(),
            rollouts=self._rollouts,
            temperature=float(self._trainer.config.actor_rollout_ref.rollout.temperature),
        )

    def _write(self, step: StepBatch) -> dict[str, float]:
        part = only_part(self.recipe.reward, ModeSwitchReward)
        group_N, known_N = step.group_N, step.takes_part_N
        long_N = torch.tensor([fact[MODE] == 1 for fact in step.facts], dtype=torch.bool)
        preferred_G = torch.zeros(int(group_N.max()) + 1, dtype=torch.float64)
        if bool(known_N.any()):  # a group of unknown verdicts only has no preference
            shown_G, code_M = torch.unique(group_N[known_N], return_inverse=True)
            right_M = step.complete_N[known_N]
            found_G = preferred_modes(right_M, long_N[known_N], code_M, part.threshold, part.margin)
            preferred_G[shown_G] = found_G.double()
        preferring = int((preferred_G != 0).sum())
        groups = len(step.batch) // self._rollouts
        weight_N = (preferred_G * groups / max(preferring, 1))[group_N]
        side_N = torch.where(long_N, 1.0, -1.0).double()
        step.put_whole({losses.MODE: side_N, losses.PREFERRED: weight_N}, self._rollouts)
        shares = {"long_preferred_share": preferred_G == 1, "short_preferred_share": preferred_G == -1}
        return {f"mode/{name}": float(share_G.double().mean()) for name, share_G in shares.items()}


class _AdaptThink(GroupLoss[AdaptThink]):
    @classmethod
    def check(cls, recipe: Recipe) -> None:
        if only_part(recipe.reward, AdaptThinkReward) is None:
            raise ConfigError(
                f"recipe {recipe.name}: loss adapt_think corrects for the first tokens that reward adapt_think_reward "
                "gives, and the reward has no such part; add it"
            )

    def _function(self) -> Callable[..., Any]:
        return functools.partial(first_token.adapt_think_loss, settings=self.loss, config=self._actor())

    def _write(self, step: StepBatch) -> dict[str, float]:
        share = only_part(self.recipe.reward, AdaptThinkReward).share
        coin_N = torch.tensor([1 - share if fact[MODE] == 1 else share for fact in step.facts], dtype=torch.float64)
        step.put({losses.FORCED: coin_N.log()})
        right_N, thinks_N = step.complete_N.double(), torch.tensor([fact[MODE] == 1 for fact in step.facts])
        shares = {"long_right_share": right_N[thinks_N], "short_right_share": right_N[~thinks_N]}
        return {f"mode/{name}": float(of_M.mean()) for name, of_M in shares.items() if len(of_M)}


class _Degrpo(GroupLoss[Degrpo]):
    def _function(self) -> Callable[..., Any]:
        return functools.partial(first_token.degrpo_loss, settings=self.loss, config=self._actor())

    def _write(self, step: StepBatch) -> dict[str, float]:
        return {}


_KINDS: Final[Mapping[type[Loss], type[GroupLoss[Any]]]] = {
    AdaptThink: _AdaptThink,
    Degrpo: _Degrpo,
    Drpo: _Drpo,
    MasteredTokenMask: _MasteredTokens,
    ModeSwitch: _Modes,
}
