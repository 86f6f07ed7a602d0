"""verl's own vLLM server and client on the CPU, for tests of the agent loops against it, without a trainer.

Where vLLM cannot run, importing this skips the importing file, and says why.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from leanthink.core.installed import version_of
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.verl.cpu import profile, vllm
from leanthink.verl.start.launch import Job

if lack := vllm.lacking(version_of):
    pytest.skip(f"no vLLM here: {lack}; `make check-engine` makes an environment that has it", allow_module_level=True)

os.environ.update({**profile.ENVIRONMENT, **vllm.ENVIRONMENT})  # Ray's processes have it from this one
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import hydra
    import ray
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap, _agent_loop_registry
    from verl.utils.config import omega_conf_to_dataclass
    from verl.utils.dataset.rl_dataset import get_dataset_class
    from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient, LLMServerClient
    from verl.workers.rollout.replica import RolloutMode
    from verl.workers.rollout.router import GlobalRequestLoadBalancer
    from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer

PROMPT_LIMIT, RESPONSE_LIMIT, CONTEXT = 16, 400, 256  # the context is the model's own, and shorter than the two
SUMS = ((3, 4), (21, 17), (40, 35), (8, 60), (12, 12), (55, 30), (9, 9), (33, 44))
PARAMS = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True}
EOS, OTHER_END = 1, 112
"""The tokenizer's end token, and one that only ``config.json`` names and the policy never writes by itself."""


class WatchedServer(vLLMHttpServer):
    """verl's server, whose replies also bring what vLLM said of them and verl leaves out."""

    async def launch_server(self, *args: Any, **kwargs: Any) -> None:
        await super().launch_server(*args, **kwargs)
        self._finished: dict[str, str | None] = {}
        self._begun = 0
        generate = self.engine.generate

        async def watched(*, request_id: str, **call: Any) -> Any:
            self._begun += 1
            async for step in generate(request_id=request_id, **call):
                if step.outputs:
                    self._finished[request_id] = step.outputs[0].finish_reason
                yield step

        self.engine.generate = watched

    async def begun(self) -> int:
        """How many requests the engine has been given."""
        return self._begun

    async def generate(self, prompt_ids: list[int], sampling_params: dict, request_id: str, **kwargs: Any) -> Any:
        reply = await super().generate(prompt_ids, sampling_params, request_id, **kwargs)
        reply.extra_fields["finish_reason"] = self._finished.pop(request_id, None)
        return reply


class Listening:
    """A client that keeps each request and its reply."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.calls: list[tuple[dict, Any]] = []

    async def generate(self, request_id: str, **call: Any) -> Any:
        asked = {**call, "sampling_params": dict(call["sampling_params"])}  # the server takes the dict apart
        reply = await self.inner.generate(request_id, **call)
        self.calls.append((asked, reply))
        return reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass(frozen=True)
class Sampled:
    """One session of one sum: what its loop gave, and the requests it took, with their replies."""

    output: Any
    calls: list[tuple[dict, Any]]

    @property
    def finish(self) -> str:
        """What vLLM said of the last request."""
        return self.calls[-1][1].extra_fields["finish_reason"]

    @property
    def fields(self) -> dict:
        return self.output.extra_fields


def ending_otherwise(folder: Path) -> Path:
    """The testbed's policy without generation settings; its ``config.json`` names two end tokens."""
    shutil.copytree(policy_path(), folder)
    (folder / "generation_config.json").unlink()
    node = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**node, "eos_token_id": [EOS, OTHER_END]}), encoding="utf-8")
    return folder


def config_of(model: Path, recipe: str, *changes: str, **keys: Any) -> tuple[Any, Any]:
    """A recipe, and verl's whole configuration for it, as ``--profile cpu --engine vllm`` makes it."""
    loaded = load_recipe(recipe, list(changes), "cpu")
    lengths = {"data.max_prompt_length": PROMPT_LIMIT, "data.max_response_length": RESPONSE_LIMIT}
    weights = {"actor_rollout_ref.rollout.load_format": "auto"}  # no trainer sends any
    job = Job(
        recipe=loaded, profile="cpu", engine="vllm", model=str(model), train_files=("a",), val_files=("b",),
        folder="c", gpus=1, steps=1, extra={**lengths, **weights, **keys},
    )  # fmt: skip
    with hydra.initialize_config_module("verl.trainer.config", version_base=None):
        return loaded, hydra.compose("ppo_trainer", overrides=job.arguments())


class Engine:
    """One vLLM server, and clients of it."""

    def __init__(self, model: Path) -> None:
        self.model = model
        _, config = config_of(model, "grpo")
        rollout = config.actor_rollout_ref
        # Replies come in by the hundred; the name tells processes of one run from those of another.
        options = {"name": f"vllm_{uuid4().hex[:6]}", "num_cpus": 0, "max_concurrency": 1000}
        self.server = (
            ray.remote(WatchedServer)
            .options(**options)
            .remote(
                config=rollout.rollout, model_config=rollout.model, rollout_mode=RolloutMode.STANDALONE, workers=[],
                replica_rank=0, node_rank=0, gpus_per_node=1, nnodes=1, cuda_visible_devices="",
            )
        )  # fmt: skip
        ray.get(self.server.launch_server.remote())
        self._balancer = ray.remote(GlobalRequestLoadBalancer).options(num_cpus=0).remote(servers={"0": self.server})

    def client(self, config: Any, resuming: bool = False) -> Any:
        """What verl gives its agent loops; the async trainer modes' goes on with what was interrupted."""
        return (FullyAsyncLLMServerClient if resuming else LLMServerClient)(config, self._balancer)

    def loop(self, config: Any, name: str, client: Any) -> Any:
        """An agent loop as verl makes one for each response."""
        model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
        return hydra.utils.instantiate(
            config=_agent_loop_registry[name], trainer_config=DictConfigWrap(config=config), server_manager=client,
            tokenizer=model.tokenizer, processor=None, hf_model_type="llama", tools=ToolListWrap([]),
            dataset_cls=get_dataset_class(config.data), data_config=DictConfigWrap(config.data),
        )  # fmt: skip

    async def sessions(
        self, config: Any, name: str, n: int = 1, params: dict = PARAMS, resuming: bool = False,
        questions: list[str] | None = None, **fields: Any,
    ) -> list[Sampled | BaseException]:  # fmt: skip
        """``n`` sessions of each sum at once, each in a loop of its own."""
        asked = questions or [f"{a} + {b} =" for a, b in SUMS]
        golds = [str(a + b) for a, b in SUMS] if questions is None else ["0"] * len(asked)
        template = self.loop(config, name, None)  # its tokenizer takes longest
        runs, heard = [], []
        for place, (question, gold) in enumerate(zip(asked, golds, strict=True)):
            for session in range(n):
                loop = object.__new__(type(template))
                loop.__dict__.update(template.__dict__)
                loop.server_manager = Listening(self.client(config, resuming))
                heard.append(loop.server_manager)
                runs.append(
                    loop.run(
                        dict(params), raw_prompt=[{"role": "user", "content": question}], uid=f"u{place}",
                        session_id=session, reward_model={"ground_truth": gold}, extra_info={}, **fields,
                    )
                )  # fmt: skip
        done = await asyncio.gather(*runs, return_exceptions=True)
        return [
            one if isinstance(one, BaseException) else Sampled(one, listening.calls)
            for one, listening in zip(done, heard, strict=True)
        ]

    def sample(self, config: Any, name: str, n: int = 1, **more: Any) -> list[Sampled]:
        """As :meth:`sessions`, where none fails; sessions without a response are left out."""
        done = asyncio.run(self.sessions(config, name, n, **more))
        for one in done:
            if isinstance(one, BaseException):
                raise one
        return [one for one in done if not isinstance(one.output, list)]


@contextmanager
def running(folder: Path) -> Iterator[Engine]:
    """A Ray of the test's own with one server in it."""
    ray.init(
        address="local", num_cpus=32, num_gpus=1, include_dashboard=False, object_store_memory=256 * 2**20,
        log_to_driver=False,
    )  # fmt: skip
    try:
        yield Engine(ending_otherwise(folder / "model"))
    finally:
        ray.shutdown()
