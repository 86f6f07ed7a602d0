"""The recipe at work on a trainer's batches: facts of whole groups in; rewards, masks, advantages, metrics, state out.

It runs in one process, on whole prompt groups, once a step; it holds the only mutable reward state of a run. ``N``
responses, ``T`` tokens.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from leanthink.algorithms import Advantage
from leanthink.core.batch import RolloutBatch
from leanthink.core.control import check_state
from leanthink.core.errors import BatchError, ConfigError, StateError
from leanthink.core.groups import group_codes
from leanthink.core.limits import LIMIT, limit_tokens
from leanthink.core.placement import Placement, token_rewards
from leanthink.recipe.definition import Recipe
from leanthink.recipe.scoring import ScoredStep, batch_of_facts, overlong_filter, score_step
from leanthink.training.advantage import Mark, token_advantages
from leanthink.training.facts import PROMPT_CUT
from leanthink.training.filtering import told_apart
from leanthink.training.names import RESPONSE_KEY
from leanthink.training.settings import Settings
from leanthink.training.state import States, load_states, save_states

logger = logging.getLogger(__name__)

NOT_COLUMNS: Final = frozenset({"acc", "unknown", "verify_seconds", "pred", "reason", PROMPT_CUT, RESPONSE_KEY})
UNREASONABLE: Final = "wrong/unreasonable"
BAD_GOLD: Final = "unknown/gold"
"""How the reason of a verdict begins for which the gold answer is to blame."""
MANY_UNREASONABLE: Final = 0.05


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
    """The recipe at work on one trainer's batches."""

    def __init__(self, settings: Settings, checkpoint_before: Callable[[int], Path] | None = None) -> None:
        """Builds the recipe.

        Args:
            settings: of the run.
            checkpoint_before: the folder of the checkpoint that a run which goes on at a step (from 2) has resumed;
                needed where the recipe remembers anything.
        """
        self.settings = settings
        self.recipe: Recipe = settings.build()
        self._checkpoint_before = checkpoint_before
        self._states: States | None = None
        self._told_of_cuts = False

    @property
    def states(self) -> States:
        """What the recipe's parts remember after the last step."""
        return States.start(self.recipe) if self._states is None else self._states

    def resume(self, step: int) -> None:
        """Read the states that belong before ``step`` (from 1), once; a run that starts at 1 has none to read.

        Raises:
            StateError: the checkpoint has none that this run can go on with.
        """
        if self._states is not None:
            return
        start = States.start(self.recipe)
        if step <= 1 or (self._checkpoint_before is None and start == States()):
            self._states = start
            return
        if self._checkpoint_before is None:
            raise StateError(
                f"the run goes on at step {step}, and recipe {self.recipe.name} remembers what was before; give Shaper "
                "checkpoint_before, which names the checkpoint's folder, or count steps from 1"
            )
        self._states = load_states(self._checkpoint_before(step), self.settings, self.recipe, step - 1)

    def save(self, folder: Path, step: int) -> None:
        """Write the states after ``step`` into a checkpoint's folder.

        Raises:
            StateError: no run could go on from the reward's, which is told now, not at the resume.
        """
        check_state(self.recipe.reward, self.states.reward, f"state after step {step}")
        save_states(folder, self.settings, self.states, step)

    def limits(self, prompts: Sequence[str], step: int) -> list[int]:
        """The recipe's limit (tokens) of each prompt at a step, from 1."""
        if self.recipe.limit is None:
            raise ConfigError(f"recipe {self.recipe.name} has no limit to hand out; give it one, or ask for none")
        self.resume(step)
        limit, reward, states = self.recipe.limit, self.recipe.reward, self.states
        tokens = limit_tokens(limit, prompts, max(step - 1, 0), states.limit, reward, states.reward)
        return [max(1, round(one)) for one in tokens]

    def shape(self, facts: list[dict[str, Any]], uids: list[str], step: int) -> Shaped:
        """Shape one batch.

        Args:
            facts: what the fact finder found of each response.
            uids: the prompt of each response.
            step: the training step, from 1.

        Returns:
            The rewards, whether each response is trained on, and the metrics.
        """
        self.resume(step)
        unknown_N = torch.tensor([fact["unknown"] == 1 for fact in facts], dtype=torch.bool)
        metrics = verdict_metrics(facts) | prompt_metrics(facts)
        if metrics["prompt_cut_share"] > 0 and not self._told_of_cuts:
            self._told_of_cuts = True
            logger.warning(
                "step %d: %.0f%% of the responses are to prompts that were too long and were cut from the left, by %.0f"
                " tokens on average; raise data.max_prompt_length, or set data.filter_overlong_prompts=true",
                step,
                100 * metrics["prompt_cut_share"],
                metrics["prompt_cut_tokens"],
            )
        if metrics.get(UNREASONABLE, 0.0) > MANY_UNREASONABLE:
            logger.warning(
                "step %d: %.0f%% of the answers are too large to calculate (%s); they count as wrong, so look at some: "
                "the policy may be trying what the verifier cannot judge",
                step,
                100 * metrics[UNREASONABLE],
                UNREASONABLE,
            )
        share = float(unknown_N.double().mean()) if len(facts) else 0.0
        if share > self.settings.max_unknown:
            raise BatchError(
                f"step {step}: {share:.0%} of the verdicts are unknown, more than leanthink.max_unknown = "
                f"{self.settings.max_unknown:.0%} ({_reasons(facts)}); look at the gold answers and the verifier's "
                "deadline, or raise max_unknown"
            )
        takes_part_N = torch.tensor([self._takes_part(fact) for fact in facts], dtype=torch.bool)
        order = group_order(facts, uids, step)
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

    def marks(self, facts: Sequence[Mapping[str, Any]], shaped: Shaped) -> list[Mark]:
        """What an advantage must know of each response beside its reward and its mask."""
        masked, advantage = self.settings.truncated == "mask", self.recipe.advantage
        reads_correct = isinstance(advantage, Advantage) and advantage.reads_correct
        left_out = shaped.left_out
        return [
            Mark(
                counted=masked and fact["truncated"] == 1 and self._takes_part(fact),
                correct=reads_correct and fact["acc"] == 1,
                left_out=row in left_out,
            )
            for row, fact in enumerate(facts)
        ]

    def advantages(
        self,
        facts: Sequence[Mapping[str, Any]],
        uids: Sequence[str],
        shaped: Shaped,
        mask_NT: Int[Tensor, "N T"],
    ) -> Float[Tensor, "N T"]:
        """The advantage of each token, in float64: the loss's own where it makes one, else the recipe's.

        Args:
            facts: as for :meth:`shape`.
            uids: as for :meth:`shape`.
            shaped: what :meth:`shape` returned.
            mask_NT: 1 for the tokens the policy wrote, the first at column 0.

        Raises:
            ConfigError: an estimator of verl's own, which needs more than rewards.
        """
        trained_NT = mask_NT * shaped.takes_part_N[:, None].to(mask_NT)
        own_N = self.recipe.loss.advantage(
            shaped.reward_N,
            group_codes(uids),
            torch.tensor([fact["acc"] for fact in facts], dtype=torch.float64),
            trained_NT.sum(-1).double(),
        )
        if own_N is not None:
            return own_N[:, None] * trained_NT.double()
        reward_NT = torch.zeros(mask_NT.shape, dtype=torch.float64)
        length_N = torch.tensor([fact["length"] for fact in facts], dtype=torch.float64)
        placed_NT = token_rewards(shaped.reward_N, length_N, shaped.placement)
        reward_NT[:, : placed_NT.shape[1]] = placed_NT
        return token_advantages(self.recipe.advantage, reward_NT, trained_NT, uids, self.marks(facts, shaped))

    def tells_apart(self, facts: list[dict[str, Any]], step: int) -> bool:
        """Whether the reward, at its present state, differs within one group."""
        self.resume(step)
        known = [fact for fact in facts if self._takes_part(fact)]
        if len(known) < 2:
            return False
        batch = self._batch(known, ["one"] * len(known), step)
        return bool(told_apart(self.recipe.reward.breakdown(batch, self.states.reward).reward, batch).all())

    def _takes_part(self, fact: Mapping[str, Any]) -> bool:
        """Whether a response is scored at all."""
        return fact["unknown"] == 0 or self.settings.unknown == "wrong"

    def _batch(self, facts: list[dict[str, Any]], uids: list[str], step: int) -> RolloutBatch:
        rows = [
            {"correct": fact["acc"], **{name: fact[name] for name in fact if name not in NOT_COLUMNS}} for fact in facts
        ]
        return batch_of_facts(rows, uids, step - 1)


def group_order(facts: Sequence[Mapping[str, Any]], uids: Sequence[str], step: int) -> list[tuple[str, str, str]]:
    """By what responses are sorted for scoring: group by group, groups in an order drawn for the step.

    What goes by the order of groups, as ties may, must favour neither prompts that are answered quickly nor the same
    ones in every step; and a run that is done again must find the same order, which random ids would not give.
    """
    names = [str(fact.get(RESPONSE_KEY, "")) for fact in facts]
    prompts = [name.partition("-")[0] for name in names]
    drawn = {one: hashlib.blake2b(f"{step} {one}".encode(), digest_size=8).hexdigest() for one in set(prompts)}
    return [(drawn[one], uid, name) for one, uid, name in zip(prompts, uids, names, strict=True)]


def verdict_metrics(facts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Shares of the responses by what was said against them, and the seconds of judging.

    ``unknown_share``; ``unknown/REASON`` and ``wrong/REASON`` for each reason met; ``gold_unmatchable_share``, that of
    the prompts whose gold answer no response can match.
    """
    count = max(len(facts), 1)
    prompts = [str(fact.get(RESPONSE_KEY, "")).partition("-")[0] for fact in facts]
    blamed = {prompt for prompt, fact in zip(prompts, facts, strict=True) if str(fact["reason"]).startswith(BAD_GOLD)}
    metrics = {
        "unknown_share": sum(fact["unknown"] for fact in facts) / count,
        "gold_unmatchable_share": len(blamed) / max(len(set(prompts)), 1),
        "verify_seconds": float(sum(fact["verify_seconds"] for fact in facts)),
    }
    for fact in facts:
        if fact["unknown"] or fact["acc"] != 1:
            key = fact["reason"]
            metrics[key] = metrics.get(key, 0.0) + 1 / count
    return metrics


def prompt_metrics(facts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """``prompt_cut_share``: of the responses whose prompt was too long; ``prompt_cut_tokens``: its mean loss."""
    cut = [float(fact[PROMPT_CUT]) for fact in facts if fact.get(PROMPT_CUT, 0.0) > 0]
    metrics = {"prompt_cut_share": len(cut) / max(len(facts), 1)}
    return metrics | ({"prompt_cut_tokens": sum(cut) / len(cut)} if cut else {})


def _reasons(facts: list[dict[str, Any]]) -> str:
    reasons = [fact["reason"] for fact in facts if fact["unknown"]]
    return ", ".join(f"{reasons.count(reason)} x {reason}" for reason in sorted(set(reasons)))
