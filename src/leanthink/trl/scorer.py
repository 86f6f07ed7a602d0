"""Whole groups under TRL: each process finds the facts of its rows, all gather them, and each scores all the same.

TRL shows a reward its own process's rows only, and a group may straddle two. Rows lie in the order of the data, each
prompt ``n`` times, so that group ``g`` is rows ``g n`` to ``g n + n - 1`` of all processes together, by rank.

``N`` responses of all processes, ``T`` tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from leanthink.algorithms import TokenAdvantage
from leanthink.core.batch import PROMPT_KEY, TEMPLATE_ARGUMENTS
from leanthink.core.control import check_state
from leanthink.core.errors import BatchError, ConfigError, MissingColumnError
from leanthink.core.limits import LIMIT
from leanthink.training.facts import TAIL, FactFinder, Response
from leanthink.training.names import key_of, own_arguments
from leanthink.training.sampling import columns_of_data
from leanthink.training.settings import Settings
from leanthink.training.shaper import Shaped, Shaper, verdict_metrics
from leanthink.training.state import States, save_states, saved_step
from leanthink.trl.rows import columns_of, gold_of, messages_of

logger = logging.getLogger(__name__)

Gather = Callable[[list[Any]], list[Any]]
"""From each process's objects to those of all, by rank; the same on every process."""


class Row(NamedTuple):
    """One response of a process: its data set's row, its tokens, and what they were written behind."""

    data: Mapping[str, Any]
    token_ids: Sequence[int]
    truncated: bool
    prompt_ids: Sequence[int] = ()
    limit: int | None = None


class Found(NamedTuple):
    """The facts of one response, and the name of its prompt, as they travel to the other processes."""

    fact: Mapping[str, Any]
    prompt: str
    kept: Mapping[str, Any]


class Generation(NamedTuple):
    """One generation scored: the rows of all processes, by rank, and what the recipe makes of them.

    ``advantage`` is (N,), or (N, T) where the recipe's is by token; ``trained_N`` says who is in the loss.
    """

    step: int
    found: Sequence[Found]
    uids: Sequence[str]
    shaped: Shaped
    advantage: Float[Tensor, " N"] | Float[Tensor, "N T"]
    trained_N: Bool[Tensor, " N"]

    @property
    def facts(self) -> list[Mapping[str, Any]]:
        """Those of each response."""
        return [one.fact for one in self.found]

    @property
    def reward_N(self) -> Tensor:
        """The shaped rewards; NaN where the recipe scored none."""
        reward_N = torch.full((len(self.found),), torch.nan, dtype=torch.float64)
        rows = list(self.shaped.rows)
        reward_N[rows] = self.shaped.reward_N[rows]
        return reward_N


class Scorer:
    """A recipe at work on TRL's rows; one on every process, each in the same state."""

    def __init__(
        self, settings: Settings, tokenizer: Any, ends: frozenset[int], *, prompt: str = "", gold: str | None = None
    ) -> None:
        """Prepares for a run.

        Args:
            settings: of the run.
            tokenizer: the model's.
            ends: the tokens that end a response.
            prompt: a rendered one, by which parts are checked that look for an opening tag; empty says nothing.
            gold: the column of the gold answer, where it has none of the usual names.

        Raises:
            ConfigError: a part of the reward expects another prompt.
        """
        self.settings, self.ends = settings, ends
        self.finder = FactFinder(settings, tokenizer, ends, prompt)
        self.shaper = Shaper(settings)
        self.done = 0
        """Generations scored so far, those before a resume among them: the step, as verl counts."""
        self.prompt_ids: list[int] = (
            list(tokenizer(prompt, add_special_tokens=False)["input_ids"][-TAIL:]) if prompt else []
        )
        """The end of the rendered prompt, which stands for a row's own where a trainer does not tell it."""
        self._gold = gold
        self._decode = tokenizer.decode
        self._before = self.shaper.states

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Refuse data without a gold answer, or without a column that the recipe reads.

        Raises:
            ConfigError: there is no gold answer.
            MissingColumnError: naming the column.
        """
        gold_of(row, self._gold)
        if arguments := own_arguments(columns_of(row)):
            raise ConfigError(
                f"extra_info.{TEMPLATE_ARGUMENTS}: the rows give the chat template {', '.join(arguments)}, and TRL "
                "gives its template the same arguments for all rows; state it in the prompt (`leanthink prepare "
                "--efforts` without --effort-argument), or train with verl"
            )
        columns = {name for name, value in columns_of(row).items() if value is not None}
        for name in sorted(columns_of_data(self.shaper.recipe.reward) - columns):
            raise MissingColumnError(
                f"recipe {self.settings.recipe} needs the column {name!r}, which the data lack; add it to every row, "
                f"or to its extra_info (there are: {', '.join(sorted(columns)) or 'none'})"
            )

    def limits(self, rows: Sequence[Mapping[str, Any]], longest: int) -> list[int]:
        """The recipe's limit (tokens) of each row at the coming generation, never above ``longest``."""
        keys = [self._key(row) for row in rows]
        return [min(limit, longest) for limit in self.shaper.limits(keys, self.done + 1)]

    def find(self, rows: Sequence[Row], keeps: bool = False) -> list[Found]:
        """The facts of this process's responses; with ``keeps`` their texts and tokens travel along."""
        responses, keys = [], []
        for row in rows:
            key = self._key(row.data)
            keys.append(key)
            limited = {} if row.limit is None else {LIMIT: row.limit, PROMPT_KEY: key}
            responses.append(
                Response(
                    token_ids=row.token_ids,
                    messages=messages_of(row.data["prompt"]),
                    gold=gold_of(row.data, self._gold),
                    truncated=row.truncated,
                    prompt_ids=row.prompt_ids,
                    columns=columns_of(row.data),
                    sampled=limited,
                )
            )
        facts = self.finder.find_all(responses)
        kept = [self._kept(row) if keeps else {} for row in rows]
        return [Found(*one) for one in zip(facts, keys, kept, strict=True)]

    def train(self, found: Sequence[Found], n: int) -> Generation:
        """Score one generation of whole groups; the state goes on.

        Args:
            found: of all processes, by rank.
            n: responses to a prompt.

        Raises:
            BatchError: the groups are not whole, or the recipe cannot score them.
        """
        uids = group_ids([one.prompt for one in found], n)
        facts = [dict(one.fact) for one in found]
        self._before = self.shaper.states
        shaped = self.shaper.shape(facts, uids, self.done + 1)
        self.done += 1
        length_N = torch.tensor([int(fact["length"]) for fact in facts])
        width = max(int(length_N.max()), 1)
        mask_NT = (torch.arange(width) < length_N[:, None]).long()
        advantage = self.shaper.advantages(facts, uids, shaped, mask_NT)
        recipe = self.shaper.recipe
        if not (recipe.loss.reads_advantage and isinstance(recipe.advantage, TokenAdvantage)):
            advantage = advantage[:, 0]  # the same at each token that is trained on
        return Generation(self.done, found, uids, shaped, advantage, shaped.takes_part_N & (length_N > 0))

    def resume(self, checkpoint: Path) -> None:
        """Go on with the states of a checkpoint.

        Raises:
            StateError: the checkpoint has none that this run can go on with.
        """
        step = saved_step(checkpoint, self.settings)
        self.shaper = Shaper(self.settings, lambda _: checkpoint)
        self.shaper.resume(step + 1)
        self.done, self._before = step, self.shaper.states

    def save(self, folder: Path, whole: bool = True) -> None:
        """Write the states into a checkpoint's folder: those before the last generation, where that is not ``whole``.

        TRL samples anew after a resume; a generation that was trained on in part would be counted twice.

        Raises:
            StateError: no run could go on from the reward's.
        """
        step, states = (self.done, self.shaper.states) if whole else (self.done - 1, self._before)
        check_state(self.shaper.recipe.reward, states.reward, f"state after step {step}")
        save_states(folder, self.settings, states, step)

    @property
    def states(self) -> States:
        """What the recipe's parts remember after the last generation."""
        return self.shaper.states

    def _key(self, row: Mapping[str, Any]) -> str:
        return key_of(messages_of(row["prompt"]), columns_of(row))

    def _kept(self, row: Row) -> dict[str, Any]:
        """What a dump of verl holds of a response."""
        ids = [one for one in row.token_ids if one not in self.ends]
        return {
            "input": self._decode(list(row.prompt_ids), skip_special_tokens=False)
            if row.prompt_ids
            else "\n".join(str(one.get("content", "")) for one in messages_of(row.data["prompt"])),
            "output": self._decode(ids, skip_special_tokens=False),
            "gts": gold_of(row.data, self._gold),
            "response_ids": list(row.token_ids),
        }


def group_ids(prompts: Sequence[str], n: int) -> list[str]:
    """The group of each row, by its place: TRL repeats each prompt ``n`` times, and a prompt may come twice.

    Raises:
        BatchError: the rows are no whole groups.

    >>> group_ids(["a", "a", "a", "a"], 2)
    ['0', '0', '1', '1']
    """
    if len(prompts) % n:
        raise BatchError(
            f"{len(prompts)} responses are no whole groups of {n}; let all processes together take a multiple of {n} "
            "rows at a time (per_device_train_batch_size, per_device_eval_batch_size)"
        )
    for start in range(0, len(prompts), n):
        if len(set(prompts[start : start + n])) > 1:
            rows = f"rows {start} to {start + n - 1}"
            raise BatchError(
                f"{rows} should answer one prompt, and do not: their order is not TRL's; give the trainer no sampler "
                "of your own"
            )
    return [str(row // n) for row in range(len(prompts))]


def evaluation_metrics(facts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Raw accuracy, lengths (tokens) and truncation of held-out responses, named as in training.

    Unknown verdicts are left out, and counted.
    """
    known = [fact for fact in facts if not fact["unknown"]]
    right = [fact["length"] for fact in known if fact["acc"] == 1]
    wrong = [fact["length"] for fact in known if fact["acc"] != 1]
    values = {
        "accuracy": [float(fact["acc"]) for fact in known],
        "truncated_share": [float(fact["truncated"]) for fact in known],
        "length/all": [*right, *wrong],
        "length/correct": right,
        "length/wrong": wrong,
    }
    means = {name: float(sum(value) / len(value)) for name, value in values.items() if value}
    return {**verdict_metrics(facts), **means}
