"""Which of verl's keys a recipe stands for, on a GPU cluster and on the CPU; starts nothing and imports no verl."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from leanthink.algorithms import AnyAdvantage, Drpo, Loss, PpoClip, PpoVariant, VerlAdvantage, VerlLoss
from leanthink.core import code
from leanthink.core.errors import ConfigError
from leanthink.core.text import quoted
from leanthink.recipe.definition import Recipe
from leanthink.recipe.keys import Profile, tree_keys
from leanthink.recipe.lengths import LONGEST
from leanthink.recipe.sizes import DECIDED_BY_STEPS, TESTBED_SIZES
from leanthink.runs.folder import Run
from leanthink.runs.identity import EPOCHS, STEPS
from leanthink.verl import NAME, TOOLS
from leanthink.verl.cpu import profile as cpu
from leanthink.verl.cpu import vllm
from leanthink.verl.hydra import Reference, overrides
from leanthink.verl.rollout.loops import CHANGES_SAMPLING, check_rollouts, check_thinking, loop_of
from leanthink.verl.settings import Settings
from leanthink.verl.update import arrangement
from leanthink.verl.update.arrangement import ACTOR, BYPASS, ROLLOUT

SAMPLER: Final = "trainer.v1.sampler"
MODE: Final = "trainer.v1.trainer_mode"
MANAGER: Final = f"+{ROLLOUT}.agent.agent_loop_manager_class"

MAINS: Final = {"cpu": "leanthink.verl.cpu.main", "gpu": "verl.trainer.main_ppo"}
FILTER: Final = "algorithm.filter_groups"
KEPT: Final = "trainer.max_actor_ckpt_to_keep"

VALIDATION: Final[Mapping[str, Any]] = {
    f"{ROLLOUT}.val_kwargs.do_sample": True,
    f"{ROLLOUT}.val_kwargs.temperature": Reference(f"${{{ROLLOUT}.temperature}}"),
    f"{ROLLOUT}.val_kwargs.top_p": Reference(f"${{{ROLLOUT}.top_p}}"),
    f"{ROLLOUT}.val_kwargs.top_k": Reference(f"${{{ROLLOUT}.top_k}}"),
    f"{ROLLOUT}.val_kwargs.n": 1,
}
"""Held-out questions are answered as training samples, not greedily, as verl does by default: lengths differ."""

GPU: Final[Mapping[str, Any]] = {
    "trainer.device": "cuda",
    "trainer.logger": ["console", "tensorboard"],
    f"{ROLLOUT}.name": "vllm",
    f"{ROLLOUT}.tensor_model_parallel_size": 1,
    f"{ROLLOUT}.gpu_memory_utilization": 0.6,
    f"{ROLLOUT}.log_prob_use_dynamic_bsz": True,
    "actor_rollout_ref.ref.log_prob_use_dynamic_bsz": True,
    "actor_rollout_ref.model.use_remove_padding": True,
    "actor_rollout_ref.model.enable_gradient_checkpointing": True,
    # Logits of 16k tokens and 152k words are 10 GB in fp32, and there are several such at once: never whole.
    "actor_rollout_ref.model.use_fused_kernels": True,
    f"{ACTOR}.use_dynamic_bsz": True,
    **VALIDATION,
    "data.filter_overlong_prompts": True,  # verl cuts one beyond data.max_prompt_length where the question begins
    EPOCHS: 3,  # verl: 30
    KEPT: 2,  # verl keeps all: of 1.5 B parameters some 20 GB each
    "trainer.save_freq": 20,
    "trainer.test_freq": 20,
}

GPU_CRITIC: Final[Mapping[str, Any]] = {
    "critic.model.path": Reference("${actor_rollout_ref.model.path}"),  # it starts from the policy's weights
    "critic.model.use_remove_padding": True,
    "critic.model.enable_gradient_checkpointing": True,
    "trainer.max_critic_ckpt_to_keep": Reference(f"${{{KEPT}}}"),
}
"""Beside `GPU`, where the advantage reads a critic's values; the CPU profile has its own."""

VERL_DEFAULTS: Final[Mapping[str, int]] = {
    "data.train_batch_size": 1024,
    "data.max_prompt_length": 512,
    "data.max_response_length": 512,
    f"{ACTOR}.ppo_mini_batch_size": 256,
    f"{ROLLOUT}.n": 1,
}

REFILLS: Final = 30
"""Batches of prompts a step that a filter of groups may go through: verl's default is no limit."""

CPU: Final[Mapping[str, Any]] = {
    **cpu.OVERRIDES,
    "trainer.save_freq": 20,
    "trainer.test_freq": 1_000_000,  # before training and, as verl always does, after the last step
    **VALIDATION,
}


Engine = Literal["tiny", "vllm"]
"""What writes the responses on the CPU."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training run: a recipe on data, a model and machines.

    Attributes:
        recipe: what to train by, loaded for the same profile.
        profile: ``cpu`` or ``gpu``.
        model: a folder or a Hub name.
        train_files: parquet files as ``leanthink prepare`` writes them; so are ``val_files``.
        folder: what the run leaves lies below it, as `leanthink.runs.folder.Run` has it.
        nodes: machines.
        gpus: GPUs on each; on the CPU, data-parallel ranks.
        steps: training steps; None for as many as the epochs hold.
        options: our own options, as `Settings` has them.
        extra: further keys of verl; they win over everything.
        engine: what writes the responses on the CPU: an engine of our own, or verl's vLLM server as on GPUs.
    """

    recipe: Recipe
    profile: Profile
    model: str
    train_files: tuple[str, ...]
    val_files: tuple[str, ...]
    folder: str
    nodes: int = 1
    gpus: int = 8
    steps: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    engine: Engine = "tiny"

    def __post_init__(self) -> None:
        if self.engine != "tiny" and self.profile != "cpu":
            raise ConfigError(
                f"--engine {self.engine} chooses the CPU profile's engine; give --profile cpu with it. On GPUs the "
                f"engine is {ROLLOUT}.name, vllm unless you say otherwise"
            )

    @property
    def tiny(self) -> bool:
        """Whether our own engine writes the responses."""
        return self.profile == "cpu" and self.engine == "tiny"

    @property
    def kind(self) -> Profile:
        """Whose program and workers train: the CPU profile's own, or those of GPUs, which vLLM has on the CPU, too."""
        return "cpu" if self.tiny else "gpu"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the processes that train."""
        if self.profile == "gpu":
            return {}
        return dict(cpu.ENVIRONMENT) if self.tiny else {**cpu.ENVIRONMENT, **vllm.ENVIRONMENT}

    def keys(self) -> dict[str, Any]:
        """verl's keys, later ones winning: the profile's, the loss's, the recipe's, the job's own, ``extra``."""
        recipe = self.recipe
        if self.profile == "cpu":
            own = {key: value for key, value in recipe.cpu.items() if key not in tree_keys(recipe.cpu)}
            engine = {} if self.tiny else vllm.OVERRIDES
            keys = {**CPU, **loss_keys(recipe.loss), **recipe.verl, **TESTBED_SIZES, **own, **engine}
        else:
            keys = {**GPU, **(GPU_CRITIC if reads_critic(recipe) else {}), **loss_keys(recipe.loss), **recipe.verl}
        keys |= {**self._data(), **self.extra}
        self._set_epochs(keys)
        if keys.get(f"{FILTER}.enable"):
            keys.setdefault(f"{FILTER}.max_num_gen_batches", REFILLS)
        keys["trainer.logger"] = _with_file(keys.get("trainer.logger", ["console"]))
        mode = str(keys.get(MODE, "sync"))
        if self.tiny and mode == "sync":
            # The CPU engine samples in fp32 from the very weights that are trained: its log-probabilities are the old
            # policy's to 1e-7, and computing them again costs a fifth of a step.
            keys.setdefault(BYPASS, loop_of(recipe) not in CHANGES_SAMPLING)
        if loop_of(recipe) in CHANGES_SAMPLING and keys.get(BYPASS):
            raise ConfigError(
                f"recipe {recipe.name}: {BYPASS} is true, but its rollouts do not sample a token as the policy does: "
                f"log-probabilities at sampling do not hold; set {BYPASS}=false"
            )
        check_rollouts(recipe, _size(keys, f"{ROLLOUT}.n"))
        check_thinking(recipe, _size(keys, LONGEST))
        options = self._options(keys)
        keys |= {**self._plugin(mode, options), **self._own_code()}
        ranks = self.nodes * self.gpus
        if recipe.loss.whole_groups:
            arrangement.set_sizes(keys)
        (_token_budgets if self.profile == "gpu" else _micro_batches)(keys, ranks, reads_critic(recipe))
        arrangement.require(recipe.loss, arrangement.value_of(keys), bool(options.get("sort_by_length")))
        return keys

    def validation(self) -> dict[str, Any]:
        """How held-out questions are answered: ``do_sample``, ``temperature``, ``top_p`` and ``n``."""
        keys = self.keys()
        found = {}
        for name in ("do_sample", "temperature", "top_p", "n"):
            value = keys[f"{ROLLOUT}.val_kwargs.{name}"]
            training = {"temperature": 1.0, "top_p": 1.0}.get(name)  # verl's own
            found[name] = keys.get(f"{ROLLOUT}.{name}", training) if isinstance(value, Reference) else value
        return found

    def arguments(self) -> list[str]:
        """The arguments of verl's program, `MAINS`."""
        return overrides(self.keys())

    def command(self) -> str:
        """The whole command, to be pasted into a shell."""
        lines = [f"python -m {MAINS[self.kind]}", *map(quoted, self.arguments())]
        variables = self.environment
        if self.profile == "cpu" and code.names_own(self.recipe.parts()):
            variables[code.FOLDERS] = os.pathsep.join(code.folders())
        return " \\\n  ".join([*(f"{name}={quoted(value)}" for name, value in variables.items()), *lines])

    def _data(self) -> dict[str, Any]:
        run = Run(folder=Path(self.folder))
        keys: dict[str, Any] = {
            "actor_rollout_ref.model.path": self.model,
            "data.train_files": list(self.train_files),
            "data.val_files": list(self.val_files),
            "trainer.nnodes": self.nodes,
            "trainer.n_gpus_per_node": self.gpus,
            "trainer.default_local_dir": str(run.checkpoints),
            "trainer.validation_data_dir": str(run.validation),
            "hydra.run.dir": str(run.folder / "hydra"),
            "trainer.project_name": NAME,
            "trainer.experiment_name": self.recipe.name,
        }
        if self.steps is not None:
            keys[STEPS] = self.steps
        return keys

    def _set_epochs(self, keys: dict[str, Any]) -> None:
        """Where steps are given, and no epochs beside them, the steps decide."""
        asked = self.steps is not None or STEPS in self.extra
        beside = self.extra if asked else {**self.recipe.verl, **self.extra}
        if keys.get(STEPS) is not None and EPOCHS not in beside:
            keys[EPOCHS] = DECIDED_BY_STEPS

    def _options(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        """Our own options: with the tiny engine, those that make a step of a small model quick; the caller's win."""
        if not self.tiny:
            return dict(self.options)
        one_update = _size(keys, f"{ACTOR}.ppo_mini_batch_size") == _size(keys, "data.train_batch_size")
        sort = one_update and not self.recipe.loss.whole_groups
        return {"poll_interval": 0.05, "sort_by_length": sort, **self.options}

    def _plugin(self, mode: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """What makes verl call us; the same for every recipe."""
        settings = Settings.of(self.recipe, **options)
        return {
            "trainer.use_v1": True,
            **advantage_keys(self.recipe.advantage),
            f"{ROLLOUT}.agent.default_agent_loop": NAME if self.recipe.agent is None else TOOLS,
            **self._manager(),
            "reward.reward_manager.source": "importlib",
            "reward.reward_manager.name": "FactsRewardManager",
            "reward.reward_manager.module.path": "pkg://leanthink.verl.rollout.facts",
            f"{SAMPLER}.custom_sampler.path": "pkg://leanthink.verl.driver.shaping",
            f"{SAMPLER}.custom_sampler.name": "ShapingReplayBuffer" if mode == "sync" else "ShapingReplayBufferAsync",
            f"+{SAMPLER}.sampler_kwargs.leanthink": Reference("${leanthink}"),
            f"+{SAMPLER}.sampler_kwargs.run": {
                "folder": self.folder,
                "nodes": Reference("${trainer.nnodes}"),
                "gpus": Reference("${trainer.n_gpus_per_node}"),
                "checkpoints": Reference("${trainer.default_local_dir}"),
                "resume_mode": Reference("${trainer.resume_mode}"),
                "resume_from": Reference("${trainer.resume_from_path}"),
                "rollouts": Reference("${trainer.rollout_data_dir}"),
                "filter_groups": Reference("${algorithm.filter_groups}"),
                "sync_refill_failed_groups": Reference(f"${{{SAMPLER}.sync_refill_failed_groups}}"),
                "train_batch_size": Reference("${data.train_batch_size}"),
                "gen_batch_size": Reference("${data.gen_batch_size}"),
            },
            "trainer.checkpoint_callback_class": "leanthink.verl.driver.checkpoint.SaveRewardState",
            f"+{NAME}": settings.node(),
        }

    def _own_code(self) -> dict[str, Any]:
        """Where the recipe's own code lies, for processes on other machines, which do not have our environment."""
        if self.profile == "cpu" or not code.names_own(self.recipe.parts()):
            return {}
        return {"+ray_kwargs.ray_init.runtime_env.env_vars": {code.FOLDERS: os.pathsep.join(code.folders())}}

    def _manager(self) -> dict[str, str]:
        """Who hands out prompts: verl's own where nothing else is needed."""
        if self.tiny:
            return {MANAGER: "leanthink.verl.cpu.agents.CpuManager"}
        dispatches = self.recipe.limit is not None or loop_of(self.recipe) is not None
        return {MANAGER: "leanthink.verl.driver.dispatch.DispatchingManager"} if dispatches else {}


def _with_file(loggers: Any) -> list[str]:
    """The loggers, and the one whose file the commands read: into the run's folder."""
    names = [loggers] if isinstance(loggers, str) else list(loggers)
    return [*(name for name in names if name != "file"), "file"]


def advantage_keys(advantage: AnyAdvantage) -> dict[str, Any]:
    """verl's keys of an advantage: our estimator, which reads the recipe's settings, or verl's own with its."""
    if isinstance(advantage, VerlAdvantage):
        settings = {f"algorithm.{name}": value for name, value in vars(advantage).items()}
        return {"algorithm.adv_estimator": advantage.estimator, **settings}
    return {"algorithm.adv_estimator": NAME, "+algorithm.leanthink": Reference("${leanthink.advantage}")}


def loss_keys(loss: Loss) -> dict[str, Any]:
    """verl's keys of a policy loss."""
    if isinstance(loss, PpoClip):
        return {
            f"{ACTOR}.policy_loss.loss_mode": "vanilla",
            f"{ACTOR}.clip_ratio": loss.low,
            f"{ACTOR}.clip_ratio_low": loss.low,
            f"{ACTOR}.clip_ratio_high": loss.high,
            f"{ACTOR}.clip_ratio_c": loss.dual,
            f"{ACTOR}.loss_agg_mode": loss.aggregation,
        }
    if isinstance(loss, VerlLoss):
        own = {f"{ACTOR}.{key}": value for key, value in loss.keys().items()}
        return {f"{ACTOR}.policy_loss.loss_mode": loss.mode, **own}
    if isinstance(loss, PpoVariant):
        return {**loss_keys(loss.of), **arrangement.loss_keys(loss)}
    if isinstance(loss, Drpo):
        return arrangement.loss_keys(loss)
    raise ConfigError(f"loss {type(loss).__name__} has no counterpart in verl; give one of leanthink's own")


def reads_critic(recipe: Recipe) -> bool:
    """Whether verl trains a critic beside the policy."""
    return isinstance(recipe.advantage, VerlAdvantage) and recipe.advantage.reads_critic


def _token_budgets(keys: dict[str, Any], ranks: int, critic: bool) -> None:
    """Dynamic micro-batches on GPUs: room for at least one longest sequence, as verl demands."""
    tokens = _size(keys, "data.max_prompt_length") + _size(keys, "data.max_response_length")
    for name in (
        f"{ACTOR}.ppo_max_token_len_per_gpu",
        f"{ROLLOUT}.log_prob_max_token_len_per_gpu",
        "actor_rollout_ref.ref.log_prob_max_token_len_per_gpu",
        *(["critic.ppo_max_token_len_per_gpu"] if critic else []),
    ):
        keys.setdefault(name, max(tokens, 16384))
    _divides(keys, "data.train_batch_size", ranks)


def _micro_batches(keys: dict[str, Any], ranks: int, critic: bool) -> None:
    """Fixed micro-batches on the CPU: of 32 responses, or what divides the mini-batch; larger ones leave the cache."""
    size = math.gcd(_divides(keys, f"{ACTOR}.ppo_mini_batch_size", ranks), 32)
    for part in (ACTOR, "critic") if critic else (ACTOR,):
        keys.setdefault(f"{part}.ppo_micro_batch_size_per_gpu", size)
    for part in (ROLLOUT, "actor_rollout_ref.ref"):
        keys.setdefault(f"{part}.log_prob_micro_batch_size_per_gpu", size)


def _divides(keys: Mapping[str, Any], prompts_key: str, ranks: int) -> int:
    """Responses per rank of a batch given in prompts."""
    prompts, n = _size(keys, prompts_key), _size(keys, f"{ROLLOUT}.n")
    responses = prompts * n
    if responses % ranks:
        raise ConfigError(
            f"{prompts_key} {prompts} x rollout.n {n} = {responses} responses do not divide over {ranks} ranks; "
            f"choose nodes and GPUs that divide it, or change {prompts_key}"
        )
    return responses // ranks


def _size(keys: Mapping[str, Any], key: str) -> int:
    value = keys.get(key, VERL_DEFAULTS[key])
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ConfigError(f"{key}: {value!r:.80} is no whole number; give one, as in {key}={VERL_DEFAULTS[key]}")
    return int(value)
