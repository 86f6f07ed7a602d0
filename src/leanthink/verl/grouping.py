"""The driver's side of a loss of ours, which may see whole prompt groups: order the batch, write fields, install it.

verl's V1 trainer always deals responses out to ranks by length, which tears prompt groups, and has no switch for it. So
the sampler hands it a batch in whole groups that keeps its order. ``_N`` responses.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
from verl.utils.config import omega_conf_to_dataclass

from leanthink.algorithms import Drpo, Loss, MasteredTokenMask, ModeSwitch, PpoClip
from leanthink.algorithms.drpo import shortest_weight
from leanthink.config import name_of
from leanthink.errors import BatchError, ConfigError, DependencyError
from leanthink.groups import group_max
from leanthink.module import Reward
from leanthink.rewards import ModeSwitchReward
from leanthink.rewards.mode_switch_reward import MODE, preferred_modes
from leanthink.verl import losses, variants
from leanthink.verl.arrangement import MINI, N, require
from leanthink.verl.loops import only_part
from leanthink.verl.settings import Settings

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


class GroupLoss:
    """A loss of ours, seen from the driver."""

    def __init__(self, loss: Loss, trainer: Any, reward: Reward | None = None) -> None:
        """Takes the trainer whose batches are prepared and whose workers get the loss, and the recipe's reward."""
        self.loss = loss
        self._reward = reward
        self._trainer = trainer
        self._rollouts = int(OmegaConf.select(trainer.config, N))
        self._prompts = int(OmegaConf.select(trainer.config, MINI))
        self._installed = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The fields of a response that :meth:`write` needs beside ``response_mask``."""
        scored = isinstance(self.loss, Drpo) and self.loss.form == "advantage" and self.loss.score == "logL"
        return (SAMPLED,) if scored else ()

    @classmethod
    def of(cls, settings: Settings, refill_fn: Any) -> GroupLoss | None:
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
        if isinstance(loss, PpoClip):
            return None
        if isinstance(loss, ModeSwitch) and only_part(recipe.reward, ModeSwitchReward) is None:
            raise ConfigError(
                f"recipe {recipe.name}: loss mode_switch ranks the modes that reward mode_switch_reward has sampled, "
                "and the reward has no such part; add it"
            )
        label = f"loss {name_of(type(loss))}"
        trainer: Any = getattr(refill_fn, "__self__", None)
        if not hasattr(trainer, "config"):
            raise DependencyError(
                f"{label}: the sampler was given {refill_fn!r} instead of a method of verl's trainer, so the loss "
                "cannot reach the workers; this version of leanthink fits verl 0.9.x, install that or update leanthink"
            )
        require(loss, functools.partial(OmegaConf.select, trainer.config), settings.sort_by_length)
        return cls(loss, trainer, recipe.reward)

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

    def _function(self) -> Callable[..., Any]:
        """The loss, to be pickled and sent to the workers."""
        if isinstance(self.loss, Drpo):
            return functools.partial(losses.drpo_loss, settings=self.loss, rollouts=self._rollouts)
        node = OmegaConf.to_container(self._trainer.config.actor_rollout_ref.actor, resolve=True)
        node["policy_loss"]["loss_mode"] = "vanilla"  # ours stood there so that verl's is never called alone
        config = omega_conf_to_dataclass(OmegaConf.create(node))
        if isinstance(self.loss, MasteredTokenMask):
            return functools.partial(variants.mastered_token_loss, settings=self.loss, config=config)
        if isinstance(self.loss, ModeSwitch):
            temperature = float(self._trainer.config.actor_rollout_ref.rollout.temperature)
            return functools.partial(
                variants.mode_switch_loss,
                settings=self.loss,
                config=config,
                rollouts=self._rollouts,
                temperature=temperature,
            )
        raise NotImplementedError(f"no worker's side for {self.loss}")

    def arrange(self, batch: KVBatchMeta) -> KVBatchMeta:
        """The batch in the order that the loss needs."""
        if not self.loss.whole_groups:
            return batch

        def pad(short: KVBatchMeta, rows: int) -> KVBatchMeta:
            return upsample_batch_to_divisible_size(short, rows, self._trainer.tokenizer.eos_token_id)

        return in_whole_groups(batch, self._rollouts, self._prompts, pad)

    def write(
        self,
        batch: KVBatchMeta,
        keys: list[str],
        data: Any,
        uids: Sequence[str],
        correct_N: Tensor,
        reward_N: Tensor,
        takes_part_N: Tensor,
        facts: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, float]:
        """Write what the loss needs to know of each response, and return the driver's metrics.

        Args:
            batch: all rows.
            keys: those that are no padding, in the batch's order, as are all the following.
            data: their ``response_mask`` and what else it :attr:`reads`.
            uids: their prompts.
            correct_N: raw verdicts.
            reward_N: the recipe's rewards.
            takes_part_N: whether the verdict is known.
            facts: what is known of each response; only some losses need to know more.
        """
        self.install()
        if isinstance(self.loss, Drpo):
            return self._write_drpo(self.loss, batch, keys, data, uids, correct_N, reward_N, takes_part_N)
        if isinstance(self.loss, ModeSwitch):
            return self._write_modes(batch, keys, uids, correct_N, takes_part_N, facts)
        _put(keys, batch.partition_id, {losses.CORRECT: correct_N.double()})
        return {}

    def _write_modes(
        self,
        batch: KVBatchMeta,
        keys: list[str],
        uids: Sequence[str],
        correct_N: Tensor,
        takes_part_N: Tensor,
        facts: Sequence[Mapping[str, Any]],
    ) -> dict[str, float]:
        """What :meth:`write` does for the first token's loss."""
        assert self._reward is not None
        part = only_part(self._reward, ModeSwitchReward)
        codes = {uid: code for code, uid in enumerate(dict.fromkeys(uids))}
        group_N = torch.tensor([codes[uid] for uid in uids])
        long_N = torch.tensor([fact[MODE] == 1 for fact in facts], dtype=torch.bool)
        preferred_G = torch.zeros(len(codes), dtype=torch.float64)
        if bool(takes_part_N.any()):  # a group of unknown verdicts only has no preference
            known_M = group_N[takes_part_N]
            shown_G, known_M = torch.unique(known_M, return_inverse=True)
            found_G = preferred_modes(correct_N[takes_part_N] == 1, long_N[takes_part_N], known_M, part.threshold)
            preferred_G[shown_G] = found_G.double()
        preferring = int((preferred_G != 0).sum())
        groups = len(batch) // self._rollouts
        weight_N = (preferred_G * groups / max(preferring, 1))[group_N]
        row_of = {key: row for row, key in enumerate(batch.keys)}
        at_M = torch.tensor([row_of[key] for key in keys])
        fields = {losses.GROUP: torch.arange(len(batch)) // self._rollouts}
        side_N = torch.where(long_N, 1.0, -1.0).double()
        for name, values_M in ((losses.MODE, side_N), (losses.PREFERRED, weight_N)):
            fields[name] = torch.zeros(len(batch), dtype=torch.float64).index_copy_(0, at_M, values_M)
        _put(batch.keys, batch.partition_id, fields)
        shares = {"long_preferred_share": preferred_G == 1, "short_preferred_share": preferred_G == -1}
        return {f"mode/{name}": float(share_G.double().mean()) for name, share_G in shares.items()}

    def _write_drpo(
        self,
        loss: Drpo,
        batch: KVBatchMeta,
        keys: list[str],
        data: Any,
        uids: Sequence[str],
        correct_N: Tensor,
        reward_N: Tensor,
        takes_part_N: Tensor,
    ) -> dict[str, float]:
        """What :meth:`write` does for DRPO."""
        codes = {uid: code for code, uid in enumerate(dict.fromkeys(uids))}
        group_N = torch.tensor([codes[uid] for uid in uids])
        masks = data["response_mask"].unbind()
        length_N = torch.stack([mask.sum() for mask in masks]).double() * takes_part_N
        score_N = None
        if SAMPLED in self.reads:
            rows = zip(data[SAMPLED].unbind(), masks, strict=True)
            score_N = torch.stack([(old.double() * mask).sum() for old, mask in rows]) / length_N.clamp(min=1)
        advantage_N = loss.advantage(reward_N, group_N, correct_N, length_N, score_N)
        if loss.form == "advantage":
            _put(keys, batch.partition_id, {losses.ADVANTAGE: advantage_N})
        else:
            row_of = {key: row for row, key in enumerate(batch.keys)}
            at_M = torch.tensor([row_of[key] for key in keys])
            preference_N = loss.preferences(reward_N, length_N)
            fields = {losses.GROUP: torch.arange(len(batch)) // self._rollouts}
            for name, values_M in ((losses.CORRECT, correct_N), (losses.PREFERENCE, preference_N)):
                fields[name] = torch.zeros(len(batch), dtype=torch.float64).index_copy_(0, at_M, values_M)
            _put(batch.keys, batch.partition_id, fields)
        kept_N = group_max(advantage_N.abs(), group_N)[group_N] > 0
        positive_N = kept_N & (correct_N == 1) & (length_N > 0)
        weight_G = shortest_weight(advantage_N, length_N, group_N, positive_N)
        return {"drpo/shortest_weight": float(weight_G.mean())} if len(weight_G) else {}


def _put(keys: list[str], partition: str, fields: dict[str, Tensor]) -> None:
    tq.kv_batch_put(keys=keys, partition_id=partition, fields=TensorDict(fields, batch_size=len(keys)))
