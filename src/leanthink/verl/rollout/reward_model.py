"""Asks the reward model that verl serves (``reward.reward_model``) how concise a response is.

verl starts it with the rollout engine's servers behind one router, whose address its reward workers know; there this
runs. The model is a chat model that answers with a number.
"""

from __future__ import annotations

import re
from typing import Final

import aiohttp

from leanthink.core.errors import ConfigError

PROMPT: Final = (
    "Rate how concise the following solution is, from 0.1 (much repetition, irrelevant steps) to 1.0 (no repetition, "
    "no irrelevant step, as few words as possible at the same quality). Whether its answer is right does not matter. "
    "Answer with the number only.\n\nProblem:\n{prompt}\n\nSolution:\n{response}"
)

LONGEST: Final = 200
"""Characters of an answer that may be a number; it was asked for 16 tokens."""

DEADLINE: Final = 300.0
"""Seconds for one answer."""

_MARKS: Final = r"[\s*`]*"
_ANSWER: Final = re.compile(rf"{_MARKS}(?:[^\d:]*:{_MARKS})?(0?\.[0-9]+|[01]|1\.0+){_MARKS}\.?{_MARKS}")
"""A number from 0 to 1 and no other; in front of it a label, such as "Score:", behind it a full stop."""

_served: dict[str, str] = {}


def use(router: str, model: str) -> None:
    """Ask the model behind this router from now on; the reward manager does this when it is made."""
    _served.update(url=f"http://{router}/v1/chat/completions", model=model)


async def conciseness(prompt: str, response: str) -> float | None:
    """The model's number; None where its answer is none.

    Raises:
        ConfigError: verl serves no reward model to this process.
    """
    if not _served:
        raise ConfigError(
            "scorer leanthink.verl.rollout.reward_model:conciseness: verl serves no reward model; set "
            "reward.reward_model.enable=true, reward.reward_model.enable_resource_pool=true and "
            "reward.reward_model.model_path"
        )
    content = PROMPT.format(prompt=prompt, response=response)
    body = {"model": _served["model"], "messages": [{"role": "user", "content": content}]}
    settings = {"temperature": 0.0, "max_tokens": 16}
    timeout = aiohttp.ClientTimeout(total=DEADLINE)
    async with (
        aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
        session.post(_served["url"], json={**body, **settings}) as reply,
    ):
        answer = (await reply.json())["choices"][0]["message"]["content"]
    return number_in(answer)


def number_in(answer: str) -> float | None:
    """The number from 0 to 1 that an answer is, a label, Markdown's marks and a full stop aside; None for any other.

    >>> number_in("**Score:** 0.7."), number_in("10 of 10"), number_in("1/10"), number_in("none")
    (0.7, None, None, None)
    """
    found = _ANSWER.fullmatch(answer) if len(answer) <= LONGEST else None
    return None if found is None else float(found[1])
