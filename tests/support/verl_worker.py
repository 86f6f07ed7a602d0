"""What a loss gets in verl's training workers: micro-batches in the layout of the queue, made by verl's own code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PROMPT = 3


@dataclass
class Responses:
    """Responses with their prompts: token ids, log-probabilities that a test can differentiate, and facts."""

    log_probs: list[Tensor]
    old: list[Tensor]
    valid: list[bool]
    group: list[int]
    correct: list[float]
    preference: list[float]

    def __len__(self) -> int:
        return len(self.group)

    def select(self, rows: Sequence[int]) -> Responses:
        return Responses(**{name: [values[row] for row in rows] for name, values in vars(self).items()})

    def of(self, rows: Sequence[int]) -> list[Tensor]:
        """The log-probabilities of some responses."""
        return [self.log_probs[row] for row in rows]

    def ragged(self, name: str) -> list[list[float]]:
        """Values of the valid tokens."""
        rows = zip(getattr(self, name), self.valid, strict=True)
        return [values.detach().tolist() if valid else [] for values, valid in rows]


def random_responses(groups: int, rollouts: int, seed: int, drift: float = 0.02) -> Responses:
    """Whole groups, prompt by prompt; some responses without a valid token, as those of unknown verdict."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 9, (groups * rollouts,), generator=draw).tolist()
    log_probs = [-torch.rand(length, generator=draw, dtype=torch.float64) for length in lengths]
    old = [row + drift * torch.randn(len(row), generator=draw, dtype=torch.float64) for row in log_probs]
    return Responses(
        log_probs=[row.requires_grad_() for row in log_probs],
        old=old,
        valid=(torch.rand(len(lengths), generator=draw) > 0.15).tolist(),
        group=[row // rollouts for row in range(len(lengths))],
        correct=(torch.rand(len(lengths), generator=draw) > 0.4).double().tolist(),
        preference=[1 - length / 8 for length in lengths],
    )


def jagged(rows: list[Tensor]) -> Tensor:
    offsets = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    return torch.nested.nested_tensor_from_jagged(torch.cat(rows), offsets)


def worker_batch(
    responses: Responses, ranks: int, micro: int | None, mini: int, max_tokens: int = 10_000, **fields: Tensor
) -> Any:
    """A rank's part of a mini-batch of ``mini`` responses; micro-batches by tokens where ``micro`` is None."""
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu

    masks = [
        torch.full((len(row),), int(valid)) for row, valid in zip(responses.log_probs, responses.valid, strict=True)
    ]
    ids = [torch.arange(PROMPT + len(row)) for row in responses.log_probs]
    data = TensorDict(
        {
            "row": torch.arange(len(responses)),
            "prompts": jagged([row[:PROMPT] for row in ids]),
            "responses": jagged([row[PROMPT:] for row in ids]),
            "input_ids": jagged(ids),
            "response_mask": jagged(masks),
            "loss_mask": jagged(masks),
            "old_log_probs": jagged(responses.old),
            **fields,
        },
        batch_size=len(responses),
    )
    tu.assign_non_tensor(
        data,
        dp_size=ranks,
        batch_num_tokens=sum(int(mask.sum()) for mask in masks),
        global_batch_size=mini,
        use_dynamic_bsz=micro is None,
        micro_batch_size_per_gpu=micro,
        max_token_len_per_gpu=max_tokens,
        sp_size=1,
    )
    return data


def micro_steps(
    log_probs_of: Callable[[list[int]], list[Tensor]], data: Any, loss: Callable[..., Any], dp_group: Any = None
) -> Iterator[tuple[Tensor, Any, list[int]]]:
    """Loss, metrics and rows of each micro-batch, as verl's engine goes through them."""
    from verl.workers.engine.utils import prepare_micro_batches

    for micro in prepare_micro_batches(data=data, dp_group=dp_group, same_micro_num_in_dp=True)[0]:
        rows = micro["row"].tolist()
        # An engine's output holds one value a token, that of the next one; the prompt's and the last are of no use.
        unused = torch.full((PROMPT,), 9.0, dtype=torch.float64)
        shifted = [torch.cat([unused[1:], values, unused[:1]]) for values in log_probs_of(rows)]
        value, metrics = loss(model_output={"log_probs": jagged(shifted)}, data=micro, dp_group=dp_group)
        yield value, metrics, rows


def actor_config(**changes: Any) -> Any:
    """verl's configuration of an actor, for groups of four."""
    from verl.workers.config import ActorConfig

    return ActorConfig(strategy="fsdp", rollout_n=4, ppo_micro_batch_size_per_gpu=4, **changes)


def batch_with(responses: Responses, **fields: Tensor) -> tuple[Any, list[Tensor], list[Tensor]]:
    """A rank's batch of responses, with advantages and entropies, which are returned, too."""
    draw = torch.Generator().manual_seed(1)
    advantages = [torch.full((len(row),), float(row_ % 3) - 1.0) for row_, row in enumerate(responses.log_probs)]
    entropy = [torch.rand(len(row), generator=draw) * 0.4 for row in responses.log_probs]
    fields = {"advantages": jagged(advantages), "entropy": jagged(entropy), **fields}
    fields.setdefault("leanthink_correct", torch.tensor(responses.correct))
    return worker_batch(responses, 1, 8, len(responses), **fields), advantages, entropy


def a_trainer() -> Any:
    """As much of verl's trainer as a loss sees from the driver, with whole groups of four."""
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    with initialize_config_module(config_module="verl.trainer.config", version_base=None):
        changes = ["actor_rollout_ref.actor.policy_loss.loss_mode=leanthink", "trainer.n_gpus_per_node=1"]
        changes += ["actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4", "actor_rollout_ref.rollout.n=4"]
        config = compose("ppo_trainer", overrides=changes)

    class Trainer:
        def __init__(self) -> None:
            self.config = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
            self.given: list[Any] = []
            self.actor_rollout_wg = self

        def set_loss_fn(self, loss_fn: Any) -> None:
            self.given.append(loss_fn)

        def refill(self, count: int) -> None:
            """What verl gives its samplers."""

    return Trainer()
