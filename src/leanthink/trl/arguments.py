"""A recipe's settings as TRL's ``GRPOConfig``: what verl's keys say, in TRL's words.

verl counts a batch in prompts, TRL in responses by device; verl's step is one generation, TRL's one update. Imports TRL
only where the configuration itself is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from leanthink.algorithms import Drpo, PpoClip
from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.recipe.keys import Profile, in_tree
from leanthink.recipe.overrides import read_override
from leanthink.recipe.sizes import TESTBED_SIZES
from leanthink.trl.fit import ACTOR, ROLLOUT, fit_of

PROMPTS: Final = "data.train_batch_size"
MINI: Final = f"{ACTOR}.ppo_mini_batch_size"
N: Final = f"{ROLLOUT}.n"
VALIDATED: Final = f"{ROLLOUT}.val_kwargs.n"
EPOCHS: Final = f"{ACTOR}.ppo_epochs"
OPTIM: Final = f"{ACTOR}.optim"

DEFAULTS: Final[Mapping[str, Any]] = {
    PROMPTS: 1024,
    MINI: 256,
    N: 1,
    EPOCHS: 1,
    "data.max_response_length": 512,
    f"{OPTIM}.lr": 1e-6,
    f"{OPTIM}.weight_decay": 0.01,
    f"{OPTIM}.lr_warmup_steps": 0,
    f"{OPTIM}.lr_warmup_steps_ratio": 0.0,
    f"{OPTIM}.lr_scheduler_type": "constant",
    f"{ACTOR}.grad_clip": 1.0,
    f"{ACTOR}.entropy_coeff": 0.0,
    f"{ACTOR}.use_kl_loss": False,
    f"{ACTOR}.kl_loss_coef": 0.001,
    f"{ACTOR}.kl_loss_type": "low_var_kl",
    "algorithm.use_kl_in_reward": False,
    "algorithm.kl_ctrl.kl_coef": 0.001,
    f"{ROLLOUT}.temperature": 1.0,
    f"{ROLLOUT}.top_p": 1.0,
    f"{ROLLOUT}.top_k": -1,
    VALIDATED: 1,
    "trainer.total_epochs": 3,
    "trainer.total_training_steps": None,
    "trainer.save_freq": 20,
}
"""The keys of verl that TRL has a word for, with verl's defaults (of epochs and of saving, the GPU profile's)."""

OF_NO_EFFECT: Final = (
    *("algorithm.filter_groups", "algorithm.rollout_correction", "reward.reward_model", "critic"),
    *("data.max_prompt_length", "trainer.critic_warmup", f"{ROLLOUT}.calculate_log_probs", f"{ROLLOUT}.agent"),
    *("data.train_max_samples", "data.val_max_samples"),  # of the data, which the command cuts before TRL sees them
)
"""Names, or beginnings of names, of keys that say nothing to TRL and change nothing of the method there."""

AGGREGATIONS: Final[Mapping[str, str]] = {
    "token-mean": "dapo",
    "seq-mean-token-mean": "grpo",
    "seq-mean-token-sum": "luspo",
    "seq-mean-token-sum-norm": "dr_grpo",
}
"""verl's ``loss_agg_mode`` -> TRL's ``loss_type`` that sums the same way."""

MICRO: Final[Mapping[Profile, int]] = {"cpu": 32, "gpu": 8}
"""Responses that a device takes at a time, at most, where nobody says."""


def keys_of(recipe: Recipe, overrides: Iterable[str] = (), profile: Profile = "gpu") -> dict[str, Any]:
    """verl's keys of a run under TRL: the recipe's, the testbed's sizes on the CPU profile, and one's own.

    >>> keys_of(load_recipe("trle"), ["data.train_batch_size=8"])["data.train_batch_size"]
    8
    """
    given = {key: value for key, value in map(read_override, overrides) if not in_tree(key)}
    own = {key: value for key, value in recipe.cpu.items() if not in_tree(key)}
    scaled = {**TESTBED_SIZES, **own} if profile == "cpu" else {}
    return {**recipe.verl, **scaled, **given}


def config(
    recipe: str | Path | Recipe,
    overrides: Iterable[str] = (),
    *,
    profile: Profile = "gpu",
    steps: int | None = None,
    world: int | None = None,
    **own: Any,
) -> Any:
    """TRL's ``GRPOConfig`` for a recipe.

    Args:
        recipe: a name, a path, or a recipe.
        overrides: ``key=value``, as `leanthink train` takes them: the recipe's tree, or verl's keys.
        profile: ``cpu`` for the testbed's sizes on a CPU.
        steps: training steps as verl counts them, one generation each; None for the recipe's, or its epochs.
        world: processes; None for those that accelerate sees.
        own: TRL's own arguments, which win, as ``output_dir``, ``per_device_train_batch_size``, ``use_vllm``.

    Raises:
        ConfigError: what TRL cannot do, sizes that do not divide, or an argument of ours that is not to be changed.
    """
    from trl import GRPOConfig

    if world is None:
        from accelerate import PartialState

        world = PartialState(cpu=profile == "cpu").num_processes
    overrides = list(overrides)
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, overrides, profile)
    keys = keys_of(recipe, overrides, profile)
    return GRPOConfig(**arguments(recipe, keys, profile=profile, steps=steps, world=world, own=own))


def told(recipe: Recipe, keys: Mapping[str, Any]) -> list[str]:
    """What to know of a recipe under TRL: the notes on it, and the keys that mean nothing there."""
    lines = [f"{recipe.name} under TRL: {note}" for note in fit_of(recipe, keys).notes]
    if ignored := unknown_keys(keys):
        lines.append(
            f"{recipe.name} under TRL: {', '.join(ignored)} say nothing to TRL; give its own arguments instead"
        )
    return lines


def unknown_keys(keys: Mapping[str, Any]) -> list[str]:
    """verl's keys that have no counterpart in TRL and may matter."""
    return [
        key
        for key in keys
        if key not in DEFAULTS and not any(key == name or key.startswith(f"{name}.") for name in OF_NO_EFFECT)
    ]


def arguments(
    recipe: Recipe,
    keys: Mapping[str, Any],
    *,
    profile: Profile = "gpu",
    steps: int | None = None,
    world: int = 1,
    own: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The arguments of ``GRPOConfig``, as plain values.

    Args:
        recipe: what to train by.
        keys: verl's, as `keys_of` gives them.
        profile: ``cpu`` or ``gpu``.
        steps: generations; None for the keys' own, or their epochs.
        world: processes.
        own: TRL's own arguments, which win.

    Raises:
        ConfigError: what TRL cannot do, or sizes that do not divide.
    """
    fit_of(recipe, keys).check()
    own = dict(own or {})
    if (scaled := own.get("scale_rewards")) not in (None, False, "none"):
        raise ConfigError(
            f"scale_rewards is {scaled!r}, but the advantages are the recipe's; change those with advantage.*"
        )
    value = {**DEFAULTS, **keys}
    sizes = _sizes(value, world, MICRO[profile], own)
    updates = sizes.pop("updates")
    total = value["trainer.total_training_steps"] if steps is None else steps
    made: dict[str, Any] = {
        **sizes,
        **_optimizer(value, updates),
        **_loss(recipe, value),
        "num_generations": int(value[N]),
        **_evaluation(int(own.get("num_generations_eval") or value[VALIDATED]), MICRO[profile]),
        "max_completion_length": int(value["data.max_response_length"]),
        "temperature": float(value[f"{ROLLOUT}.temperature"]),
        "top_p": float(value[f"{ROLLOUT}.top_p"]),
        "top_k": max(int(value[f"{ROLLOUT}.top_k"]), 0),
        "num_train_epochs": float(value["trainer.total_epochs"]),
        "max_steps": -1 if total is None else int(total) * updates,
        "logging_steps": updates,
        "save_steps": int(value["trainer.save_freq"]) * updates,
        "scale_rewards": "none",
        "mask_truncated_completions": False,
        "remove_unused_columns": False,
    }
    if profile == "cpu":
        made |= {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": "none"}
    return {**made, **own}


def _evaluation(samples: int, micro: int) -> dict[str, int]:
    """So many responses to a held-out question, whole groups at a time; TRL's own default is as many as in training."""
    return {"num_generations_eval": samples, "per_device_eval_batch_size": samples * max(1, micro // samples)}


def updates_of(args: Any) -> float:
    """How many updates a generation is trained on, by TRL's arguments."""
    return float(args.steps_per_generation * args.num_iterations / args.gradient_accumulation_steps)


def _sizes(value: Mapping[str, Any], world: int, most: int, own: Mapping[str, Any]) -> dict[str, int]:
    """A generation and its updates in TRL's terms, and ``updates`` for each generation."""
    prompts, mini, n, passes = (int(value[key]) for key in (PROMPTS, MINI, N, EPOCHS))
    mini = min(mini, prompts)
    if n < 2:
        raise ConfigError(f"{N} is {n}; TRL compares responses to one prompt: give 2 or more, or train with verl")
    if prompts % mini:
        raise ConfigError(f"{PROMPTS} is {prompts}, no multiple of {MINI} = {mini}; change one of them")
    responses = mini * n
    if responses % world:
        raise ConfigError(
            f"{MINI} {mini} x {N} {n} = {responses} responses an update do not divide over {world} processes; choose "
            f"processes that divide it, or change {MINI}"
        )
    local = responses // world
    device = own.get("per_device_train_batch_size")
    if device is None:
        device = next(size for size in range(min(most, local), 0, -1) if local % size == 0)
    elif local % device:
        raise ConfigError(
            f"per_device_train_batch_size is {device}, but an update has {local} responses on each process; give one "
            f"of {', '.join(str(size) for size in range(1, local + 1) if local % size == 0)}"
        )
    pieces = local // device
    return {
        "per_device_train_batch_size": device,
        "gradient_accumulation_steps": pieces,
        "steps_per_generation": pieces * (prompts // mini),
        "num_iterations": passes,
        "updates": prompts // mini * passes,
    }


def _optimizer(value: Mapping[str, Any], updates: int) -> dict[str, Any]:
    warmup = int(value[f"{OPTIM}.lr_warmup_steps"] or 0)
    ratio = float(value[f"{OPTIM}.lr_warmup_steps_ratio"] or 0.0)
    kind = str(value[f"{OPTIM}.lr_scheduler_type"])
    if kind == "constant" and (warmup > 0 or ratio > 0):
        kind = "constant_with_warmup"
    return {
        "learning_rate": float(value[f"{OPTIM}.lr"]),
        "weight_decay": float(value[f"{OPTIM}.weight_decay"]),
        "lr_scheduler_type": kind,
        "warmup_steps": warmup * updates if warmup > 0 else ratio,
        "max_grad_norm": float(value[f"{ACTOR}.grad_clip"]),
    }


def _loss(recipe: Recipe, value: Mapping[str, Any]) -> dict[str, Any]:
    loss = recipe.loss
    entropy = float(value[f"{ACTOR}.entropy_coeff"])
    if isinstance(loss, Drpo):
        return {"loss_type": "grpo", "epsilon": 0.2, "beta": 0.0, "entropy_coef": entropy}
    assert isinstance(loss, PpoClip)  # fit_of refuses the others
    beta = float(value[f"{ACTOR}.kl_loss_coef"]) if value[f"{ACTOR}.use_kl_loss"] else 0.0
    if value["algorithm.use_kl_in_reward"]:
        beta += float(value["algorithm.kl_ctrl.kl_coef"])
    return {
        "loss_type": AGGREGATIONS[loss.aggregation],
        "epsilon": loss.low,
        "epsilon_high": loss.high,
        "delta": loss.dual,
        "beta": beta,
        "entropy_coef": entropy,
    }
