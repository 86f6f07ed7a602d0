"""Two of the three places where verl has no door for a CPU and something is replaced while the program runs.

The third is the queue of the agent loop workers (`leanthink.verl.cpu.gathering`). All happen only under
``VERL_PLATFORM=cpu``, once a process, and refuse to touch anything that no longer looks as it did in verl 0.9 and
torch 2.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

from leanthink.core.errors import DependencyError

_MARK = "__leanthink_cpu__"


def install() -> None:
    """Prepare this process for training on the CPU; calling it again changes nothing."""
    import torch.distributed as dist

    if not hasattr(dist.init_process_group, _MARK):
        require_parameters(dist.init_process_group, "torch.distributed.init_process_group", {"backend", "world_size"})
        dist.init_process_group = _init_process_group(dist.init_process_group)
    chatty = logging.getLogger("verl.utils.tokenizer.continuous_token_wiring")
    if not any(isinstance(known, _Once) for known in chatty.filters):
        chatty.addFilter(_Once())  # it remarks for every single response that Llama has no tokenisation of its own


class _Once(logging.Filter):
    """Lets each message of a logger pass once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return message not in self._said and not self._said.add(message)  # type: ignore[func-returns-value]


def _init_process_group(original: Callable[..., None]) -> Callable[..., None]:
    """Let verl's ``cpu:gloo,<device>:<backend>`` pass when the device is the CPU itself.

    torch refuses ``cpu:gloo,cpu:gloo`` as a duplicate. Only the training workers of verl create a process group, before
    they build their model, so this is also where a process learns that it is one: the other replacement is made here,
    and no other process pays for its imports.
    """

    @functools.wraps(original)
    def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> None:
        if isinstance(backend, str):
            backend = ",".join(dict.fromkeys(backend.split(",")))
        load_value_models_with_sdpa()
        original(backend, *args, **kwargs)

    setattr(init_process_group, _MARK, True)
    return init_process_group


def load_value_models_with_sdpa() -> None:
    """Make verl load the critic with torch's attention: it names ``flash_attention_2``, which needs CUDA."""
    import verl.utils.model

    original = verl.utils.model.load_valuehead_model
    if not hasattr(original, _MARK):
        parameters = set(inspect.signature(_load_value_model).parameters)
        require_parameters(original, "verl.utils.model.load_valuehead_model", parameters)
        verl.utils.model.load_valuehead_model = _load_value_model


def _load_value_model(local_path: str, torch_dtype: Any, model_config: Any, trust_remote_code: bool) -> Any:
    from transformers import AutoModelForTokenClassification

    return AutoModelForTokenClassification.from_pretrained(
        local_path,
        torch_dtype=torch_dtype,
        config=model_config,
        attn_implementation="sdpa",
        trust_remote_code=trust_remote_code,
    )


setattr(_load_value_model, _MARK, True)


def require_dict(module: Any, name: str) -> dict[Any, Any]:
    """The registry ``module.name``, which verl offers no function to add to."""
    registry = getattr(module, name, None)
    if not isinstance(registry, dict):
        raise DependencyError(
            f"CPU profile: {module.__name__}.{name} is {type(registry).__name__}, not a dict; this version of "
            "leanthink fits verl 0.9.x, install that or update leanthink"
        )
    return registry


def require_parameters(function: Callable[..., Any] | None, name: str, parameters: set[str]) -> None:
    """Refuse a function that no longer takes these parameters, or is no longer there.

    Raises:
        DependencyError: naming it, what it takes, and the versions that fit.
    """
    found = set(inspect.signature(function).parameters) if function is not None else set()
    if missing := sorted(parameters - found):
        raise DependencyError(
            f"CPU profile: {name} takes {sorted(found)}, no longer {missing}; this version of leanthink fits "
            "verl 0.9.x with torch 2.7 to 2.13, install those or update leanthink"
        )
