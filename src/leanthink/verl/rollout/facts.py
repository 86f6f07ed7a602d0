"""The reward manager: facts about one response, never a shaped number.

It runs in verl's reward workers, sees one response at a time and knows neither its siblings nor whether it belongs to
training or validation. What it returns travels with the response; the sampler on the driver shapes whole groups.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from leanthink.core.batch import PROMPT_KEY, RolloutBatch
from leanthink.core.limits import LIMIT
from leanthink.core.measured import PromptReward
from leanthink.recipe.scoring import measured_rewards
from leanthink.rewards.budget import THINKING_LENGTH
from leanthink.verify import Judgement, Verdict, Verifier
from leanthink.verify.extract import opening_of
from leanthink.verl.rollout import reward_model
from leanthink.verl.rollout.opening import check_opening, end_of_prompt, opens
from leanthink.verl.rollout.single_turn import end_ids, without_end
from leanthink.verl.settings import Settings

logger = logging.getLogger(__name__)

DIFFICULTY: Final = "difficulty"
TAIL: Final = 16
"""Tokens of a prompt's end in which a tag and what follows it stand."""
RESPONSE_KEY: Final = "response_key"
"""The fact that names a response by what it says: the same in every run that samples it."""


class FactFinder:
    """Verifies a response and measures what the recipe's text rewards need.

    The facts: ``acc`` (0/1), ``unknown`` (1: no verdict; then ``acc`` is 0 and the driver masks the response),
    ``truncated``, ``length`` (tokens), the columns the recipe requires, ``pred`` (the extracted answer), ``reason`` and
    ``difficulty`` (the data set's, as text, for tables), ``response_key`` (its prompt's key and a hash of its tokens).
    Every response has the same keys. ``thinking_length``, where it is required, is counted here; ``prompt_key``, where
    it is required and the data do not bring it, is a hash of the prompt: verl's own id is new in every step. ``limit``
    (tokens) comes from our agent loop, and so does ``prompt_key`` where the recipe has a limit. The other columns are
    the data's.
    """

    def __init__(self, config: Any, tokenizer: Any) -> None:
        """Takes verl's whole configuration.

        Raises:
            ConfigError: a part of the reward takes the thinking to be opened by the prompt, and it is not, or not so.
        """
        settings = Settings.read(config)
        reward = settings.build().reward
        self._tokenizer = tokenizer
        self._measured = measured_rewards(reward)
        measured_columns = {part.column for part in self._measured}
        self._columns = sorted(reward.requires - measured_columns - set(RolloutBatch.CORE))
        if settings.check_template:
            check_opening(reward, end_of_prompt(tokenizer, config))
        self._verifier = Verifier(**settings.verify)
        self._thinking_end = str(settings.verify.get("thinking_end", "</think>"))
        self._thinking_start = opening_of(self._thinking_end) or ""
        self._end_ids = end_ids(str(config.actor_rollout_ref.model.path), tokenizer.eos_token_id)

    async def find(
        self,
        tokens: list[int],
        columns: Mapping[str, Any],
        fields: Mapping[str, Any],
        prompt_tokens: Sequence[int] = (),
    ) -> dict[str, Any]:
        """The facts about one response; a failure is an unknown verdict with its reason, never 0.

        Where the prompt ends in the tag that opens the thinking, the verifier reads the response with that tag before
        it: one that is cut off in its thinking has no answer.

        Args:
            tokens: the response, its end token included.
            columns: the data set's, with ``reward_model`` and ``extra_info``.
            fields: what the agent loop says of the response; ``truncated`` is whether it was cut.
            prompt_tokens: what the response was written behind.
        """
        truncated = bool(fields.get("truncated", False))
        text = self._text(tokens)
        opened = opens(self._text(list(prompt_tokens)[-TAIL:]), self._thinking_start)
        judgement = await self._judge(columns, f"{self._thinking_start}{text}" if opened else text, truncated)
        extra_info = columns.get("extra_info") or {}
        prompt = str(extra_info.get(PROMPT_KEY) or prompt_key(columns["raw_prompt"]))
        facts: dict[str, Any] = {
            "acc": 0.0 if judgement.verdict is Verdict.UNKNOWN else judgement.correct,
            "unknown": float(judgement.verdict is Verdict.UNKNOWN),
            "truncated": float(truncated),
            "length": float(len(tokens)),
            "verify_seconds": judgement.seconds,
            "pred": judgement.extracted or "",
            "reason": judgement.code,
            DIFFICULTY: str(extra_info.get(DIFFICULTY, "")),
            RESPONSE_KEY: response_key(prompt, tokens),
        }
        facts |= {name: kind(fields[name]) for name, kind in ((LIMIT, float), (PROMPT_KEY, str)) if name in fields}
        facts |= {name: value for name in self._columns if (value := extra_info.get(name)) is not None}
        facts |= {name: fields[name] for name in self._columns if name in fields and name not in (LIMIT, PROMPT_KEY)}
        if THINKING_LENGTH in self._columns:
            facts[THINKING_LENGTH] = float(thinking_length(tokens, self._text, self._thinking_end))
        if PROMPT_KEY in self._columns:
            facts[PROMPT_KEY] = str(facts.get(PROMPT_KEY, prompt))
        for part in self._measured:
            if not isinstance(part, PromptReward):
                facts[part.column] = part.value_of(text, tokens)
            elif facts["acc"] == 1 and not truncated:
                await self._ask(part, columns, text, facts)
            else:
                facts[part.column] = math.nan
        return facts

    async def _ask(self, part: PromptReward, columns: Mapping[str, Any], text: str, facts: dict[str, Any]) -> None:
        """Measure what needs the prompt; a failure makes the response unknown, as one of the verifier does."""
        try:
            facts[part.column] = await part.ask(prompt_text(columns["raw_prompt"]), text)
        except Exception as error:
            logger.exception("a response could not be scored")
            reason = f"exception: {type(error).__name__}: {error}"
            judgement = Judgement(verdict=Verdict.UNKNOWN, extracted=None, judge=type(part).__name__, reason=reason)
            facts |= {part.column: math.nan, "acc": 0.0, "unknown": 1.0, "reason": judgement.code}

    def _text(self, tokens: list[int]) -> str:
        """The response's text without its end token; tags of thinking stay even where they are special tokens."""
        return str(self._tokenizer.decode(without_end(tokens, self._end_ids), skip_special_tokens=False))

    async def _judge(self, columns: Mapping[str, Any], text: str, truncated: bool) -> Judgement:
        try:
            gold = columns["reward_model"]["ground_truth"]
            return await self._verifier.acheck(str(gold), text, truncated=truncated)
        except Exception as error:  # verl would train the rest of the group as if nothing had happened
            logger.exception("a response could not be verified")
            reason = f"exception: {type(error).__name__}: {error}"
            return Judgement(verdict=Verdict.UNKNOWN, extracted=None, judge="none", reason=reason)


class FactsRewardManager(RewardManagerBase):  # type: ignore[misc]  # verl is untyped
    """verl's way to :class:`FactFinder`, in a reward worker.

    ``reward_score`` is the raw 0/1 verdict, so that validation shows accuracy whatever the recipe shapes.
    """

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Any,
        reward_router_address: str | None = None,
        *_: Any,
        **__: Any,
    ) -> None:
        """Takes verl's arguments; a custom reward function is ignored, the recipe decides."""
        super().__init__(config, tokenizer, compute_score)
        if reward_router_address is not None:
            reward_model.use(reward_router_address, str(config.reward.reward_model.model_path))
        self._finder = FactFinder(config, tokenizer)

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """The facts about the last response of ``data``."""
        item = data[-1:][0]
        columns = item.non_tensor_batch
        responses = item.batch["responses"]
        valid = int(item.batch["attention_mask"][-len(responses) :].sum())
        fields = columns.get("tool_extra_fields") or {}
        prompts = item.batch.get("prompts", responses[:0])
        written = prompts[item.batch["attention_mask"][: len(prompts)].bool()]
        facts = await self._finder.find(responses[:valid].tolist(), columns, fields, written.tolist())
        return {"reward_score": facts["acc"], "reward_extra_info": facts}


def response_key(prompt: str, tokens: Sequence[int]) -> str:
    """A name for a response: its prompt's key, and a hash of its tokens.

    >>> response_key("4d0181ad2081b96f", [5, 7, 2])
    '4d0181ad2081b96f-7b9d50a7b897e432'
    """
    return f"{prompt}-{hashlib.blake2b(array('q', tokens).tobytes(), digest_size=8).hexdigest()}"


def prompt_key(messages: Iterable[Mapping[str, Any]]) -> str:
    """A name for a prompt that is the same in every epoch, process and order of the data: a hash of its messages.

    What is no text, as an image, does not tell prompts apart; give ``extra_info.prompt_key`` then.

    >>> prompt_key([{"role": "user", "content": "1 + 1 ="}])
    '4d0181ad2081b96f'
    """
    text = json.dumps(
        [dict(message) for message in messages], sort_keys=True, default=lambda value: type(value).__name__
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def prompt_text(messages: Iterable[Mapping[str, Any]]) -> str:
    r"""The text of a prompt's messages, one below the other.

    >>> prompt_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1 ="}])
    'Be brief.\n1 + 1 ='
    """
    return "\n".join(content for message in messages if isinstance(content := message.get("content"), str))


def thinking_length(tokens: list[int], decode: Callable[[list[int]], str], thinking_end: str) -> int:
    """How many tokens there are up to the tag that ends the thinking, with it; all where the thinking never ends.

    >>> words = ["so", "4", "</think>", "4"]
    >>> thinking_length([0, 1, 2, 3], lambda ids: " ".join(words[i] for i in ids), "</think>")
    3
    """
    return bisect_left(range(len(tokens)), True, key=lambda count: thinking_end in decode(tokens[:count]))
