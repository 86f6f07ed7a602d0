"""The probes of one response: asking for them, judging them, and what they cost."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from leanthink.core.errors import BatchError
from leanthink.rewards.probed import CUT_TOKENS, PROBE_ACCURACIES, Prefix, ProbedReward
from leanthink.training.responses import was_truncated, without_end
from leanthink.verify import Verdict, Verifier
from leanthink.verify.extract import opens

logger = logging.getLogger(__name__)

PROBED: Final = "leanthink_probed"
"""Where a response's `Probed` travels among verl's extra fields, as a dict."""

ABORTED: Final = frozenset({"abort", "aborted"})

Generate = Callable[[list[int], int], Awaitable[tuple[Any, int]]]
"""Writes the answer number ``n`` after these ids of the response; gives what verl's server manager does, and the
limit that the engine kept to: the context may end before ``probe_tokens`` do."""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What probing found about one response, and its cost.

    Attributes:
        cut_tokens: the column of that name; so is ``probe_accuracies``.
        asked: answers asked for.
        unknown: of them, those without a verdict.
        truncated: of them, those that their limit or the context cut off.
        read_tokens: tokens of all prefixes, the prompt's not counted; an engine that caches prefixes reads few of them.
        written_tokens: tokens of all answers.
        seconds: from the first question to the last verdict.
    """

    cut_tokens: list[int] = field(default_factory=list)
    probe_accuracies: list[float | None] = field(default_factory=list)
    asked: int = 0
    unknown: int = 0
    truncated: int = 0
    read_tokens: int = 0
    written_tokens: int = 0
    seconds: float = 0.0

    def node(self) -> dict[str, Any]:
        """Plain Python, to travel."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """One probe: 1 right, 0 wrong, None unknown."""

    correct: float | None
    tokens: int = 0
    truncated: bool = False
    error: str = ""


class Prober:
    """Cuts responses as a reward wants it, and has short answers from each prefix judged."""

    def __init__(self, part: ProbedReward, tokenizer: Any, verifier: Verifier, end_ids: frozenset[int]) -> None:
        """Takes the verifier that judges the outcomes, too: a step's gain and the outcome must not contradict."""
        self._part = part
        self._verifier = verifier
        self._end_ids = end_ids
        fast = getattr(tokenizer, "backend_tokenizer", tokenizer)  # three times quicker, the text is the same
        self._decode: Callable[[Sequence[int]], str] = partial(fast.decode, skip_special_tokens=False)
        self._close_ids = tokenizer.encode(part.close_tag, add_special_tokens=False)
        self._open_length = len(tokenizer.encode(part.open_tag, add_special_tokens=False))

    def sampling_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The rollout's sampling parameters, changed to those of a probe."""
        own = {"temperature": self._part.probe_temperature, "top_p": self._part.probe_top_p}
        kept = {name: value for name, value in params.items() if name != "max_new_tokens"}
        changed = {name: value for name, value in own.items() if value is not None}
        return {**kept, **changed, "max_tokens": self._part.probe_tokens, "logprobs": False}

    def opened_by(self, prompt_ids: Sequence[int]) -> bool:
        """Whether a prompt ends in the tag that opens the thinking; white space may follow it."""
        tail = self._decode(list(prompt_ids)[-self._open_length - 4 :])
        return opens(tail, self._part.open_tag)

    async def probe(
        self, response_ids: Sequence[int], gold: str, generate: Generate, opened_by_prompt: bool = False
    ) -> Probed:
        """Ask about one response; a prefix of which any answer is unknown has no accuracy."""
        plan = self._part.plan(
            without_end(response_ids, self._end_ids), self._decode, self._close_ids, opened_by_prompt
        )
        prefixes = [(place, prefix) for place, prefix in enumerate(plan.prefixes) if prefix is not None]
        started = time.perf_counter()
        answers = await asyncio.gather(
            *(self._ask(prefix, n, gold, generate) for _, prefix in prefixes for n in range(self._part.probes))
        )
        accuracies: list[float | None] = [None] * len(plan.prefixes)
        for number, (place, _) in enumerate(prefixes):
            of_prefix = answers[number * self._part.probes : (number + 1) * self._part.probes]
            known = [answer.correct for answer in of_prefix if answer.correct is not None]
            accuracies[place] = sum(known) / len(known) if len(known) == len(of_prefix) else None
        if errors := [answer.error for answer in answers if answer.error]:
            logger.warning("%d of %d probes of a response failed, the first: %s", len(errors), len(answers), errors[0])
        return Probed(
            cut_tokens=plan.cut_tokens,
            probe_accuracies=accuracies,
            asked=len(answers),
            unknown=sum(answer.correct is None for answer in answers),
            truncated=sum(answer.truncated for answer in answers),
            read_tokens=sum(len(prefix.token_ids) for _, prefix in prefixes) * self._part.probes,
            written_tokens=sum(answer.tokens for answer in answers),
            seconds=time.perf_counter() - started,
        )

    async def _ask(self, prefix: Prefix, n: int, gold: str, generate: Generate) -> _Answer:
        """One answer; whatever goes wrong makes it unknown, never wrong."""
        try:
            reply, limit = await generate(prefix.token_ids, n)
            tokens = list(reply.token_ids)
            if reply.stop_reason in ABORTED:
                return _Answer(correct=None, tokens=len(tokens), error="aborted by the engine")
            truncated = was_truncated(reply.stop_reason, tokens, limit, self._end_ids)
            tag = prefix.token_ids[len(prefix.token_ids) - prefix.closing :]
            text = self._decode([*tag, *without_end(tokens, self._end_ids)])
            judgement = await self._verifier.acheck(gold, text, truncated=truncated)
        except Exception as error:
            return _Answer(correct=None, error=f"{type(error).__name__}: {error}")
        if judgement.verdict is Verdict.UNKNOWN:
            return _Answer(correct=None, tokens=len(tokens), truncated=truncated, error=judgement.code)
        return _Answer(correct=judgement.correct, tokens=len(tokens), truncated=truncated)


def columns_of(probed: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that rewards read."""
    return {name: probed[name] for name in (CUT_TOKENS, PROBE_ACCURACIES)}


def probe_metrics(probed: Sequence[Mapping[str, Any]], lengths: Sequence[float]) -> dict[str, float]:
    """What the probes of a batch cost and found; shares and means over nothing are left out.

    Counts and tokens are of the whole batch. ``seconds`` is the mean wait of a response for its probes, of which an
    engine answers many at once; what they cost a step shows in verl's ``timing_s/gen``.
    """
    asked = sum(one["asked"] for one in probed)
    written = sum(one["written_tokens"] for one in probed)
    cuts = [max(len(one[CUT_TOKENS]) - 1, 0) for one in probed]
    waits = [one["seconds"] for one in probed if one["asked"]]
    known = [share for one in probed for share in one[PROBE_ACCURACIES] if share is not None]
    metrics = {
        "count": float(asked),
        "cuts": sum(cuts) / max(len(cuts), 1),
        "uncut_share": cuts.count(0) / max(len(cuts), 1),
        "read_tokens": float(sum(one["read_tokens"] for one in probed)),
        "written_tokens": float(written),
        "written_per_response_token": written / max(sum(lengths), 1.0),
    }
    if asked:
        metrics["unknown_share"] = sum(one["unknown"] for one in probed) / asked
        metrics["truncated_share"] = sum(one["truncated"] for one in probed) / asked
        metrics["seconds"] = sum(waits) / len(waits)
    if known:
        metrics["accuracy"] = sum(known) / len(known)
    return {f"probe/{name}": value for name, value in metrics.items()}


def check_known(metrics: Mapping[str, float], max_unknown: float, step: int) -> None:
    """Stop where most probes fail: training would go on without the rewards it is about.

    Raises:
        BatchError: more than the share ``max_unknown`` is unknown.
    """
    share = metrics.get("probe/unknown_share", 0.0)
    if share > max_unknown:
        raise BatchError(
            f"step {step}: {share:.0%} of the probes are unknown, more than leanthink.max_unknown = {max_unknown:.0%}; "
            "look for 'probes of a response failed' in the log (a context too short for prompt, response and answer?), "
            "or raise max_unknown"
        )
