"""verl's own agent loops with ours around them, built as a run on the CPU builds them, driven by what a test gives."""

import asyncio
import dataclasses
from functools import cache
from types import SimpleNamespace

from hydra import compose, initialize_config_module
from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap
from verl.tools.tool_registry import load_all_tools
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.workers.rollout.replica import TokenOutput

from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.testbed.tools import Tools
from leanthink.verl.cpu.tools import KEYS
from leanthink.verl.rollout.tools import ToolsAgentLoop
from leanthink.verl.start.launch import Job

TOKENIZER = build_tokenizer(Tools())
TURNS = "actor_rollout_ref.rollout.multi_turn"


@cache
def config_of(recipe, testbed, overrides=(), keys=()):
    """verl's whole configuration of a run on a testbed; ``keys`` are pairs."""
    job = Job(
        recipe=load_recipe(recipe, overrides, profile="cpu"),
        profile="cpu",
        model=str(policy_path(testbed)),
        train_files=("train.parquet",),
        val_files=("test.parquet",),
        folder="run",
        extra=dict(keys),
    )
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=job.arguments())


def loop_of(kind, config, tokenizer, generate, tools=()):
    """An agent loop as verl's worker builds it; ``generate`` is in the place of the engine."""
    return kind(
        trainer_config=DictConfigWrap(config),
        server_manager=SimpleNamespace(generate=generate),
        tokenizer=tokenizer,
        processor=None,
        dataset_cls=RLHFDataset,
        data_config=DictConfigWrap(config.data),
        hf_model_type="llama",
        tools=ToolListWrap(list(tools)),
    )


def tool_config(changes=()):
    """That of a run of ``tool_cost``."""
    return config_of("tool_cost", "tools", keys=tuple({**KEYS, **dict(changes)}.items()))


def calculator(function=None):
    """The testbed's calculator as verl loads it; with a function of one's own in it, where one is given."""
    (tool,) = load_all_tools(None, tool_config().actor_rollout_ref.rollout.multi_turn.function_tool_path)
    return tool if function is None else dataclasses.replace(tool, fn=function)


def talk(question, turns, changes=(), tools=None, **given):
    """What our loop says of a conversation in which the policy writes ``turns``, one after another.

    An engine ends a turn after as many tokens as it was asked for. Returns the output and the engine's calls.
    """
    calls, left = [], list(turns)
    known = [calculator()]  # loading it registers the form of its calls, too

    async def generate(**call):
        calls.append(call)
        ids = TOKENIZER.encode(left.pop(0))
        kept = ids[: call["sampling_params"]["max_tokens"]]
        return TokenOutput(token_ids=kept, log_probs=[-0.5] * len(kept), stop_reason="completed", extra_fields={})

    async def run():
        loop = loop_of(ToolsAgentLoop, tool_config(changes), TOKENIZER, generate, known if tools is None else tools)
        return await loop.run({"temperature": 1.0}, raw_prompt=[{"role": "user", "content": question}], **given)

    return asyncio.run(run()), calls
