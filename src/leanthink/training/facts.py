"""The facts about one response, never a shaped number: what every trainer's workers find, and the driver shapes.

A worker sees one response at a time and knows neither its siblings nor whether it belongs to training or validation.
What it finds travels with the response; `leanthink.training.shaper` shapes whole groups.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from leanthink.core.batch import PROMPT_KEY, RolloutBatch
from leanthink.core.limits import FORCED, LIMIT, THINKING_LIMIT
from leanthink.core.measured import PieceReward, PromptReward
from leanthink.recipe.scoring import measured_rewards
from leanthink.rewards.counted import (
    CALLS,
    CONTEXT_TOKENS,
    FAILED_CALLS,
    SECONDS,
    THINKING_LENGTH,
    TOOL_TOKENS,
    TURNS,
)
from leanthink.rewards.effort_length import EFFORT, EFFORT_NAME
from leanthink.rewards.segmentation import token_pieces
from leanthink.training.names import RESPONSE_KEY, key_of, response_key
from leanthink.training.responses import thinking_length, without_end
from leanthink.training.settings import Settings
from leanthink.training.template import check_opening
from leanthink.verify import Judgement, Verdict, Verifier, gold_text
from leanthink.verify.extract import opening_of, opens

logger = logging.getLogger(__name__)

DIFFICULTY: Final = "difficulty"
CARRIED: Final[Mapping[str, type]] = {
    **dict.fromkeys((LIMIT, THINKING_LIMIT, FORCED), float),
    **dict.fromkeys((TOOL_TOKENS, CONTEXT_TOKENS, TURNS, CALLS, FAILED_CALLS, SECONDS), float),
    PROMPT_KEY: str,
}
"""What a response brings from its sampling into its facts, whether or not a reward reads it."""
PROMPT_CUT: Final = "prompt_cut"
"""How many tokens a prompt lost before anything was written behind it, because it was too long."""
TAIL: Final = 16
"""Tokens of a prompt's end in which a tag and what follows it stand."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """One response, as its trainer hands it over.

    Attributes:
        token_ids: what was sampled, the end token included.
        messages: the prompt's, each with ``role`` and ``content``.
        gold: the gold answer, or a list of them (see `leanthink.verify.gold_text`); None, or what is no answer, makes
            the verdict unknown.
        truncated: whether it was cut off rather than ended by the model (see `leanthink.training.was_truncated`).
        prompt_ids: what it was written behind, or the end of it.
        columns: what the data say of the prompt: columns that rewards read, ``prompt_key``, ``difficulty``.
        sampled: what the sampling says of the response: columns that rewards read, ``prompt_cut`` where the prompt was
            too long, and ``limit`` (tokens) and ``prompt_key`` where the recipe has a limit.
        turns: of a response with tools, the first and the past-the-last token of each stretch that the policy wrote;
            None for one that it wrote whole.
    """

    token_ids: Sequence[int]
    messages: Sequence[Mapping[str, Any]]
    gold: Any
    truncated: bool = False
    prompt_ids: Sequence[int] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    sampled: Mapping[str, Any] = field(default_factory=dict)
    turns: Sequence[tuple[int, int]] | None = None


class FactFinder:
    """Verifies a response and measures what the recipe's text rewards need.

    The facts: ``acc`` (0/1), ``unknown`` (1: no verdict; then ``acc`` is 0 and the driver masks the response),
    ``truncated``, ``length`` (tokens), the columns the recipe requires, ``pred`` (the extracted answer), ``reason`` and
    ``difficulty`` (the data set's, as text, for tables), ``prompt_cut`` (tokens that the prompt lost because it was too
    long), ``response_key`` (its prompt's key and a hash of its tokens).
    Every response has the same keys, and what the loop says of several turns stands beside them. ``thinking_length`` is
    counted here, where it is required, and of several turns, whose texts do not tell; ``prompt_key``, where
    it is required and the data do not bring it, is a hash of the prompt: a trainer's own id may be new in every step.
    ``limit`` (tokens) comes from the sampling, and so does ``prompt_key`` where the recipe has a limit. The other
    columns are the data's.
    """

    def __init__(self, settings: Settings, tokenizer: Any, ends: frozenset[int], prompt: str = "") -> None:
        """Prepares for a run.

        Args:
            settings: of the run.
            tokenizer: the model's; ``decode(ids, skip_special_tokens=False)`` is all that is asked of it.
            ends: the tokens that end a response (see `leanthink.training.end_ids`).
            prompt: a rendered one (see `leanthink.training.end_of_prompt`); an empty one says nothing.

        Raises:
            ConfigError: a part of the reward takes the thinking to be opened by the prompt, and it is not, or not so.
        """
        reward = settings.build().reward
        self._tokenizer = tokenizer
        self._measured = measured_rewards(reward)
        measured_columns = {part.column for part in self._measured}
        self._columns = sorted(reward.requires - measured_columns - set(RolloutBatch.CORE))
        if settings.check_template:
            check_opening(reward, prompt)
        self._verifier = Verifier(**settings.verify)
        self._gold_lists = settings.gold_lists
        self._thinking_end = str(settings.verify.get("thinking_end", "</think>"))
        self._thinking_start = opening_of(self._thinking_end) or ""
        self._ends = ends

    def find_all(self, responses: Sequence[Response]) -> list[dict[str, Any]]:
        """The facts about each response, for trainers that are not asynchronous; a loop may run, as in Jupyter."""

        async def found() -> list[dict[str, Any]]:
            return await asyncio.gather(*(self.find(response) for response in responses))

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, found()).result()

    async def find(self, response: Response) -> dict[str, Any]:
        """The facts about one response; a failure is an unknown verdict with its reason, never 0.

        Where the prompt ends in the tag that opens the thinking, the verifier reads the response with that tag before
        it: one that is cut off in its thinking has no answer. Of several turns, what the policy wrote is measured and
        counted, and the last is judged.
        """
        every, truncated = list(response.token_ids), response.truncated
        columns, sampled = response.columns, response.sampled
        turns = [(0, len(every))] if response.turns is None else list(response.turns)
        tokens = [token for begin, end in turns for token in every[begin:end]]
        text = self._text(tokens)
        begin, end = turns[-1] if turns else (len(every), len(every))
        before = [*list(response.prompt_ids)[-TAIL:], *every[:begin]][-TAIL:]
        last = self._text(every[begin:end])  # an answer that a tool gave, or that stood in an earlier turn, is none
        answered = f"{self._thinking_start}{last}" if opens(self._text(before), self._thinking_start) else last
        judgement = await self._judge(response.gold, answered, truncated, asked(response.messages))
        prompt = key_of(response.messages, columns)
        facts: dict[str, Any] = {
            "acc": 0.0 if judgement.verdict is Verdict.UNKNOWN else judgement.correct,
            "unknown": float(judgement.verdict is Verdict.UNKNOWN),
            "truncated": float(truncated),
            "length": float(len(tokens)),
            "verify_seconds": judgement.seconds,
            "pred": judgement.extracted or "",
            "reason": judgement.code,
            DIFFICULTY: str(columns.get(DIFFICULTY, "")),
            **_effort_of(columns),
            PROMPT_CUT: float(sampled.get(PROMPT_CUT, 0.0)),
            RESPONSE_KEY: response_key(prompt, every),
        }
        facts |= {name: kind(sampled[name]) for name, kind in CARRIED.items() if name in sampled}
        facts |= {name: value for name in self._columns if (value := columns.get(name)) is not None}
        facts |= {name: sampled[name] for name in self._columns if name in sampled and name not in CARRIED}
        if THINKING_LENGTH in self._columns or response.turns is not None:
            thought = (thinking_length(every[a:b], self._text, self._thinking_end) for a, b in turns)
            facts[THINKING_LENGTH] = float(sum(thought))
        if PROMPT_KEY in self._columns:
            facts[PROMPT_KEY] = str(facts.get(PROMPT_KEY, prompt))
        for part in self._measured:
            if isinstance(part, PieceReward):
                facts[part.column] = ""
                if facts["acc"] == 1 and not truncated:
                    await self._ask(part, response, text, facts)
            elif not isinstance(part, PromptReward):
                facts[part.column] = part.value_of(text, tokens)
            elif facts["acc"] == 1 and not truncated:
                await self._ask(part, response, text, facts)
            else:
                facts[part.column] = math.nan
        return facts

    async def _ask(
        self, part: PromptReward | PieceReward, response: Response, text: str, facts: dict[str, Any]
    ) -> None:
        """Measure what needs the prompt; a failure makes the response unknown, as one of the verifier does."""
        prompt = prompt_text(response.messages)
        try:
            if isinstance(part, PromptReward):
                facts[part.column] = await part.ask(prompt, text)
            else:
                tokens = without_end(list(response.token_ids), self._ends)
                pieces = token_pieces(tokens, lambda ids: self._text(list(ids)))
                facts[part.column] = await asyncio.to_thread(part.find, prompt, pieces)
        except Exception as error:
            logger.exception("a response could not be scored")
            reason = f"exception: {type(error).__name__}: {error}"
            judgement = Judgement(verdict=Verdict.UNKNOWN, extracted=None, judge=type(part).__name__, reason=reason)
            nothing = math.nan if isinstance(part, PromptReward) else ""
            facts |= {part.column: nothing, "acc": 0.0, "unknown": 1.0, "reason": judgement.code}

    def _text(self, tokens: list[int]) -> str:
        """The response's text without its end token; tags of thinking stay even where they are special tokens."""
        return str(self._tokenizer.decode(without_end(tokens, self._ends), skip_special_tokens=False))

    async def _judge(self, gold: Any, text: str, truncated: bool, problem: str) -> Judgement:
        try:
            answer = gold_text(gold, self._gold_lists)
        except ValueError as error:
            return Judgement(verdict=Verdict.UNKNOWN, extracted=None, judge="none", reason=f"gold_none: {error}")
        try:
            return await self._verifier.acheck(answer, text, truncated=truncated, problem=problem)
        except Exception as error:  # a trainer would train the rest of the group as if nothing had happened
            logger.exception("a response could not be verified")
            reason = f"exception: {type(error).__name__}: {error}"
            return Judgement(verdict=Verdict.UNKNOWN, extracted=None, judge="none", reason=reason)


def _effort_of(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The level of effort that a prompt states, of data in which prompts do."""
    if EFFORT_NAME not in columns:
        return {}
    level = columns.get(EFFORT)
    return {EFFORT: math.nan if level is None else float(level), EFFORT_NAME: str(columns[EFFORT_NAME] or "")}


def asked(messages: Iterable[Mapping[str, Any]]) -> str:
    """The problem as a prompt has it: what its last user says; the system's instructions may show what a box is."""
    users = [message for message in messages if message.get("role") == "user"]
    return prompt_text(users[-1:])


def prompt_text(messages: Iterable[Mapping[str, Any]]) -> str:
    r"""The text of a prompt's messages, one below the other.

    >>> prompt_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1 ="}])
    'Be brief.\n1 + 1 ='
    """
    return "\n".join(content for message in messages if isinstance(content := message.get("content"), str))
