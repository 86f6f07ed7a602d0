"""What a run asks of each GPU, estimated from the model's sizes and verl's keys before anything is started.

With ``P`` parameters, ``R`` ranks (nodes x GPUs), ``H`` hidden size, ``L`` layers, ``I`` the MLP's width, ``W`` words,
``T`` tokens of a micro-batch, and ``tp`` the engine's tensor parallelism, in bytes on each GPU:

- state of the policy: ``12 P / R`` (fp32 weights and two moments of Adam, sharded by FSDP), and in an update
  ``4 P / R`` of gradients; of a critic the same again; of a reference policy, where there is a KL term, ``4 P / R``.
  What is offloaded counts 0;
- an update's work: ``2 T H L`` for inputs of layers (bf16, gradient checkpointing), ``2 T (8 H + 4 I)`` for one
  layer done again, the largest unit, a layer or a words' matrix, gathered twice in bf16, and logits: ``10 T W`` (bf16,
  fp32 and its gradient), or with fused kernels those of `CHUNK` tokens;
- the engine: the share ``gpu_memory_utilization`` of the GPU, of which ``2 P / tp`` are its weights and the rest, less
  ``OVERHEAD``, is its cache: ``4 L K D / tp`` a token with ``K`` key-value heads of ``D`` (bf16).

Sampling holds the states and the engine at once; an update holds the states and its work, the engine being put to sleep
(``free_cache_engine``). What fragmentation, CUDA and NCCL take is `OVERHEAD`. An estimate, some 20 % either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from leanthink.core.errors import ConfigError, DataError
from leanthink.files.reading import read_object
from leanthink.verl.start.launch import VERL_DEFAULTS, Job, reads_critic
from leanthink.verl.update.arrangement import ACTOR, BYPASS, ROLLOUT

GIB: Final = 2**30
OVERHEAD: Final = 3 * GIB
CHUNK: Final = 512  # tokens whose logits verl's fused kernels hold at once
SIZES: Final = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
LARGEST: Final = 10**9
"""The most that any size may be."""
REFERENCE: Final = (f"{ACTOR}.use_kl_loss", "algorithm.use_kl_in_reward")


@dataclass(frozen=True, kw_only=True)
class Model:
    """The sizes of a decoder with gated MLPs, as ``config.json`` of Llama, Qwen and their kin names them."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    num_key_value_heads: int
    head_dim: int
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    max_position_embeddings: int | None = None

    @classmethod
    def read(cls, given: str) -> Self:
        """A model's sizes from its folder, from a ``config.json``, or as stated: ``hidden_size=1536,...``.

        Raises:
            DataError: there is no such file, or it holds no such sizes.
            ConfigError: what is stated is no size.
        """
        path = Path(given).expanduser()
        path = path / "config.json" if path.is_dir() else path
        if path.is_file():
            content = read_object(path)
            text = content if content.get("text_config") is None else content["text_config"]
            if not isinstance(text, Mapping):
                raise DataError(f"{path}: text_config is {text!r:.40}; give an object of sizes, or leave it out")
            return cls.of(text, str(path))
        if "=" not in given:
            raise DataError(
                f"--model {given}: no such folder or file; give a folder with config.json, or sizes as in "
                f"{','.join(f'{name}=N' for name in SIZES)}"
            )
        pairs = (pair.partition("=") for pair in given.replace(" ", "").split(","))
        return cls.of({name: _stated(name, value) for name, _, value in pairs}, "--model")

    @classmethod
    def of(cls, config: Mapping[str, Any], place: str) -> Self:
        """The sizes in a mapping; what it does not say is as transformers has it.

        Raises:
            DataError: a size is missing, or none; or the model has experts.
        """

        def size(name: str, default: int | None = None) -> int:
            found = default if config.get(name) is None and default is not None else config.get(name)
            if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= LARGEST:
                raise DataError(f"{place}: {name} is {found!r:.40}; give a whole number from 1 to {LARGEST:,}")
            return found

        def switch(name: str, default: bool) -> bool:
            found = default if config.get(name) is None else config[name]
            if not isinstance(found, int) or found not in (0, 1):
                raise DataError(f"{place}: {name} is {found!r:.40}; give true or false")
            return bool(found)

        sizes = {name: size(name) for name in SIZES}
        if experts := next((name for name in ("num_experts", "num_local_experts") if config.get(name)), None):
            raise DataError(
                f"{place}: {experts} is {config[experts]!r:.40}; a mixture of experts is not estimated here"
            )
        heads, longest = sizes["num_attention_heads"], "max_position_embeddings"
        return cls(
            **sizes,
            num_key_value_heads=size("num_key_value_heads", heads),
            head_dim=size("head_dim", sizes["hidden_size"] // heads),
            tie_word_embeddings=switch("tie_word_embeddings", False),
            attention_bias=switch("attention_bias", config.get("model_type") == "qwen2"),
            max_position_embeddings=None if config.get(longest) is None else size(longest),
        )

    @property
    def layer(self) -> int:
        """The parameters of a layer."""
        hidden, queries = self.hidden_size, self.num_attention_heads * self.head_dim
        pairs = 2 * self.num_key_value_heads * self.head_dim
        bias = queries + pairs if self.attention_bias else 0
        return hidden * (2 * queries + pairs) + bias + 3 * hidden * self.intermediate_size + 2 * hidden

    @property
    def words(self) -> int:
        """The parameters of one matrix over the vocabulary."""
        return self.vocab_size * self.hidden_size

    @property
    def parameters(self) -> int:
        """All of them.

        >>> small = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "vocab_size": 113}
        >>> Model.of({**small, "num_attention_heads": 4, "tie_word_embeddings": True}, "here").parameters
        867584
        """
        matrices = 1 if self.tie_word_embeddings else 2
        return self.num_hidden_layers * self.layer + matrices * self.words + self.hidden_size

    @property
    def cache_of_token(self) -> int:
        """Bytes that a token takes in the engine's cache, keys and values in bf16."""
        return 4 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run asks of each GPU, in bytes where nothing else is said.

    Attributes:
        state: weights and moments of the policy, sharded; ``reference`` and ``critic`` likewise.
        gradients: of policy and critic, sharded, in an update.
        work: of an update beside these; ``logits``.
        weights: the engine's; ``cache``: what is left of its share for keys and values, 0 or more.
        engine: the engine's whole share.
        least: of the engine, with a cache for one sequence.
        cached_tokens: tokens that the caches of one replica hold.
        longest: tokens of the longest sequence, prompt and response.
        responses: a step's, over all replicas; ``replicas`` of the engine.
        sampled: the most tokens that a step samples.
        flops: of a step of that many tokens, all passes of training, over all GPUs.
        gpu: the memory of one.
    """

    state: float
    reference: float
    critic: float
    gradients: float
    work: float
    logits: float
    weights: float
    engine: float
    cache: float
    least: float
    cached_tokens: float
    longest: int
    responses: int
    replicas: int
    sampled: int
    flops: float
    gpu: float

    @property
    def resident(self) -> float:
        """What stays on a GPU all the time."""
        return self.state + self.reference + self.critic + OVERHEAD

    @property
    def sampling(self) -> float:
        """While the engine samples."""
        return self.resident + self.engine

    @property
    def updating(self) -> float:
        """While the policy is updated."""
        return self.resident + self.gradients + self.work + self.logits

    def troubles(self) -> Iterator[str]:
        """What will not fit, each with the least that helps."""
        if self.updating > self.gpu:
            cure = (
                "set actor_rollout_ref.model.use_fused_kernels=true"
                if self.logits > self.gpu / 10
                else f"give more GPUs, or set {ACTOR}.fsdp_config.optimizer_offload=true"
            )
            yield f"an update takes {_gib(self.updating)} of {_gib(self.gpu)}: {cure}"
        if self.sampling > self.gpu:
            free = self.gpu - self.resident
            cure = f"set {ROLLOUT}.gpu_memory_utilization={int(100 * free / self.gpu) / 100:g}"
            if free < self.least:
                cure = f"give more GPUs, or set {ACTOR}.fsdp_config.param_offload=true and optimizer_offload=true"
            yield f"sampling takes {_gib(self.sampling)} of {_gib(self.gpu)}: {cure}"
        if self.cached_tokens < self.longest:
            yield (
                f"the engine's cache holds {self.cached_tokens:,.0f} tokens, the longest sequence has "
                f"{self.longest:,}: raise {ROLLOUT}.gpu_memory_utilization or {ROLLOUT}.tensor_model_parallel_size"
            )


def estimate(job: Job, model: Model, gpu_gib: float) -> Estimate:
    """What a job asks of each of its GPUs.

    Args:
        job: a recipe on so many GPUs, of the profile ``gpu``.
        model: its sizes.
        gpu_gib: the memory of a GPU, in GiB.

    Raises:
        ConfigError: the engine's tensor parallelism does not divide the GPUs.
    """
    keys = {**VERL_DEFAULTS, **job.keys()}
    ranks, parallel = job.nodes * job.gpus, int(keys[f"{ROLLOUT}.tensor_model_parallel_size"])
    if parallel < 1 or ranks % parallel:
        raise ConfigError(f"{ROLLOUT}.tensor_model_parallel_size is {parallel}; give a divisor of the {ranks} GPUs")
    parameters, gpu = model.parameters, gpu_gib * GIB
    offloads = keys.get(f"{ACTOR}.fsdp_config.param_offload"), keys.get(f"{ACTOR}.fsdp_config.optimizer_offload")
    per_parameter = (0 if offloads[0] else 4) + (0 if offloads[1] else 8)
    has_reference = any(keys.get(key) for key in REFERENCE)
    prompt, response = int(keys["data.max_prompt_length"]), int(keys["data.max_response_length"])
    tokens = int(keys.get(f"{ACTOR}.ppo_max_token_len_per_gpu") or prompt + response)
    fused = bool(keys.get("actor_rollout_ref.model.use_fused_kernels"))
    hidden = model.hidden_size
    inputs = 2 * tokens * hidden * model.num_hidden_layers
    again = 2 * tokens * (8 * hidden + 4 * model.intermediate_size)
    engine = float(keys[f"{ROLLOUT}.gpu_memory_utilization"]) * gpu
    weights = 2 * parameters / parallel
    cache = max(0.0, engine - weights - OVERHEAD)
    responses = int(keys["data.train_batch_size"]) * int(keys[f"{ROLLOUT}.n"])
    # 6 for an update, 2 for each pass that only reads: old log-probabilities unless bypassed, the reference's.
    passes = 6 * int(keys.get(f"{ACTOR}.ppo_epochs", 1)) + 2 * (not keys.get(BYPASS)) + 2 * has_reference
    passes += 8 * reads_critic(job.recipe)
    return Estimate(
        state=per_parameter * parameters / ranks,
        reference=4 * parameters / ranks if has_reference else 0.0,
        critic=12 * parameters / ranks if reads_critic(job.recipe) else 0.0,
        gradients=4 * parameters / ranks * (1 + reads_critic(job.recipe)),
        work=inputs + again + 4 * max(model.layer, model.words),
        logits=10 * (min(CHUNK, tokens) if fused else tokens) * model.vocab_size,
        weights=weights,
        engine=engine,
        cache=cache,
        least=weights + OVERHEAD + (prompt + response) * model.cache_of_token / parallel,
        cached_tokens=cache * parallel / model.cache_of_token,
        longest=prompt + response,
        responses=responses,
        replicas=ranks // parallel,
        sampled=responses * response,
        flops=float(passes) * parameters * responses * (prompt + response),
        gpu=gpu,
    )


def lines_of(found: Estimate, model: Model) -> Iterator[tuple[str, str]]:
    """An estimate as lines of a table: what, and how much."""
    yield "parameters", f"{model.parameters / 1e9:.2f} billion"
    yield "policy: weights and Adam", _gib(found.state)
    if found.reference:
        yield "reference policy", _gib(found.reference)
    if found.critic:
        yield "critic", _gib(found.critic)
    yield "an update's gradients", _gib(found.gradients)
    yield "an update's activations", _gib(found.work)
    yield "an update's logits", _gib(found.logits)
    yield "engine: weights", _gib(found.weights)
    yield "engine: cache", f"{_gib(found.cache)}, {found.cached_tokens:,.0f} tokens a replica"
    whole = min(found.cached_tokens / found.longest, found.responses / found.replicas)
    yield "longest sequences at once", f"{whole:,.0f} of {found.responses / found.replicas:,.0f} a replica"
    yield "while sampling, of each GPU", f"{_gib(found.sampling)} of {_gib(found.gpu)}"
    yield "while updating, of each GPU", f"{_gib(found.updating)} of {_gib(found.gpu)}"
    yield "tokens a step, at most", f"{found.sampled:,} sampled in {found.responses:,} responses"
    yield "training compute a step, at most", f"{found.flops / 1e15:,.1f} PFLOP"


def _gib(size: float) -> str:
    return f"{size / GIB:,.1f} GiB"


def _stated(name: str, value: str) -> int:
    if not value.isdecimal() or len(value) > len(str(LARGEST)):
        raise ConfigError(f"--model: {name}={value} is no size; give a whole number up to {LARGEST:,}")
    return int(value)
