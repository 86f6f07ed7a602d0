"""Hands out prompts together with the limit of their responses, and sends them to the loop that the reward needs.

verl offers this door as ``actor_rollout_ref.rollout.agent.agent_loop_manager_class``. Here the step and the state are
known, and whether it is validation; the agent loops get a plain number with each prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tensordict import NonTensorData, TensorDict
from verl.trainer.ppo.v1 import AgentLoopManagerTQ
from verl.utils import tensordict_utils as tu

from leanthink.core.batch import PROMPT_KEY
from leanthink.core.errors import ConfigError
from leanthink.core.limits import Thinking
from leanthink.training.names import key_of
from leanthink.training.told import stating
from leanthink.verl.rollout.loops import loop_of
from leanthink.verl.rollout.room import limit_of
from leanthink.verl.rollout.single_turn import LIMIT_FIELD
from leanthink.verl.rollout.thinking import THINKING_FIELD
from leanthink.verl.settings import Settings


class LimitSource(Protocol):
    """Who knows the limits: the sampler's shaper, which holds the state."""

    def limits(self, prompts: Sequence[str], step: int) -> list[int]:
        """The limit of each prompt, by its key, at verl's global step."""


_sources: list[LimitSource] = []  # one trainer in a process: verl makes its sampler first, then the manager


def use(source: LimitSource) -> None:
    """Ask ``source`` from now on; the sampler does this when it is made."""
    _sources[:] = [source]


class DispatchingManager(AgentLoopManagerTQ):  # type: ignore[misc]  # verl is untyped
    """verl's manager of agent loops; training prompts go out as the recipe wants them.

    Where it has a limit, each goes out with its key and its limit. Where its reward needs an agent loop of its own, as
    one that probes, they go there, unless the data set names agent loops; validation never does.

    In the async trainer modes prompts go out ahead of the step that trains on them: their limit is that of the step
    at which they went out, and a prompt sent again after a resume gets that of the resumed step.
    """

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        """Takes verl's arguments."""
        super().__init__(config, *args, **kwargs)
        recipe = Settings.read(config).build()
        self._limit_of, self._loop = recipe.limit, loop_of(recipe)

    def generate_sequences(self, prompts: TensorDict) -> None:
        """Hand out prompts, as verl does; those of validation get no limit, unless it says so."""
        validate = bool(tu.get(prompts, "validate", False))
        if isinstance(self._limit_of, Thinking) and self._limit_of.in_validation:
            validate = False
        if self._limit_of is not None:
            self._limit(prompts, validate)
        if self._loop is not None and not validate and "agent_name" not in set(prompts.keys()):
            prompts["agent_name"] = NonTensorData(self._loop)
        super().generate_sequences(prompts)

    def _limit(self, prompts: TensorDict, validate: bool) -> None:
        """Write key and limit beside each prompt, and the limit into its text where it is stated."""
        messages = [list(one) for one in tu.get(prompts, "raw_prompt")]
        longest = limit_of(self.config, 0)  # of any response; what a long prompt takes from it is seen where it is read
        if validate:
            limits = [longest] * len(messages)
        else:
            if not _sources:
                raise ConfigError(
                    "the recipe has a limit, but leanthink's sampler, which knows it, is not in use; set "
                    "trainer.v1.sampler.custom_sampler as `leanthink show RECIPE --verl` prints it"
                )
            infos = tu.get(prompts, "extra_info", [{}] * len(messages))
            keys = [key_of(one, info or {}) for one, info in zip(messages, infos, strict=True)]
            limits = [min(limit, longest) for limit in _sources[0].limits(keys, int(tu.get(prompts, "global_steps")))]
            tu.assign_non_tensor_stack(prompts, PROMPT_KEY, keys)
            field = THINKING_FIELD if isinstance(self._limit_of, Thinking) else LIMIT_FIELD
            tu.assign_non_tensor_stack(prompts, field, limits)
        stated = [stating(one, limit) for one, limit in zip(messages, limits, strict=True)]
        if stated != messages:
            tu.assign_non_tensor_stack(prompts, "raw_prompt", stated)
