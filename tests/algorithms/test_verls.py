"""verl's own losses and estimators as nodes; tests/verl holds them against verl."""

from __future__ import annotations

from typing import Any

import pytest

from leanthink.algorithms import (
    Cispo,
    ClipCov,
    Dppo,
    Dro,
    GeoMean,
    GpgAdvantage,
    GpgLoss,
    GrpoPassk,
    Gspo,
    KlCov,
    Loss,
    Opo,
    Sapo,
)
from leanthink.algorithms.verls import ESTIMATORS, LOSSES
from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.nodes import build
from leanthink.recipe.registry import REGISTRY

EXAMPLES = [
    Cispo(),
    Cispo(high=0.3),
    ClipCov(),
    Dppo(),
    Dppo(divergence="kl", low=0.05, high=0.05),
    Dro(beta=0.1),
    GeoMean(),
    GpgAdvantage(),
    GpgLoss(),
    GrpoPassk(norm_adv_by_std_in_grpo=False),
    Gspo(aggregation="token-mean"),
    KlCov(coefficient=0.5),
    Opo(),
    Sapo(tau_neg=1.2),
]


def test_a_recipe_names_them_with_their_arguments() -> None:
    recipe = load_recipe("kimi", ["loss={gspo: {high: 0.001}}", "advantage=opo"])
    assert (recipe.loss, recipe.advantage) == (Gspo(high=0.001), Opo())
    assert load_recipe("kimi", ["loss=gpg", "advantage=gpg"]).loss == GpgLoss()


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("advantage", "optimal_token_baseline", "hands its estimators no sum_pi_squared"),
        ("advantage", "remax", "samples no greedy response"),
        ("advantage", "gdpo", "recipe gdpo .* is verl's gdpo"),
        ("loss", "bypass_mode", "set that key"),
    ],
)
def test_what_a_recipe_cannot_name_is_told_with_the_reason(kind: Any, name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"verl's {name} cannot be a recipe's {kind}: .*{told}"):
        build(name, kind)


@pytest.mark.parametrize("kind", ["loss", "advantage"])
def test_a_name_of_verls_is_answered_with_ours(kind: Any) -> None:
    twins = {name: own for name, own in (LOSSES if kind == "loss" else ESTIMATORS).items() if name != own}
    assert twins
    for name, own in twins.items():
        if name in REGISTRY[kind]:
            continue
        with pytest.raises(ConfigError, match=f"no {kind} '{name}'; what verl calls so is '{own}' here"):
            build(name, kind)


@pytest.mark.parametrize(
    ("cls", "settings", "told"),
    [
        (Gspo, {"low": 0.0}, r"gspo: low is 0\.0; give a number above 0"),
        (Gspo, {"aggregation": "mean"}, "gspo: aggregation is 'mean'; give token-mean or"),
        (Sapo, {"tau_neg": -1.0}, r"sapo: tau_neg is -1\.0"),
        (ClipCov, {"upper": 0.5}, r"clipcov: upper is 0\.5"),
        (Dppo, {"divergence": "js"}, "divergence is 'js'; give tv or kl"),
        (Dro, {"beta": 0.0}, r"dro: beta is 0\.0"),
    ],
)
def test_wrong_settings_are_refused(cls: type[Loss], settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        cls(**settings)
