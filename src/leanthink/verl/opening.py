"""Whether the chat template opens the thinking itself, as DeepSeek-R1's does, and whether the recipe knows.

A part that looks for an opening tag which stands in the prompt finds no thinking in any response.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from leanthink.config import name_of
from leanthink.errors import ConfigError
from leanthink.module import Reward
from leanthink.rewards import ModeSwitchReward

logger = logging.getLogger(__name__)


def end_of_prompt(tokenizer: Any, config: Any) -> str:
    """What a response follows: a rendered prompt; empty where there is no template, or it renders no plain question.

    Args:
        tokenizer: the model's.
        config: verl's whole configuration, whose own template and arguments count.
    """
    template = getattr(config.actor_rollout_ref.model, "custom_chat_template", None)
    if template is None and getattr(tokenizer, "chat_template", None) is None:
        return ""
    arguments = config.get("data", {}).get("apply_chat_template_kwargs", None) or {}
    try:
        return str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": "1 + 1 ="}],
                **({} if template is None else {"chat_template": template}),
                add_generation_prompt=True,
                tokenize=False,
                **arguments,
            )
        )
    except Exception as error:  # a template is a program of somebody's
        logger.warning("the chat template renders no plain question (%s): whether it opens the thinking is open", error)
        return ""


def opens(prompt: str, tag: str) -> bool:
    """Whether a prompt ends in a tag; white space may follow it."""
    return prompt.rstrip().endswith(tag)


def check_opening(reward: Reward, prompt: str) -> None:
    """Refuse parts that take the thinking to be opened where it is not.

    Args:
        reward: the recipe's.
        prompt: a rendered one; an empty one says nothing.

    Raises:
        ConfigError: with every override that puts it right.
    """
    if not prompt:
        return
    cures = []
    for place, part in _places(reward, "reward"):
        opened = opens(prompt, getattr(part, "open_tag", "<think>"))
        if getattr(part, "opened_by_prompt", opened) != opened:
            cures.append(f"{place}.opened_by_prompt={str(opened).lower()}")
        if isinstance(part, ModeSwitchReward) and opens(prompt, part.long_opening):
            raise ConfigError(
                f"{place} begins each response with its mode's opening, and the chat template, which ends in "
                f"{prompt[-40:]!r}, has begun with {part.long_opening!r} already; take it out of the template "
                "(actor_rollout_ref.model.custom_chat_template)"
            )
    if cures:
        raise ConfigError(
            f"the chat template ends in {prompt[-40:]!r}, and parts of the reward expect otherwise: they would find no "
            f"thinking, or two openings; add {' '.join(cures)}"
        )


def _places(reward: Reward, path: str) -> Iterator[tuple[str, Reward]]:
    """Every part, and where an override finds it."""
    place = f"{path}.{name_of(type(reward))}"
    yield place, reward
    for name, child in reward.children().items():
        yield from _places(child, f"{place}.{name}")


def verifier_arguments(given: Mapping[str, Any], prompt: str) -> dict[str, Any]:
    """The verifier's arguments; unless they say otherwise, an opened thinking has to end before there is an answer.

    >>> verifier_arguments({"deadline": 3.0}, "1 + 1 =<think>")
    {'deadline': 3.0, 'require_thinking_end': True}
    """
    opening = str(given.get("thinking_end", "</think>")).replace("/", "", 1)
    return {**given, "require_thinking_end": given.get("require_thinking_end", opens(prompt, opening))}
