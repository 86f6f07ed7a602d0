"""verl's way to the facts about a response: its reward manager, which fetches, asks, and returns them.

It runs in verl's reward workers. What it returns travels with the response; the sampler on the driver shapes whole
groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from leanthink.training.facts import FactFinder, Response
from leanthink.training.responses import end_ids
from leanthink.training.template import check_tokens, end_of_prompt
from leanthink.verl import TURNS_FIELD
from leanthink.verl.rollout import reward_model as served
from leanthink.verl.rollout.room import local_path
from leanthink.verl.settings import Settings


def fact_finder(config: Any, tokenizer: Any) -> FactFinder:
    """Who finds the facts of a run of verl.

    Args:
        config: verl's whole configuration, whose own chat template and arguments count.
        tokenizer: the model's.

    Raises:
        ConfigError: a part of the reward takes the thinking to be opened by the prompt, and it is not, or not so; or a
            text to be one token, and it is not.
    """
    settings, model = Settings.read(config), config.actor_rollout_ref.model
    check_tokens(settings.build().reward, tokenizer)
    prompt = ""
    if settings.check_template:
        arguments = config.get("data", {}).get("apply_chat_template_kwargs", None) or {}
        prompt = end_of_prompt(tokenizer, getattr(model, "custom_chat_template", None), arguments)
    ends = end_ids(local_path(str(model.path)), tokenizer.eos_token_id)
    return FactFinder(settings, tokenizer, ends, prompt)


def response_of(
    tokens: Sequence[int], columns: Mapping[str, Any], fields: Mapping[str, Any], prompt_tokens: Sequence[int] = ()
) -> Response:
    """A response of verl's.

    Args:
        tokens: the response, its end token included.
        columns: the data set's, with ``raw_prompt``, ``reward_model`` and ``extra_info``.
        fields: what the agent loop says of the response; ``truncated`` is whether it was cut.
        prompt_tokens: what the response was written behind.
    """
    reward_model = columns.get("reward_model")
    gold = reward_model.get("ground_truth") if isinstance(reward_model, Mapping) else None
    return Response(
        token_ids=tokens,
        messages=columns["raw_prompt"],
        gold=gold,
        truncated=bool(fields.get("truncated", False)),
        prompt_ids=prompt_tokens,
        columns=columns.get("extra_info") or {},
        sampled=fields,
        turns=fields.get(TURNS_FIELD),
    )


class FactsRewardManager(RewardManagerBase):  # type: ignore[misc]  # verl is untyped
    """The facts about a response, found in a reward worker.

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
            served.use(reward_router_address, str(config.reward.reward_model.model_path))
        self._finder = fact_finder(config, tokenizer)

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """The facts about the last response of ``data``."""
        item = data[-1:][0]
        columns = item.non_tensor_batch
        responses = item.batch["responses"]
        valid = int(item.batch["attention_mask"][-len(responses) :].sum())
        fields = columns.get("tool_extra_fields") or {}
        prompts = item.batch.get("prompts", responses[:0])
        written = prompts[item.batch["attention_mask"][: len(prompts)].bool()]
        facts = await self._finder.find(response_of(responses[:valid].tolist(), columns, fields, written.tolist()))
        return {"reward_score": facts["acc"], "reward_extra_info": facts}
