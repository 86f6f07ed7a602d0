"""What two data-parallel ranks do with a mini-batch; a module, because the ranks are processes that import it."""

from __future__ import annotations

import functools

import torch
import torch.distributed as dist
from torch import Tensor, nn

from leanthink.algorithms import Drpo
from verl_worker import Responses, micro_steps, random_responses, worker_batch

RANKS, ROLLOUTS, GROUPS = 2, 4, 4  # groups of each rank
VOCABULARY = 11


class Policy(nn.Module):
    """The smallest policy whose parameters every response shares."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 6)
        self.head = nn.Linear(6, VOCABULARY)

    def forward(self, token_ids: Tensor) -> Tensor:
        logits = self.head(self.embed(token_ids).tanh())
        chosen = ((3 * token_ids + 1) % VOCABULARY)[:, None]
        return logits.log_softmax(-1).gather(-1, chosen).squeeze(-1).clone()


def policy() -> Policy:
    torch.manual_seed(5)
    return Policy().double()


def token_ids(responses: Responses) -> list[Tensor]:
    return [(torch.arange(len(old)) * 5 + row) % VOCABULARY for row, old in enumerate(responses.old)]


def responses_of_all() -> Responses:
    """The policy has moved away from the old one, further on rank 1: the penalty works and needs the KL of both."""
    responses = random_responses(groups=RANKS * GROUPS, rollouts=ROLLOUTS, seed=11)
    draw = torch.Generator().manual_seed(0)
    responses.log_probs = [row.detach() for row in map(policy(), token_ids(responses))]
    for row, new in enumerate(responses.log_probs):
        moved = 0.02 if row < GROUPS * ROLLOUTS else 0.05
        responses.old[row] = new + moved + 0.01 * torch.randn(len(new), generator=draw, dtype=torch.float64)
    return responses


def on_rank(rank: int, store: str, settings: Drpo, micro_groups: list[int], result: str) -> None:
    """What a training worker does with its part of a mini-batch, for each size of micro-batches; rank 0 saves it."""
    from torch.distributed.fsdp import fully_shard

    from leanthink.verl.update import losses

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    everything = responses_of_all()
    ids = token_ids(everything)
    mine = list(range(rank * GROUPS * ROLLOUTS, (rank + 1) * GROUPS * ROLLOUTS))
    fields = {
        losses.GROUP: torch.tensor(everything.group)[mine],
        losses.CORRECT: torch.tensor(everything.correct).double()[mine],
        losses.PREFERENCE: torch.tensor(everything.preference).double()[mine],
    }
    loss = functools.partial(losses.drpo_loss, settings=settings, rollouts=ROLLOUTS)
    found = {}
    for groups in micro_groups:
        model = policy()
        fully_shard(model, mesh=dist.init_device_mesh("cpu", (RANKS,)))

        def log_probs_of(rows: list[int], model: nn.Module = model) -> list[Tensor]:
            chosen = [ids[mine[row]] for row in rows]
            return list(model(torch.cat(chosen)).split([len(row) for row in chosen]))

        data = worker_batch(everything.select(mine), RANKS, groups * ROLLOUTS, len(everything), **fields)
        mean = torch.zeros((), dtype=torch.float64)
        for value, _, _ in micro_steps(log_probs_of, data, loss, dist.group.WORLD):
            value.backward()
            mean += value.detach() / RANKS
        dist.all_reduce(mean)
        found[groups] = float(mean), [parameter.grad.full_tensor() for parameter in model.parameters()]  # type: ignore[union-attr]
    if rank == 0:
        torch.save(found, result)
    dist.destroy_process_group()
