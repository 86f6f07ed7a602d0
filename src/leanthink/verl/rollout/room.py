"""When the engine ends a response, whatever the model writes: the one place that says so. Imports no verl."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from leanthink.files.models import config_of, reading

UNBOUNDED: Final = 1 << 30
"""The context of a model that names none; verl's own engines refuse it."""


def limit_of(config: Any, prompt_tokens: int, asked: int | None = None) -> int:
    """After how many tokens the engine ends a response.

    Args:
        config: verl's whole configuration.
        prompt_tokens: what the response is written behind.
        asked: ``max_tokens`` of the request; without it verl's servers take the response limit, from which a prompt
            takes what it has beyond its own.
    """
    rollout = config.actor_rollout_ref.rollout
    if asked is None:
        room = rollout.prompt_length + rollout.response_length - prompt_tokens
        asked = min(rollout.response_length, room)
    return max(1, min(int(asked), context_of(config) - prompt_tokens))


def context_of(config: Any) -> int:
    """How many tokens of prompt and response together the engine takes.

    That is ``rollout.max_model_len``. verl's servers put the model's own context in its place where it is null, but in
    their copy of the configuration only. SGLang's keeps a place free.
    """
    rollout, model = config.actor_rollout_ref.rollout, config.actor_rollout_ref.model
    changes = _plain(model.get("override_config", None) or {})
    own = changes.get("model_config", changes).get("max_position_embeddings")
    path = str(model.get("hf_config_path", None) or model.path)
    context = int(own) if own else model_context(path, bool(model.get("trust_remote_code", False)))
    set_to = rollout.get("max_model_len", None)
    return min(context, int(set_to) if set_to else context) - int(rollout.get("name", None) == "sglang")


@lru_cache(maxsize=8)
def model_context(path: str, trust_remote_code: bool = False, local_files_only: bool = False) -> int:
    """The context that a model's configuration names (tokens); `UNBOUNDED` where it names none.

    Raises:
        ConfigError: there is no such model, or none that can be read.
    """
    place = f"model {path}"
    where = {"trust_remote_code": trust_remote_code, "local_files_only": local_files_only}
    config = config_of(local_path(path), place, **where)
    for one in (config, getattr(config, "text_config", None)):
        if (positions := getattr(one, "max_position_embeddings", None)) is not None:
            with reading(place, "context", "max_position_embeddings has to be a whole number"):
                return int(positions)
    return UNBOUNDED


def local_path(path: str) -> str:
    """Where a model's files lie: verl has fetched what it fetches itself, as from HDFS."""
    if "://" not in path:
        return path
    from verl.utils.fs import copy_to_local

    return str(copy_to_local(path))


def _plain(node: Any) -> Mapping[str, Any]:
    if isinstance(node, Mapping):
        return node
    from omegaconf import OmegaConf

    plain: Mapping[str, Any] = OmegaConf.to_container(node, resolve=True)
    return plain
