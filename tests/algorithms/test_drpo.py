"""DRPO, arXiv 2510.04474, and DisCO, arXiv 2505.12366."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from torch import Tensor

import oracles_drpo as oracle
from collected import SpelledOut
from leanthink.algorithms import Drpo, Grpo
from leanthink.algorithms.drpo import (
    classes,
    drpo_advantage,
    length_preference,
    preference_weights,
    response_scores,
)
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.rewards import Correct
from made_calls import Call, padded, random_calls

EXAMPLES = [
    Drpo(length_temperature=0.1, limit=8192.0),
    Drpo(length_temperature=None, tau=None, score="Lratio", form="advantage"),
    Drpo(length_temperature=0.5, preference="reward", kl_type="low_var_kl", keep_all_correct=True),
]

STATED = {
    "data.train_batch_size": 128,
    "data.max_prompt_length": 1024,
    "data.max_response_length": 8192,
    "actor_rollout_ref.rollout.n": 8,
    "actor_rollout_ref.rollout.temperature": 0.6,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 32,
    "actor_rollout_ref.actor.optim.lr": 2e-6,
}
RECIPES = {
    "drpo": SpelledOut(
        reward=Correct(),
        advantage=Grpo(),
        loss=Drpo(length_temperature=0.1, limit=8192.0, preference="linear", tau=10.0, delta=1e-4, beta=1000.0),
        verl=STATED,
    ),
    "disco": SpelledOut(
        reward=Correct(),
        advantage=Grpo(),
        loss=Drpo(length_temperature=None, tau=10.0, delta=1e-4, beta=1000.0, kl_type="kl", score="logL"),
        verl=STATED,
    ),
}

LENGTHS = [2, 5, 8, 3, 8, 6]
SCORES = [-0.30, -0.50, -0.80, -0.40, -0.90, -0.60]
DRIFT = [0.002, -0.001, -0.004, 0.001, -0.002, -0.003]
CORRECT = [1, 1, 1, 0, 0, 0]
WEIGHTS = [0.976495, 0.022965, 0.000540]
SHARES = [0.341131, 0.324494, 0.334376]
GRADIENT = [-0.547622, -0.063968, -0.059443, 0.054335, -0.018813, -0.003646]


def worked() -> Call:
    new = [[score] * length for score, length in zip(SCORES, LENGTHS, strict=True)]
    old = [[s - d] * length for s, d, length in zip(SCORES, DRIFT, LENGTHS, strict=True)]
    return padded(new, old, [0] * 6, [float(c) for c in CORRECT])


def check(call: Call, expected: oracle.Result, **settings: Any) -> None:
    loss, metrics = call.loss(**settings)
    values = [loss.item(), *(float(metrics[name]) for name in ("objective", "kl", "penalty"))]
    assert values == pytest.approx([expected.loss, expected.objective, expected.kl, expected.penalty], abs=1e-9)
    gradient = call.gradient(**settings)
    assert (gradient[call.mask == 0] == 0).all()
    for given, wanted in zip(call.rows(gradient), expected.gradient, strict=True):
        assert given == pytest.approx(wanted, abs=1e-9)


def test_worked_example() -> None:
    call = worked()
    loss, metrics = call.loss(length_temperature=0.1, limit=8)
    assert loss.item() == pytest.approx(-0.324558, abs=1e-6)
    assert float(metrics["objective"]) == pytest.approx(0.326363, abs=1e-6)
    assert float(metrics["kl"]) == pytest.approx(0.002, abs=1e-6)
    assert float(metrics["penalty"]) == pytest.approx(0.001805, abs=1e-6)
    assert float(metrics["shortest_weight"]) == pytest.approx(WEIGHTS[0], abs=1e-6)
    assert (float(metrics["kl_exceeded"]), float(metrics["kept_groups"])) == (1.0, 1.0)
    gradient = call.gradient(length_temperature=0.1, limit=8)
    for row, (value, length) in enumerate(zip(GRADIENT, LENGTHS, strict=True)):
        assert gradient[row, :length].tolist() == pytest.approx([value] * length, abs=1e-6)
        assert not gradient[row, length:].any()


def test_worked_example_of_the_published_codes_value() -> None:
    call = worked()
    exact = call.gradient(length_temperature=0.1, limit=8).clone()
    loss, _ = call.loss(length_temperature=0.1, limit=8, report="official")
    assert loss.item() == pytest.approx(10.308663, abs=1e-6)
    torch.testing.assert_close(call.gradient(length_temperature=0.1, limit=8, report="official"), exact)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (0.1, WEIGHTS),
        (0.2, [0.849710, 0.130307, 0.019983]),
        (0.5, [0.589798, 0.278601, 0.131602]),
        (1e6, [1 / 3] * 3),
        (None, [1 / 3] * 3),
        (1e-5, [1.0, 0.0, 0.0]),
    ],
)
def test_worked_example_of_the_weights(temperature: float | None, expected: list[float]) -> None:
    loss = Drpo(length_temperature=temperature, limit=8)
    correct_N, length_N = torch.tensor(CORRECT).double(), torch.tensor(LENGTHS).double()
    advantage_N = loss.advantage(correct_N, torch.zeros(6, dtype=torch.int64), correct_N, length_N)
    assert advantage_N.tolist() == pytest.approx([*expected, *[-1 / 3] * 3], abs=1e-6)
    assert float(advantage_N.sum()) == pytest.approx(0.0, abs=1e-12)


SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0.1},
    {"temperature": 0.5, "tau": 0.3, "kl_type": "low_var_kl", "delta": 0.0},
    {"temperature": None, "tau": 10.0},
    {"temperature": None, "tau": 1.0, "score": "Lratio", "delta": 1e-3},
    {"temperature": None, "tau": None},
    {"temperature": 0.2, "tau": None, "score": "Lratio", "beta": 10.0},
    {"temperature": 0.1, "keep_all_correct": True},
    {"temperature": 1e-4, "tau": 0.01, "beta": 0.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_value_and_gradient_agree_with_the_closed_form(settings: dict[str, Any]) -> None:
    """A thousand random batches over all settings and shapes of the preference."""
    temperature = settings["temperature"]
    own = {name: value for name, value in settings.items() if name != "temperature"}
    shapes = itertools.cycle(["linear", "concave", "cosine", "any"])
    for seed, (call, shape) in enumerate(zip(random_calls(125, seed=SETTINGS.index(settings)), shapes, strict=False)):
        length_N = call.mask.sum(-1)
        if shape == "any":
            preference = [random.Random(seed + row).gauss(0.0, 1.0) for row in range(len(length_N))]
        else:
            preference = [oracle.length_reward(length, 12.0, shape) for length in length_N.tolist()]
        expected = oracle.drpo(
            call.rows(call.log_probs), call.rows(call.old), call.group.tolist(), call.correct.tolist(), preference,
            temperature, **own,
        )  # fmt: skip
        preference_N = torch.tensor(preference, dtype=torch.float64)
        if shape != "any":
            torch.testing.assert_close(length_preference(length_N, 12.0, shape), preference_N)  # type: ignore[arg-type]
        check(call, expected, length_temperature=temperature, preference_N=preference_N, **own)


def test_the_order_of_responses_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(3)
    for call in random_calls(20, seed=99):
        order = torch.randperm(len(call.group), generator=generator)
        mixed = Call(
            call.log_probs.detach()[order].requires_grad_(), call.old[order], call.mask[order], call.group[order],
            call.correct[order],
        )  # fmt: skip
        settings = {"length_temperature": 0.1, "limit": 12.0}
        torch.testing.assert_close(mixed.loss(**settings)[0], call.loss(**settings)[0])
        torch.testing.assert_close(mixed.gradient(**settings), call.gradient(**settings)[order])


def test_infinite_length_temperature_is_disco() -> None:
    call = worked()
    uniform = call.gradient(length_temperature=None).clone()
    torch.testing.assert_close(call.gradient(length_temperature=1e12, limit=8), uniform, rtol=1e-9, atol=1e-9)


def test_infinite_tau_is_the_mean_of_the_wrong() -> None:
    call = worked()
    mean = call.gradient(length_temperature=0.1, limit=8, tau=None).clone()
    torch.testing.assert_close(call.gradient(length_temperature=0.1, limit=8, tau=1e9), mean, rtol=1e-6, atol=1e-9)


def test_a_prompt_without_objective_counts_and_pays_for_its_kl() -> None:
    alone = worked()
    new, old = alone.rows(alone.log_probs), alone.rows(alone.old)
    both = padded([*new, [-1.0, -1.0]], [*old, [-0.5, -0.5]], [0] * 6 + [1], [*map(float, CORRECT), 1.0])
    settings = {"length_temperature": 0.1, "limit": 8}
    _, metrics = both.loss(**settings)
    assert float(metrics["objective"]) == pytest.approx(0.326363 / 2, abs=1e-6)
    assert float(metrics["kept_groups"]) == 1.0
    expected = -1e3 * (float(metrics["kl"]) - 1e-4) / 34
    assert both.gradient(**settings)[6, :2].tolist() == pytest.approx([expected] * 2)
    _, fixed = both.loss(**settings, num_groups=8)
    assert float(fixed["objective"]) == pytest.approx(0.326363 / 8, abs=1e-6)


def test_kl_below_the_threshold_or_negative_costs_nothing() -> None:
    call = padded([[-0.5], [-0.5]], [[-0.6], [-0.6]], [0, 0], [1.0, 0.0])
    _, metrics = call.loss(length_temperature=None)
    assert float(metrics["kl"]) == pytest.approx(-0.1) and float(metrics["penalty"]) == 0.0
    assert call.gradient(length_temperature=None)[:, 0].tolist() == [-1.0, 1.0]
    _, metrics = call.loss(length_temperature=None, kl_type="low_var_kl")
    assert float(metrics["kl"]) > 0


def test_a_long_correct_response_is_never_pushed_down(batches: list[RolloutBatch]) -> None:
    loss = Drpo(length_temperature=0.1, limit=16_000)
    for batch in batches[:200]:
        advantage_N = loss.advantage(batch.correct, batch.group, batch.correct, batch.length)
        assert (advantage_N[batch.correct == 1] >= 0).all() and (advantage_N[batch.correct == 0] <= 0).all()


def test_single_and_empty_responses_and_equal_lengths() -> None:
    group_N = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3])
    correct_N = torch.tensor([1.0, 0, 0, 1, 1, 1, 1, 0])
    length_N = torch.tensor([4000.0, 9, 9, 7, 7, 5, 6, 0])
    loss = Drpo(length_temperature=0.1, limit=8192)
    given = loss.advantage(correct_N, group_N, correct_N, length_N).tolist()
    assert given == [1.0, -0.5, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0]
    kept = Drpo(length_temperature=0.1, limit=8192, keep_all_correct=True)
    given = kept.advantage(correct_N, group_N, correct_N, length_N).tolist()
    assert given == pytest.approx([1.0, -0.5, -0.5, 0.5, 0.5, 1.0, 1.0, 0.0])


def test_nothing_at_all_is_finite() -> None:
    call = padded([[], []], [[], []], [0, 1], [1.0, 0.0])
    loss, metrics = call.loss(length_temperature=0.1, limit=8)
    assert loss.item() == 0.0 and bool(metrics["shortest_weight"].isnan())


def test_extreme_scores_do_not_overflow() -> None:
    """A right response far above the wrong ones, at a small tau, and lengths far apart, at a small temperature."""
    call = padded([[-0.01], [-900.0], [-901.0]], [[-0.01], [-900.0], [-901.0]], [0, 0, 0], [1.0, 0.0, 0.0])
    gradient = call.gradient(length_temperature=1e-8, limit=8192, tau=1e-3)
    assert gradient[:, 0].tolist() == pytest.approx([-1.0, 1.0, 0.0])
    weight_N = preference_weights(
        torch.tensor([1.0, 0.0]).double(), torch.tensor([0, 0]), torch.tensor([True, True]), 1e-9
    )
    assert weight_N.tolist() == [1.0, 0.0]


def test_correctness_that_is_no_verdict() -> None:
    call = worked()
    call.correct[1] = 0.5
    with pytest.raises(BatchError, match=r"correctness, row 1: 0.5 is not allowed.*non_binary='ignore'"):
        call.loss(length_temperature=0.1, limit=8)
    gradient = call.gradient(length_temperature=0.1, limit=8, non_binary="ignore")
    assert gradient[1, 0] == pytest.approx(-1.9 / 32)  # the KL's part alone


def test_single_precision_inputs_are_computed_in_double() -> None:
    call = worked()
    single = Call(
        call.log_probs.detach().float().requires_grad_(), call.old.float(), call.mask, call.group, call.correct
    )
    assert single.loss(length_temperature=0.1, limit=8)[0].dtype == torch.float64
    exact = call.gradient(length_temperature=0.1, limit=8)
    given = single.gradient(length_temperature=0.1, limit=8)
    assert given.dtype == torch.float32
    torch.testing.assert_close(given.double(), exact, rtol=1e-3, atol=1e-6)


def test_inputs_are_not_changed() -> None:
    call = worked()
    before = [value.detach().clone() for value in (call.log_probs, call.old, call.mask, call.group, call.correct)]
    call.gradient(length_temperature=0.1, limit=8)
    after = (call.log_probs, call.old, call.mask, call.group, call.correct)
    assert all(torch.equal(one.detach(), other) for one, other in zip(after, before, strict=True))


@pytest.mark.parametrize("tau", [10.0, 1.0, None])
def test_the_advantage_form_has_the_exact_gradient_on_policy(tau: float | None) -> None:
    """At the old policy, weights of wrong responses from old log-probabilities are those from current ones."""
    for call in random_calls(100, seed=5):
        call.old = call.log_probs.detach().clone()
        settings = {"length_temperature": 0.1, "limit": 12.0, "tau": tau}
        exact = call.gradient(**settings).clone()
        torch.testing.assert_close(advantage_gradient(call, **settings), exact, rtol=1e-9, atol=1e-12)


def advantage_gradient(call: Call, tau: float | None, **settings: Any) -> Tensor:
    """The gradient of the advantage form's objective, the weights of the wrong from the old log-probabilities."""
    loss = Drpo(tau=tau, form="advantage", **settings)
    old_N = response_scores(call.old, call.old, call.mask)
    codes_N = call.group.unique(return_inverse=True)[1]
    advantage_N = loss.advantage(call.correct, codes_N, call.correct, call.mask.sum(-1), old_N)
    call.log_probs.grad = None
    score_N = response_scores(call.log_probs, call.old, call.mask)
    (-(advantage_N * score_N).sum() / len(call.group.unique())).backward()
    assert call.log_probs.grad is not None
    return call.log_probs.grad


@pytest.mark.parametrize(("drift", "bound"), [(0.01, 1e-3), (0.1, 1e-2), (1.0, 0.1)])
def test_the_advantage_forms_gradient_drifts_with_the_policy_no_faster_than_stated(drift: float, bound: float) -> None:
    """Weights of wrong responses change by a factor of at most ``exp(2 drift / tau)`` when scores move by ``drift``."""
    draw = torch.Generator().manual_seed(1)
    for call in random_calls(100, seed=6):
        moved_N1 = drift * (2 * torch.rand(len(call.group), 1, generator=draw, dtype=torch.float64) - 1)
        call.old = torch.where(call.mask.bool(), call.log_probs.detach() - moved_N1, call.old)
        exact = call.gradient(length_temperature=0.1, limit=12.0, beta=0.0).clone()
        given = advantage_gradient(call, length_temperature=0.1, limit=12.0, tau=10.0, beta=0.0)
        assert (given - exact).norm() <= bound * exact.norm() + 1e-15


def test_the_recipes_reward_may_be_the_preference() -> None:
    loss = Drpo(length_temperature=0.5, preference="reward")
    assert loss.reads_reward and not loss.reads_advantage and not Drpo(length_temperature=0.5, limit=8).reads_reward
    assert not Drpo(length_temperature=None, preference="reward").reads_reward
    reward_N, correct_N = torch.tensor([0.9, 0.4, 5.0]), torch.tensor([1.0, 1.0, 0.0])
    given = loss.advantage(reward_N, torch.tensor([0, 0, 0]), correct_N, torch.tensor([5.0, 5.0, 5.0])).tolist()
    share = torch.tensor([0.5 / 0.5, 0.0]).softmax(0).tolist()
    assert given == pytest.approx([*share, -1.0], abs=1e-6)


def test_advantage_is_the_derivative_by_the_scores() -> None:
    for call in random_calls(30, seed=8):
        positive_N, negative_N = classes(call.correct, call.mask)
        codes_N = call.group.unique(return_inverse=True)[1]
        weight_N = preference_weights(length_preference(call.mask.sum(-1), 12.0), codes_N, positive_N, 0.1)
        score_N = response_scores(call.log_probs, call.old, call.mask).detach()
        advantage_N = drpo_advantage(weight_N, codes_N, positive_N, negative_N, score_N, 2.0)
        gradient = call.gradient(length_temperature=0.1, limit=12.0, tau=2.0, beta=0.0).sum(-1)
        torch.testing.assert_close(gradient, -advantage_N / len(call.group.unique()))


def test_a_preference_is_needed_where_there_is_a_temperature() -> None:
    with pytest.raises(ConfigError, match="give limit"):
        worked().loss(length_temperature=0.1)


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"length_temperature": 0.0, "limit": 8.0}, "length_temperature is 0.0"),
        ({"length_temperature": 0.1}, "needs limit"),
        ({"length_temperature": 0.1, "limit": -1.0}, "limit is -1.0"),
        ({"length_temperature": None, "tau": 0.0}, "tau is 0.0"),
        ({"length_temperature": None, "delta": -1e-4}, "delta is -0.0001"),
        ({"length_temperature": None, "beta": -1.0}, "beta is -1.0"),
        ({"length_temperature": None, "form": "advantage", "report": "official"}, "drop report"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        Drpo(**settings)
