"""Two gloo ranks, each with whole groups of its own, end with the gradient of one call that sees all of them."""

import pytest
import torch
from torch.multiprocessing.spawn import spawn

import oracles_drpo as oracle
from leanthink.algorithms import Drpo
from verl_ranks import GROUPS, RANKS, ROLLOUTS, on_rank, policy, responses_of_all, token_ids

SETTINGS = Drpo(length_temperature=0.1, limit=8.0, delta=1e-3)
MICRO_GROUPS = [1, 2, 4]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Loss and gradient of the ranks, by the size of their micro-batches."""
    folder = tmp_path_factory.mktemp("ranks")
    spawn(on_rank, (str(folder / "store"), SETTINGS, MICRO_GROUPS, str(folder / "result.pt")), nprocs=RANKS)
    return torch.load(folder / "result.pt")


@pytest.mark.parametrize("micro_groups", MICRO_GROUPS)
def test_two_ranks_have_the_gradient_of_the_specification(given, micro_groups):
    """Per micro-step, one call of the loss over both ranks' micro-batches; then the mean over micro-steps."""
    everything = responses_of_all()
    steps, micro = GROUPS // micro_groups, micro_groups * ROLLOUTS
    by_token = {}
    loss = 0.0
    for step in range(steps):
        rows = [(rank * steps + step) * micro + i for rank in range(RANKS) for i in range(micro)]
        part = everything.select(rows)
        expected = oracle.drpo(
            part.ragged("log_probs"), part.ragged("old"), part.group, part.correct, part.preference,
            SETTINGS.length_temperature, SETTINGS.tau, SETTINGS.delta, SETTINGS.beta,
        )  # fmt: skip
        assert expected.penalty > 0 and expected.objective != 0
        loss += expected.loss / steps
        by_token |= {row: gradient for row, gradient in zip(rows, expected.gradient, strict=True)}
    tokens = [row if valid else row[:0] for row, valid in zip(token_ids(everything), everything.valid, strict=True)]
    values = [value / steps for row in range(len(everything)) for value in by_token[row]]
    weights = torch.tensor(values, dtype=torch.float64)
    model = policy()
    wanted = torch.autograd.grad(model(torch.cat(tokens)), list(model.parameters()), weights)
    value, gradient = given[micro_groups]
    assert value == pytest.approx(loss, abs=1e-9)
    torch.testing.assert_close(gradient, list(wanted), rtol=1e-9, atol=1e-9)
