"""The loss in the layout of verl's workers, against the closed form of the specification's gradient."""

import functools
from itertools import chain

import pytest
import torch
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.utils.metric import Metric

import oracles_drpo as oracle
from leanthink.algorithms import Drpo
from leanthink.algorithms.drpo import response_scores
from leanthink.core.errors import BatchError, DependencyError
from leanthink.verl.update import losses
from verl_worker import Responses, micro_steps, random_responses, worker_batch

ROLLOUTS = 4
SETTINGS = [
    Drpo(length_temperature=0.1, limit=8.0),
    Drpo(length_temperature=0.5, limit=8.0, tau=0.5, kl_type="low_var_kl", beta=50.0),
    Drpo(length_temperature=None, tau=1.0, score="Lratio"),
    Drpo(length_temperature=None, tau=None, keep_all_correct=True),
]


def loss_fn(settings):
    return functools.partial(losses.drpo_loss, settings=settings, rollouts=ROLLOUTS)


def fields(responses):
    return {
        losses.GROUP: torch.tensor(responses.group),
        losses.CORRECT: torch.tensor(responses.correct).double(),
        losses.PREFERENCE: torch.tensor(responses.preference).double(),
    }


def closed_form(responses: Responses, settings: Drpo) -> oracle.Result:
    """One call of the loss."""
    return oracle.drpo(
        responses.ragged("log_probs"), responses.ragged("old"), responses.group, responses.correct,
        responses.preference, settings.length_temperature, settings.tau, settings.delta, settings.beta,
        settings.kl_type, settings.score, settings.keep_all_correct,
    )  # fmt: skip


def check_gradient(responses: Responses, expected: list[list[float]]) -> None:
    for row, valid, wanted in zip(responses.log_probs, responses.valid, expected, strict=True):
        given = row.grad.tolist() if valid else []
        assert given == pytest.approx(wanted, abs=1e-9)
        assert valid or not row.grad.any()


def aggregated(metrics: list[dict[str, Metric]]) -> dict[str, float]:
    """As verl's workers put micro-batches together."""
    together: dict[str, Metric] = {}
    for one in metrics:
        for name, value in one.items():
            together.setdefault(name, value.init_list()).append(value)
    return {name: value.aggregate() for name, value in together.items()}


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
@pytest.mark.parametrize("micro_groups", [1, 2, 4])
def test_gradient_of_a_mini_batch_is_the_specifications(settings, micro_groups):
    """The mean over micro-steps of each one's closed form; with one micro-step, the closed form of the mini-batch."""
    responses = random_responses(groups=4, rollouts=ROLLOUTS, seed=micro_groups)
    data = worker_batch(responses, 1, micro_groups * ROLLOUTS, len(responses), **fields(responses))
    values, metrics = [], []
    for value, metric, _ in micro_steps(responses.of, data, loss_fn(settings)):
        value.backward()
        values.append(value.item())
        metrics.append(metric)
    steps = 4 // micro_groups
    size = micro_groups * ROLLOUTS
    expected = [closed_form(responses.select(range(k * size, (k + 1) * size)), settings) for k in range(steps)]
    check_gradient(responses, [[x / steps for x in row] for one in expected for row in one.gradient])
    assert sum(values) == pytest.approx(sum(one.loss for one in expected) / steps, abs=1e-9)
    shown = aggregated(metrics)
    for name in ("objective", "kl", "penalty"):
        mean = sum(getattr(one, name) for one in expected) / steps
        assert shown[f"drpo/{name}"] == pytest.approx(mean, abs=1e-9), name
    # The objective does not know of micro-batches: it is the mean over the mini-batch's prompts.
    assert shown["drpo/objective"] == pytest.approx(closed_form(responses, settings).objective, abs=1e-9)


def test_worked_example_through_verls_path():
    lengths, scores = [2, 5, 8, 3, 8, 6], [-0.30, -0.50, -0.80, -0.40, -0.90, -0.60]
    drift = [0.002, -0.001, -0.004, 0.001, -0.002, -0.003]
    rows = list(zip(lengths, scores, drift, strict=True))
    responses = Responses(
        log_probs=[torch.full((n,), s, dtype=torch.float64).requires_grad_() for n, s, _ in rows],
        old=[torch.full((n,), s - d, dtype=torch.float64) for n, s, d in rows],
        valid=[True] * 6,
        group=[0] * 6,
        correct=[1.0, 1, 1, 0, 0, 0],
        preference=[1 - n / 8 for n in lengths],
    )
    for settings, value in (
        (Drpo(length_temperature=0.1, limit=8.0), -0.324558),
        (Drpo(length_temperature=0.1, limit=8.0, report="official"), 10.308663),
    ):
        loss = functools.partial(losses.drpo_loss, settings=settings, rollouts=6)
        ((given, _, _),) = micro_steps(responses.of, worker_batch(responses, 1, 6, 6, **fields(responses)), loss)
        assert given.item() == pytest.approx(value, abs=1e-6)
        for row in responses.log_probs:
            row.grad = None
        given.backward()
        expected = [-0.547622, -0.063968, -0.059443, 0.054335, -0.018813, -0.003646]
        for row, wanted in zip(responses.log_probs, expected, strict=True):
            assert row.grad.tolist() == pytest.approx([wanted] * len(row), abs=1e-6)


@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_the_advantage_form_takes_groups_in_any_pieces(settings):
    """Micro-batches by tokens, of unequal numbers of rows; on-policy, its objective's gradient is the exact one."""
    responses = random_responses(groups=4, rollouts=ROLLOUTS, seed=7, drift=0.0)
    responses = responses.select(torch.randperm(16, generator=torch.Generator().manual_seed(0)).tolist())
    form = Drpo(**{**vars(settings), "form": "advantage", "beta": 0.0})
    length_N = torch.tensor([len(row) * valid for row, valid in zip(responses.old, responses.valid, strict=True)])
    score_N = torch.stack([response_scores(row[None], row[None], torch.ones(1, len(row)))[0] for row in responses.old])
    advantage_N = form.advantage(
        torch.tensor(responses.correct), torch.tensor(responses.group), torch.tensor(responses.correct).double(),
        length_N.double(), score_N if settings.score == "logL" else None,
    )  # fmt: skip
    data = worker_batch(responses, 1, None, 16, max_tokens=50, **{losses.ADVANTAGE: advantage_N})
    sizes = []
    for value, _, rows in micro_steps(responses.of, data, loss_fn(form)):
        value.backward()
        sizes.append(len(rows))
    assert len(set(sizes)) > 1
    exact = Drpo(**{**vars(settings), "beta": 0.0})
    check_gradient(responses, closed_form(responses, exact).gradient)


def test_kl_of_unequal_micro_batches_counts_by_their_responses():
    responses = random_responses(groups=3, rollouts=ROLLOUTS, seed=9)
    form = Drpo(length_temperature=None, form="advantage", delta=0.0, beta=100.0, kl_type="low_var_kl")
    data = worker_batch(responses, 1, None, 12, max_tokens=24, **{losses.ADVANTAGE: torch.zeros(12).double()})
    parts = {}
    for value, _, rows in micro_steps(responses.of, data, loss_fn(form)):
        value.backward()
        penalty = closed_form(responses.select(rows), Drpo(length_temperature=None, **KL)).penalty
        assert value.item() == pytest.approx(penalty * len(rows) / 12, abs=1e-9)
        parts[tuple(rows)] = penalty
    assert sorted(chain.from_iterable(parts)) == list(range(12)) and len({len(rows) for rows in parts}) > 1


KL = {"delta": 0.0, "beta": 100.0, "kl_type": "low_var_kl"}


def test_a_torn_group_is_refused():
    responses = random_responses(groups=2, rollouts=ROLLOUTS, seed=1)
    data = worker_batch(responses, 1, 2, 8, **fields(responses))
    with pytest.raises(BatchError, match=r"one micro-batch holds 2 of a group's 4 responses.*form=advantage"):
        next(micro_steps(responses.of, data, loss_fn(SETTINGS[0])))


def test_a_batch_that_the_sampler_has_not_prepared_is_refused():
    responses = random_responses(groups=2, rollouts=ROLLOUTS, seed=1)
    with pytest.raises(BatchError, match=r"no field 'leanthink_group'.*custom_sampler"):
        next(micro_steps(responses.of, worker_batch(responses, 1, 8, 8), loss_fn(SETTINGS[0])))


def test_nothing_valid_gives_no_gradient():
    responses = random_responses(groups=2, rollouts=ROLLOUTS, seed=1)
    responses.valid = [False] * 8
    ((value, _, _),) = micro_steps(
        responses.of, worker_batch(responses, 1, 8, 8, **fields(responses)), loss_fn(SETTINGS[0])
    )
    value.backward()
    assert value.item() == 0.0 and not any(row.grad.any() for row in responses.log_probs)


def test_a_worker_that_kept_verls_loss_says_so():
    with pytest.raises(DependencyError, match="sampler did not reach the training workers"):
        get_policy_loss_fn("leanthink")(old_log_prob=None, log_prob=None)


def test_the_groups_kept_are_those_of_all_ranks(monkeypatch):
    """verl takes the mean over ranks; two with the same responses keep twice as many as one."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda totals, group=None: totals.mul_(2))
    responses = random_responses(groups=4, rollouts=ROLLOUTS, seed=1)
    kept = []
    for ranks in (1, 2):
        data = worker_batch(responses, ranks, 4 * ROLLOUTS, ranks * len(responses), **fields(responses))
        loss = loss_fn(Drpo(length_temperature=0.1, limit=8.0))
        ((_, metrics, _),) = micro_steps(responses.of, data, loss)
        kept.append(float(metrics["drpo/kept_groups"].aggregate()))
    assert kept[1] == 2 * kept[0] > 0
