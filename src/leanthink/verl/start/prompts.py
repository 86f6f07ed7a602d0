"""Whether prompts fit as the rollout will read them, said before verl starts: verl cuts a longer one with a warning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from leanthink.core.errors import ConfigError
from leanthink.files import models
from leanthink.rewards.opened import MANY, OpenedReward
from leanthink.training.names import own_arguments
from leanthink.training.sampling import only_part
from leanthink.training.template import check_arguments
from leanthink.training.told import instructed, stating
from leanthink.verl.rollout.room import model_context
from leanthink.verl.start.launch import VERL_DEFAULTS, Job

LOOKED_AT: Final = 1000
"""Prompts of a file that are counted, spread over it."""

PROMPT, RESPONSE = "data.max_prompt_length", "data.max_response_length"
CONTEXT: Final = "actor_rollout_ref.rollout.max_model_len"
TRUST: Final = "actor_rollout_ref.model.trust_remote_code"
TEMPLATE: Final = "actor_rollout_ref.model.custom_chat_template"
ARGUMENTS: Final = "data.apply_chat_template_kwargs"

Messages = Sequence[Mapping[str, Any]]


def tokenizer_of(job: Job) -> Any | None:
    """The model's tokenizer; None where it is not on this machine, or a program that the job does not trust."""
    trusts = _is_trusted(job)
    try:
        return models.tokenizer_of(job.model, "--model", trust_remote_code=trusts, local_files_only=True)
    except ConfigError:
        return None


def context_notice(job: Job) -> Iterator[str]:
    """What is to be said where the engine's context is shorter than prompt and response; nothing if it is not known."""
    keys = {**VERL_DEFAULTS, **job.keys()}
    if "://" in job.model:
        return  # verl fetches it
    try:
        own = model_context(job.model, _is_trusted(job), local_files_only=True)
    except ConfigError:
        return
    context = min(own, int(keys.get(CONTEXT) or own))
    if context < keys[PROMPT] + keys[RESPONSE]:
        yield (
            f"the engine's context is {context} tokens, less than {PROMPT} + {RESPONSE} = {keys[PROMPT]} + "
            f"{keys[RESPONSE]}: responses that reach it are cut there, and count as truncated"
        )


def prompt_notice(
    job: Job, file: str, prompts: Sequence[Messages], tokenizer: Any, infos: Sequence[Mapping[str, Any]] = ()
) -> Iterator[str]:
    """What is to be said of a file in which prompts are too long.

    Args:
        job: whose recipe may add to a prompt: an instruction of a mode, or the limit in words.
        file: its name.
        prompts: the messages of each row.
        tokenizer: the model's.
        infos: the ``extra_info`` of each row, which may give the chat template arguments of its own.

    Raises:
        ConfigError: the template does not read such an argument.
    """
    keys = {**VERL_DEFAULTS, **job.keys()}
    rows = list(zip(prompts, map(own_arguments, infos or [{}] * len(prompts)), strict=True))
    for own in {tuple(sorted(arguments)) for _, arguments in rows}:
        check_arguments(str(keys.get(TEMPLATE) or tokenizer.chat_template), dict.fromkeys(own))
    limit, step = int(keys[PROMPT]), math.ceil(len(prompts) / LOOKED_AT) or 1
    looked_at = rows[::step]
    lengths = [
        max(_length(tokenizer, one, keys, arguments) for one in _told(job, messages, keys))
        for messages, arguments in looked_at
    ]
    if not (longer := [length for length in lengths if length > limit]):
        return
    yield (
        f"{len(longer)} of {len(looked_at)} prompts looked at in {file} have more tokens than {PROMPT} = {limit} (the "
        f"longest {max(longer)}, with what the recipe adds): verl cuts them from the left, where the question begins; "
        f"raise {PROMPT}, or leave them out (leanthink/prompt_cut_share counts them in training)"
    )


def _is_trusted(job: Job) -> bool:
    """Whether verl's own key says that the model's Python files may be run."""
    return job.keys().get(TRUST) is True


def _told(job: Job, messages: Messages, keys: Mapping[str, Any]) -> Iterator[Messages]:
    """The ways in which the rollout may put a prompt, each at its longest."""
    if job.recipe.limit is not None:
        messages = stating(messages, int(keys[RESPONSE]))
    yield messages
    if (part := only_part(job.recipe.reward, OpenedReward)) is not None:
        told = {part.opening(session, MANY).instruction for session in range(MANY)}
        yield from (instructed(messages, text) for text in sorted(told) if text)


def _length(tokenizer: Any, messages: Messages, keys: Mapping[str, Any], arguments: Mapping[str, Any]) -> int:
    """A prompt's tokens, as the chat template puts it."""
    own = {"chat_template": keys[TEMPLATE]} if keys.get(TEMPLATE) else {}
    text = tokenizer.apply_chat_template(
        [dict(one) for one in messages],
        add_generation_prompt=True,
        tokenize=False,
        **own,
        **{**(keys.get(ARGUMENTS) or {}), **arguments},
    )
    return len(tokenizer.encode(text, add_special_tokens=False))
