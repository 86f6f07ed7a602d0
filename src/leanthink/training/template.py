"""Whether the chat template opens the thinking itself, as DeepSeek-R1's does, and whether the recipe knows.

A part that looks for an opening tag which stands in the prompt finds no thinking in any response.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from leanthink.core.batch import TEMPLATE_ARGUMENTS
from leanthink.core.errors import ConfigError
from leanthink.core.reward import Reward
from leanthink.recipe.registry import name_of
from leanthink.rewards.opened import MANY, OpenedReward
from leanthink.verify.extract import opens

logger = logging.getLogger(__name__)

_FIRST: Final = re.compile(r"<[^<>\s]+>|\S+")


def end_of_prompt(
    tokenizer: Any, template: str | None = None, arguments: Mapping[str, Any] = MappingProxyType({})
) -> str:
    """What a response follows: a rendered prompt; empty where there is no template, or it renders no plain question.

    Args:
        tokenizer: the model's.
        template: a chat template in place of the tokenizer's own.
        arguments: what the trainer gives the template.
    """
    if template is None and getattr(tokenizer, "chat_template", None) is None:
        return ""
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


def check_arguments(template: str | None, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of a row that the chat template does not read: every level would be the same prompt.

    Args:
        template: the chat template's text; None where the model has none.
        arguments: the row's.

    Raises:
        ConfigError: naming the first.
    """
    for name in arguments:
        if name not in (template or ""):
            raise ConfigError(
                f"extra_info.{TEMPLATE_ARGUMENTS}: the rows give the chat template {name!r}, which the model's does "
                "not read, so that all their prompts would be the same; take a model whose template does, or state the "
                "level in the prompt (`leanthink prepare --efforts` without --effort-argument)"
            )


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
        if tag := _opened_twice(part, prompt):
            raise ConfigError(
                f"{place} has each response begin with its mode's opening, and the chat template, which ends in "
                f"{prompt[-40:]!r}, has begun with {tag!r} already; take it out of the template "
                "(actor_rollout_ref.model.custom_chat_template)"
            )
    if cures:
        raise ConfigError(
            f"the chat template ends in {prompt[-40:]!r}, and parts of the reward expect otherwise: they would find no "
            f"thinking, or two openings; add {' '.join(cures)} (leanthink.check_template=false, where your prompts end "
            "otherwise than this one)"
        )


def check_tokens(reward: Reward, tokenizer: Any) -> None:
    """Refuse a model that has no token of its own for what a part of the reward takes to be one.

    Args:
        reward: the recipe's.
        tokenizer: the model's.

    Raises:
        ConfigError: with the text and what it is to the model.
    """
    for place, part in _places(reward, "reward"):
        texts = list(getattr(part, "single_tokens", ()))
        if isinstance(part, OpenedReward):
            openings = (part.opening(session, MANY) for session in (0, MANY - 1))
            texts += [opening.text for opening in openings if opening.one_token]
        for text in texts:
            ids = tokenizer.encode(text, add_special_tokens=False)
            if len(ids) != 1 or ids[0] == getattr(tokenizer, "unk_token_id", None):
                what = "an unknown token" if len(ids) == 1 else f"{len(ids)} tokens"
                raise ConfigError(
                    f"{place}: {text!r} is {what} of this model, and has to be one; take a model that was fine-tuned "
                    "with it, or name the token that yours has"
                )


def _opened_twice(part: Reward, prompt: str) -> str | None:
    """The tag that both the prompt ends in and a response to it begins with; None where there is none."""
    texts = list(getattr(part, "single_tokens", ()))
    if isinstance(part, OpenedReward):
        texts += [part.opening(session, MANY).text for session in (0, MANY - 1)]
    given = (_FIRST.match(text) for text in texts)
    return next((tag[0] for tag in given if tag and opens(prompt, tag[0])), None)


def _places(reward: Reward, path: str) -> Iterator[tuple[str, Reward]]:
    """Every part, and where an override finds it."""
    place = f"{path}.{name_of(type(reward))}"
    yield place, reward
    for name, child in reward.children().items():
        yield from _places(child, f"{place}.{name}")
