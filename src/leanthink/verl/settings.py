"""What a training run carries in verl's configuration under the key ``leanthink``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from leanthink.core.errors import ConfigError
from leanthink.training import settings as base
from leanthink.verl import NAME


@dataclass(frozen=True, kw_only=True)
class Settings(base.Settings):
    """The recipe's parts and the run's options, as every process of verl reads them.

    Attributes:
        poll_interval: seconds between looks for finished rollouts.
        sort_by_length: order a batch by length, so that micro-batches hold little padding; for a single update per
            batch only, because mini-batches of short and of long responses would pull apart.
        check_cluster: refuse a Ray cluster that has too few GPUs, or a machine without us, when the run starts.
    """

    poll_interval: float = 0.5
    sort_by_length: bool = False
    check_cluster: bool = True

    earlier_checkpoint: ClassVar[str] = (
        "resume from an earlier one with trainer.resume_mode=resume_path trainer.resume_from_path=.../global_step_K"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.poll_interval, int | float) or not self.poll_interval > 0:
            raise ConfigError(f"leanthink.poll_interval is {self.poll_interval!r}; give seconds greater than 0")

    @classmethod
    def read(cls, config: Any) -> Self:
        """The settings in verl's configuration, or in the ``leanthink`` node of it.

        Raises:
            ConfigError: the node is missing, or holds a key that is none.
        """
        node = config.get(NAME, None) if hasattr(config, "get") and "recipe" not in config else config
        if node is None:
            raise ConfigError(
                "verl's configuration has no 'leanthink' node, so there is no recipe to train by; start verl with "
                "`leanthink train RECIPE`, or paste the command that `leanthink show RECIPE --verl` prints"
            )
        return cls.from_node(_plain(node))


def _plain(node: Any) -> dict[str, Any]:
    """A node of OmegaConf as plain Python; plain Python as it is."""
    if isinstance(node, dict):
        return node
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(node, resolve=True)
    if not isinstance(plain, dict):
        raise ConfigError(f"leanthink: {type(plain).__name__} instead of a mapping in verl's configuration")
    return {str(key): value for key, value in plain.items()}
