"""What a loss that sees whole prompt groups asks of verl's configuration; imports no verl.

Read twice: where a command is made, and in the trainer before anything is started, since commands are edited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from leanthink.algorithms import Drpo, Loss, PpoVariant
from leanthink.core.errors import ConfigError
from leanthink.recipe.registry import name_of
from leanthink.verl import NAME
from leanthink.verl.hydra import literal

ACTOR: Final = "actor_rollout_ref.actor"
ROLLOUT: Final = "actor_rollout_ref.rollout"
MICRO: Final = f"{ACTOR}.ppo_micro_batch_size_per_gpu"
MINI: Final = f"{ACTOR}.ppo_mini_batch_size"
N: Final = f"{ROLLOUT}.n"
DISTILLED: Final = "distillation.enabled"
BYPASS: Final = "algorithm.rollout_correction.bypass_mode"
ULYSSES: Final = f"{ACTOR}.ulysses_sequence_parallel_size"
ULYSSES_ENGINE: Final = f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size"

DEFAULTS: Final[Mapping[str, Any]] = {
    "trainer.nnodes": 1,
    "trainer.n_gpus_per_node": 8,
    N: 1,
    MINI: 256,
    MICRO: None,
    ULYSSES: 1,
    ULYSSES_ENGINE: 1,
}
"""verl's defaults of what is read as a number."""

OWN: Final[Mapping[str, tuple[Any, str]]] = {
    f"{ACTOR}.policy_loss.loss_mode": (NAME, "the loss is leanthink's"),
    f"{ACTOR}.use_kl_loss": (False, "the loss has a KL penalty of its own"),
    f"{ACTOR}.entropy_coeff": (0, "the loss has no entropy term"),
    "algorithm.use_kl_in_reward": (False, "the loss reads no token rewards"),
}
"""What the DRPO loss needs, with the reason; any other of ours is around verl's own and needs the first line only."""

UNWANTED: Final[Mapping[str, tuple[Any, str]]] = {
    "algorithm.rollout_correction.rollout_is": (None, "the loss has no importance weights"),
    DISTILLED: (False, "the loss has no distillation term"),
}
"""What must stay as verl has it by default."""

WHOLE: Final[Mapping[str, tuple[Any, str]]] = {
    f"{ACTOR}.shuffle": (False, "shuffling tears prompt groups apart"),
    f"{ACTOR}.use_dynamic_bsz": (False, "micro-batches by tokens tear prompt groups apart"),
    f"{ROLLOUT}.log_prob_use_dynamic_bsz": (False, f"verl wants it to equal {ACTOR}.use_dynamic_bsz"),
}
"""What a loss over whole groups needs in addition."""

STRATEGIES: Final = ("fsdp", "fsdp2")
"""The engines whose scaling and averaging of gradients the loss is made for."""

Value = Callable[[str], Any]


def _needs(loss: Drpo | PpoVariant) -> dict[str, tuple[Any, str]]:
    """What a loss needs beside whole groups, with the reason."""
    if isinstance(loss, Drpo):
        return {**OWN, **UNWANTED}
    needs = {key: OWN[key] for key in OWN if key.endswith("loss_mode")} | {DISTILLED: UNWANTED[DISTILLED]}
    if (reason := loss.why_recompute) is not None:
        needs[BYPASS] = (False, reason)
    return needs


def loss_keys(loss: Drpo | PpoVariant) -> dict[str, Any]:
    """verl's keys that make it call our loss, and call it with whole groups."""
    keys = {key: value for key, (value, _) in _needs(loss).items() if key in OWN}
    if not loss.whole_groups:
        return keys | ({f"{ROLLOUT}.calculate_log_probs": True} if isinstance(loss, Drpo) else {})
    # verl's V1 trainer balances whatever balance_batch says (see `leanthink.verl.driver.grouping`); others may read it.
    return keys | {key: value for key, (value, _) in WHOLE.items()} | {"trainer.balance_batch": False}


def set_sizes(keys: dict[str, Any]) -> None:
    """Micro-batches of whole groups, where the caller has set none: about 32 responses on a CPU, one group on a GPU."""
    get = value_of(keys)
    n, prompts = int(get(N)), int(get(MINI)) // data_parallel(get)
    room = max(32 // n, 1) if keys.get("trainer.device") == "cpu" else 1
    size = keys.setdefault(MICRO, n * math.gcd(max(prompts, 1), room))
    keys.setdefault(f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu", size)


def value_of(keys: Mapping[str, Any]) -> Value:
    """A reader of keys as a command sets them, with verl's defaults for the others."""
    defaults = {**DEFAULTS, **{key: value for key, (value, _) in {**OWN, **UNWANTED, **WHOLE}.items()}}
    return lambda key: keys.get(key, keys.get(f"+{key}", defaults.get(key)))


def data_parallel(get: Value) -> int:
    """How many ranks share a batch out among them."""
    ranks = int(get("trainer.nnodes")) * int(get("trainer.n_gpus_per_node"))
    return max(ranks // max(int(get(ULYSSES) or 1), int(get(ULYSSES_ENGINE) or 1)), 1)


def require(loss: Loss, get: Value, sort_by_length: bool) -> None:
    """Refuse a configuration under which a loss of ours would not be what it says.

    Args:
        loss: the recipe's; nothing is asked for one of verl's own.
        get: the value of one of verl's keys.
        sort_by_length: our option.

    Raises:
        ConfigError: with the key, its value, the reason and the cure.
    """
    if not isinstance(loss, Drpo | PpoVariant):
        return
    for complaint, cure in _complaints(loss, get, sort_by_length):
        raise ConfigError(f"loss {name_of(type(loss))}: {complaint}; {cure}")


def _complaints(loss: Drpo | PpoVariant, get: Value, sort_by_length: bool) -> Iterator[tuple[str, str]]:
    drpo = isinstance(loss, Drpo)
    without = "or set loss.drpo.form=advantage, which needs no whole groups" if drpo else "or take another loss"
    whole = loss.whole_groups
    for key, (wanted, reason) in {**_needs(loss), **(WHOLE if whole else {})}.items():
        given = get(key)
        if given != wanted and not (given is None and wanted in (False, 0)):
            cure = f"set {key}={literal(wanted)}"
            yield f"{key} is {literal(given)}, but {reason}", f"{cure}, {without}" if key in WHOLE else cure
    strategy = get(f"{ACTOR}.strategy")
    if strategy is not None and strategy not in STRATEGIES:
        yield f"{ACTOR}.strategy is {strategy}, whose scaling of losses is unchecked", f"use {' or '.join(STRATEGIES)}"
    if not whole:
        if drpo and get(f"{ROLLOUT}.calculate_log_probs") is False:
            key = f"{ROLLOUT}.calculate_log_probs"
            yield f"{key} is false, but form advantage weighs wrong responses by them", f"set {key}=true"
        return
    if sort_by_length:
        yield f"{NAME}.sort_by_length tears prompt groups apart", f"set {NAME}.sort_by_length=false, {without}"
    n, mini, micro, ranks = int(get(N)), int(get(MINI)), get(MICRO), data_parallel(get)
    if mini % ranks:
        yield (
            f"{MINI} is {mini} prompts, which do not divide over {ranks} data-parallel ranks as whole groups",
            f"make it a multiple of {ranks}, {without}",
        )
    elif micro is None or int(micro) % n or (mini // ranks * n) % int(micro):
        sizes = ", ".join(str(k * n) for k in range(1, mini // ranks + 1) if (mini // ranks) % k == 0)
        yield (
            f"{MICRO} is {literal(micro)}, but a micro-batch must hold whole groups of {N} = {n} responses, and divide "
            f"the {mini // ranks * n} responses of a mini-batch on a rank",
            f"give one of {sizes}, {without}",
        )
