"""Conciseness reward function (CRF): a learned conciseness score counts where the answer is right, and only there.

``_N`` responses.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from leanthink.core.batch import RolloutBatch, check_values
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.functions import check_name, load_function
from leanthink.core.groups import group_mean
from leanthink.core.measured import PromptReward
from leanthink.core.reward import Breakdown, Composite, Part, Reward, RewardN, Scope, State
from leanthink.core.schedules import Number, at, bounds
from leanthink.rewards.truncation import Truncation

Difficulty = Literal["pass_rate", "fail_rate", "column"]

PROMPT_DIFFICULTY: Final = "prompt_difficulty"
"""The column of a prompt's difficulty coefficient, where the data give one."""
DIFFICULTY: Final = "difficulty"
UNSCORED: Final = "unscored"

OUTCOME: Final = Truncation()


def conciseness_reward(
    outcome_N: Float[Tensor, " N"],
    score_N: Float[Tensor, " N"],
    difficulty_N: Float[Tensor, " N"],
    alpha: float,
    annealing: float,
) -> Float[Tensor, " N"]:
    """``R_o (1 + alpha c (s + d))`` where the outcome is positive, else the outcome itself."""
    factor_N = 1 + alpha * score_N * (annealing + difficulty_N)
    return torch.where(outcome_N > 0, outcome_N * factor_N, outcome_N)


@final
@dataclass(frozen=True, kw_only=True)
class ConcisenessScore(PromptReward):
    """What a scorer says of how concise a correct response is, in ``[low, high]``; NaN where it said nothing.

    Args:
        scorer: "pkg.mod:fn", called with the prompt's and the response's text, in the reward worker; returns a number,
            or None where it has none. It may be a coroutine function.
            `leanthink.verl.rollout.reward_model:conciseness` asks the reward model that verl serves
            (``reward.reward_model``).
        low: the least score, 0.1 in the paper; a lower one is raised to it.
        high: the greatest.
        neutral: the score of a response that has none, which the part ``unscored`` counts among those asked about.

    >>> ConcisenessScore(scorer="leanthink.testbed.scorer:few_rechecks").value_of("<think> 1 + 1 = 2 wait = 2", ())
    0.5
    """

    scorer: str
    low: float = 0.1
    high: float = 1.0
    neutral: float = 0.1

    def __post_init__(self) -> None:
        check_name(self.scorer, "conciseness_score: scorer")
        if not 0 <= self.low < self.high or not 0 <= self.neutral <= self.high:
            raise ConfigError(
                f"conciseness_score: low is {self.low}, high {self.high} and neutral {self.neutral}; "
                "give 0 <= low < high, and neutral from 0 to high"
            )

    def score(self, batch: RolloutBatch) -> RewardN:
        """The scores; ``neutral`` where there is none."""
        return batch.column(self.column).nan_to_num(nan=self.neutral)

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The scores, and which responses that the scorer was asked about have none."""
        asked_N = (batch.correct == 1) & ~batch.truncated
        unscored_N = (batch.column(self.column).isnan() & asked_N).double()
        return replace(super().breakdown(batch, state), parts={UNSCORED: unscored_N})

    async def ask(self, prompt: str, response: str) -> float:
        """The score of one response; NaN where the scorer has none."""
        function = load_function(self.scorer, "conciseness_score: scorer")
        if inspect.iscoroutinefunction(function):
            given = await function(prompt, response)
        else:
            given = await asyncio.to_thread(function, prompt, response)
        if given is None:
            return float("nan")
        if isinstance(given, bool) or not isinstance(given, int | float) or given != given:
            raise BatchError(f"conciseness_score: {self.scorer} returned {given!r:.80}; return a number, or None")
        return min(max(float(given), self.low), self.high)


@final
@dataclass(frozen=True, kw_only=True)
class Conciseness(Composite):
    """The conciseness reward function (Efficient Reasoning via Reward Model, arXiv 2511.09158): a bonus on the outcome.

    ``R = R_o (1 + alpha c (s + d))``, with the outcome ``R_o``, the conciseness score ``c``, an annealing coefficient
    ``s`` and a difficulty coefficient ``d`` of the prompt. An outcome of 0 or less stays as it is, whatever ``c``. In
    an all-correct group only ``c`` differs, and an advantage divided by the standard deviation takes ``alpha`` out.
    Truncated: the outcome is 0 even if the answer stood before the cut, so that ``of`` has to be `Truncation`; the
    scorer is not asked, and ``d`` counts it as wrong.

    The paper's ``alpha``, the course of ``s`` and the definition of ``d`` are not confirmed: they are arguments. The
    breakdown shows the score, ``d``, and the share of responses that the scorer was asked about and left ``unscored``.

    Args:
        scores: the scorer, as ``conciseness_score``.
        alpha: weight of the bonus, above 0.
        annealing: ``s``, in [0, 1]; a schedule, linear from 1 to 0 over the run being the likely reading.
        difficulty: ``d`` is the group's pass rate, so that easy prompts are pressed more, its fail rate, or the data's
            column ``prompt_difficulty``, 0 or more.
        of: the outcome.

    >>> batch = RolloutBatch.of(group=[0] * 6, length=[9] * 6, correct=[1, 1, 0, 0, 1, 0])
    >>> part = ConcisenessScore(scorer="leanthink.testbed.scorer:few_rechecks")
    >>> scored = batch.replace(**{part.column: [0.9, 0.4, 1.0, 0.2, 0.1, 0.6]})
    >>> Conciseness(scores=part, alpha=0.5)(scored)[0]
    tensor([1.6750, 1.3000, 0.0000, 0.0000, 1.0750, 0.0000], dtype=torch.float64)
    """

    scores: Reward
    alpha: Number
    annealing: Number = 1.0
    difficulty: Difficulty = "pass_rate"
    of: Reward = OUTCOME
    is_term = False
    own_scope = Scope.GROUP

    def __post_init__(self) -> None:
        super().__post_init__()
        if not bounds(self.alpha)[0] > 0:
            raise ConfigError(f"conciseness: alpha is {self.alpha}; give a weight above 0")
        low, high = bounds(self.annealing)
        if low < 0 or high > 1:
            raise ConfigError(f"conciseness: annealing is {self.annealing}; give 0 to 1")
        if self.difficulty not in get_args(Difficulty):
            allowed = ", ".join(get_args(Difficulty))
            raise ConfigError(f"conciseness: difficulty is {self.difficulty!r}; give one of {allowed}")

    @property
    def requires(self) -> frozenset[str]:
        """The columns of the parts, and that of the difficulty."""
        return super().requires | ({PROMPT_DIFFICULTY} if self.difficulty == "column" else frozenset())

    def combine(self, batch: RolloutBatch, part: Part) -> RewardN:
        """The outcome with its bonus."""
        alpha, annealing = at(self.alpha, batch.step), at(self.annealing, batch.step)
        score_N, outcome_N = part("scores", batch), part("of", batch)
        return conciseness_reward(outcome_N, score_N, self._difficulty(batch), alpha, annealing)

    def breakdown(self, batch: RolloutBatch, state: State | None = None) -> Breakdown:
        """The reward with its parts and the difficulty."""
        result = super().breakdown(batch, state)
        return replace(result, parts={DIFFICULTY: self._difficulty(batch), **result.parts})

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """The annealing coefficient at the step."""
        return {"annealing": at(self.annealing, step)}

    def _difficulty(self, batch: RolloutBatch) -> RewardN:
        if self.difficulty == "column":
            given_N = batch.column(PROMPT_DIFFICULTY)
            good_N = (given_N >= 0) & given_N.isfinite()
            check_values(PROMPT_DIFFICULTY, good_N, given_N, "give a finite number, 0 or more, for each prompt")
            return given_N
        rate_N = group_mean(torch.where(batch.truncated, 0.0, batch.correct), batch.group)[batch.group]
        return rate_N if self.difficulty == "pass_rate" else 1 - rate_N
