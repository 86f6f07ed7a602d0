"""The process that writes the responses: it gathers waiting requests and samples them as one batch.

It imports torch and transformers but not verl, so that it is ready sooner; `leanthink.verl.cpu.reply` turns its answers
into verl's own type where they are read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from leanthink.core.errors import ConfigError, LeanthinkError, did_you_mean
from leanthink.testbed.generate import Sampling
from leanthink.verl.cpu.reply import Reply
from leanthink.verl.cpu.sampler import Completion, Request, sample

_LENGTH = ("max_tokens", "max_new_tokens")  # vLLM's name and SGLang's
_ENDS = ("ignore_eos", "stop_token_ids")
_SAMPLING = {"temperature", "top_p", "top_k", *_LENGTH, *_ENDS, "logprobs", "logit_bias", "seed"}
_NEUTRAL = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "min_p": 0.0, "n": 1}


ABORTED = Completion(token_ids=[], log_probs=[], finish_reason="aborted")


class GenerationError(LeanthinkError, RuntimeError):
    """The rollout server could not write a response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """What the server needs to know of verl's rollout and model configuration; lengths in tokens, times in seconds."""

    model_path: str
    prompt_length: int
    response_length: int
    replica_rank: int = 0
    seed: int = 0
    ignore_eos: bool = False
    max_model_len: int | None = None
    max_num_seqs: int = 1024
    trust_remote_code: bool = False
    override_config: Mapping[str, Any] | None = None
    gather_pause: float = 0.05
    gather_patience: float = 0.3
    gather_limit: float = 3.0


@dataclass(slots=True)
class _Waiting:
    request: Request
    answer: asyncio.Future[Completion]
    global_steps: int = 0  # the version of the weights it is sampled with


class GenerationServer:
    """Answers ``generate`` calls; the model runs in a thread, so control calls are answered meanwhile.

    Small batches take almost as long as large ones, and verl hands out a step's requests one by one. A step asks for as
    many responses as the last one did: when that many have come, their batch starts at once. As long as many of them
    are missing, it starts when none has come for ``gather_patience`` seconds, and otherwise after ``gather_pause``; in
    any case ``gather_limit`` seconds after the first request.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._model, self._stop_ids = load_model(config)
        self._targets = {name: tensor.detach() for name, tensor in self._model.state_dict().items()}
        self._limit = min(
            config.max_model_len or 1 << 30, getattr(self._model.config, "max_position_embeddings", 1 << 30)
        )
        self._global_steps = 0
        self._seen: Counter[tuple[int, ...]] = Counter()
        self._queue: list[_Waiting] = []
        self._came = self._came_last = 0  # requests under these weights, and under those before
        self._arrived = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._rejecting = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop_task: asyncio.Task[None] | None = None

    async def ready(self) -> bool:
        """Answers once the model is loaded."""
        return True

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling_params: Mapping[str, Any],
        request_id: str,
        image_data: Sequence[Any] | None = None,
        video_data: Sequence[Any] | None = None,
        **unused: Any,
    ) -> Reply:
        """Write one response.

        ``sampling_params`` are vLLM's: temperature, top_p, top_k, max_tokens (or max_new_tokens), ignore_eos,
        stop_token_ids, logit_bias, seed; without max_tokens the response may take ``response_length`` tokens, and
        prompt and response together ``prompt_length + response_length``.
        """
        if image_data or video_data or unused.get("audio_data"):
            raise ConfigError("CPU rollout: got image, video or audio data; it writes text only, use a GPU engine")
        while not self._open.is_set():
            if self._rejecting:
                return _reply(ABORTED, self._global_steps)
            await self._open.wait()
        waiting = _Waiting(self._request(list(prompt_ids), sampling_params), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._came += 1
        self._arrived.set()
        if self._loop_task is None or self._loop_task.done():
            self._loop_task = asyncio.create_task(self._serve())
        return _reply(await waiting.answer, waiting.global_steps)

    async def generate_all(self, asked: Sequence[Mapping[str, Any]]) -> list[Reply | BaseException]:
        """The responses to several requests, each the arguments of `generate`; one that failed is its exception."""
        return await asyncio.gather(*(self.generate(**one) for one in asked), return_exceptions=True)

    def _request(self, prompt_ids: list[int], params: Mapping[str, Any]) -> Request:
        for name, value in params.items():
            if name not in _SAMPLING and value is not None and value != _NEUTRAL.get(name):
                hint = did_you_mean(name, _SAMPLING)
                raise ConfigError(f"CPU rollout: sampling parameter {name}={value!r} is not supported; {hint}")
        room = self._limit - len(prompt_ids)
        if not prompt_ids or room < 1:
            raise ConfigError(
                f"CPU rollout: a prompt of {len(prompt_ids)} tokens; it must have 1 to {self._limit - 1}, the model's "
                "context less one; lower data.max_prompt_length or use a model with a longer context"
            )
        config = self._config
        wanted = next((params[name] for name in _LENGTH if params.get(name) is not None), None)
        if wanted is None:
            wanted = min(config.response_length, config.prompt_length + config.response_length - len(prompt_ids))
        stop_ids = frozenset(params.get("stop_token_ids") or ())
        if not params.get("ignore_eos", config.ignore_eos):
            stop_ids |= self._stop_ids
        bias = {int(token): float(value) for token, value in (params.get("logit_bias") or {}).items()}
        vocabulary = self._model.config.vocab_size
        if wrong := [token for token in bias if not 0 <= token < vocabulary]:
            raise ConfigError(f"CPU rollout: logit_bias names token {wrong[0]}; the model has 0 to {vocabulary - 1}")
        key = tuple(prompt_ids)
        self._seen[key] += 1
        return Request(
            prompt_ids=prompt_ids,
            sampling=Sampling(
                max_new_tokens=max(1, min(int(wanted), room)),
                temperature=float(params.get("temperature", 1.0)),
                top_p=float(params.get("top_p", 1.0)),
                top_k=int(params.get("top_k", -1)),
            ),
            seed=seed_of(
                config.seed + int(params.get("seed") or 0),
                config.replica_rank,
                self._global_steps,
                self._seen[key],
                prompt_ids,
            ),
            stop_ids=stop_ids,
            logit_bias=bias,
        )

    async def _serve(self) -> None:
        """Batch after batch, for as long as requests wait."""
        while self._queue:
            await self._gather()
            batch, self._queue = self._queue[: self._config.max_num_seqs], self._queue[self._config.max_num_seqs :]
            if not batch:
                return
            self._idle.clear()
            for waiting in batch:
                waiting.global_steps = self._global_steps
            try:
                loop = asyncio.get_running_loop()
                await asyncio.to_thread(self._run, batch, loop)
            except Exception as error:
                message = f"CPU rollout {self._config.replica_rank}: sampling {len(batch)} responses failed: {error!r}"
                for waiting in batch:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(GenerationError(message))
            finally:
                self._idle.set()

    async def _gather(self) -> None:
        """Wait until no request comes for a while, or all have come, or the first has waited long enough."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._config.gather_limit
        while len(self._queue) < self._config.max_num_seqs and self._came != self._came_last:
            pause = self._config.gather_patience if self._came < 0.9 * self._came_last else self._config.gather_pause
            if (left := latest - loop.time()) <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), min(left, pause))
            except TimeoutError:
                return

    def _run(self, batch: list[_Waiting], loop: asyncio.AbstractEventLoop) -> None:
        completions = sample(
            self._model,
            [waiting.request for waiting in batch],
            aborted=lambda: not self._open.is_set(),
        )
        for index, completion in completions:
            loop.call_soon_threadsafe(_answer, batch[index].answer, completion)

    async def load_weights(self, weights: Mapping[str, np.ndarray[Any, Any]], global_steps: int | None = None) -> None:
        """Copy the trained weights into the model; ``global_steps`` is their version."""
        await self._idle.wait()
        load_weights(self._targets, weights)
        self._global_steps = global_steps or 0
        self._seen.clear()
        if self._came:
            self._came, self._came_last = 0, self._came

    async def abort_all_requests(self, reject_request: bool = False) -> None:
        """End all responses where they are and hold new requests, or refuse them, until ``resume_generation``."""
        self._rejecting = reject_request
        self._open.clear()
        queue, self._queue = self._queue, []
        for waiting in queue:
            _answer(waiting.answer, ABORTED)
        await self._idle.wait()

    async def resume_generation(self) -> None:
        """Take requests again."""
        self._rejecting = False
        self._open.set()

    async def set_global_steps(self, global_steps: int) -> None:
        """Note the version of the weights."""
        self._global_steps = global_steps

    async def wake_up(self, *args: Any, **kwargs: Any) -> None:
        """Weights stay in memory."""

    async def sleep(self, *args: Any, **kwargs: Any) -> None:
        """Weights stay in memory."""

    async def clear_kv_cache(self) -> None:
        """A cache lives as long as its batch."""

    async def release_kv_cache(self) -> None:
        """A cache lives as long as its batch."""

    async def resume_kv_cache(self) -> None:
        """A cache lives as long as its batch."""

    async def start_profile(self, **kwargs: Any) -> None:
        """Nothing to profile with."""

    async def stop_profile(self) -> None:
        """Nothing to profile with."""


def _reply(completion: Completion, global_steps: int) -> Reply:
    return Reply(
        token_ids=completion.token_ids,
        log_probs=completion.log_probs,
        stop_reason="aborted" if completion.finish_reason == "aborted" else "completed",
        extra_fields={"global_steps": global_steps, "finish_reason": completion.finish_reason},
    )


def _answer(future: asyncio.Future[Completion], completion: Completion) -> None:
    if not future.done():
        future.set_result(completion)


def seed_of(seed: int, replica_rank: int, global_steps: int, occurrence: int, prompt_ids: Sequence[int]) -> int:
    """A request's own seed.

    Request ids are random, so what tells requests apart is the prompt and how often it was asked under these weights:
    a repeated run draws the same responses for each prompt, in whatever order the requests come.
    """
    key = repr((seed, replica_rank, global_steps, occurrence, list(prompt_ids))).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def load_weights(targets: Mapping[str, torch.Tensor], weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Copy ``weights`` into the tensors ``targets``; every tensor must be covered, tied ones by one of their names."""
    unknown = [name for name in weights if name not in targets]
    covered = {targets[name].data_ptr() for name in weights if name in targets}
    missing = [name for name, tensor in targets.items() if tensor.data_ptr() not in covered]
    if unknown or missing:
        raise GenerationError(
            f"CPU rollout: the trained weights do not fit the model: unknown {unknown[:3]}, missing {missing[:3]}; "
            "the trainer and the rollout must load the same model, and LoRA needs model.lora.merge=True"
        )
    for name, value in weights.items():
        np.copyto(targets[name].numpy(), value, casting="same_kind")


def load_model(config: ServerConfig) -> tuple[Any, frozenset[int]]:
    """The model in float32 with torch's attention, and its stop tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    overrides = {**(config.override_config or {}), "attn_implementation": "sdpa"}
    model = AutoModelForCausalLM.from_pretrained(
        config.model_path, dtype=torch.float32, trust_remote_code=config.trust_remote_code, **overrides
    ).eval()
    model.requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(config.model_path, trust_remote_code=config.trust_remote_code)
    stop_ids = {tokenizer.eos_token_id, *_ids(model.generation_config.eos_token_id)} - {None}
    return model, frozenset(stop_ids)


def _ids(value: int | Sequence[int] | None) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif value is not None:
        yield from value
