"""Lengths that are shares of the response limit: where they are resolved, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from leanthink.cli import main
from leanthink.core.errors import ConfigError
from leanthink.core.limits import PerStep
from leanthink.core.schedules import Interleaved, Stairs
from leanthink.recipe.definition import load_recipe, recipe_from, recipe_names
from leanthink.recipe.lengths import LONGEST, TESTBED_LONGEST, resolved
from leanthink.replay.score import load_recipes
from leanthink.rewards import AdaptiveStepLength, SoftOverlong
from leanthink.verl.start.launch import TESTBED_SIZES

HALF = "0.5 * max_response_length"


def limited(share: str, **verl: Any) -> Any:
    return {"reward": "correct", "limit": {"per_step": {"at_most": share}}, "verl": {LONGEST: 8192, **verl}}


def part(name: str, kind: type, *overrides: str, profile: Any = "gpu") -> Any:
    return next(one for one in load_recipe(name, overrides, profile).reward.walk() if isinstance(one, kind))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("max_response_length", 8192),
        (" max_response_length ", 8192),
        (HALF, 4096),
        ("0.5*max_response_length", 4096),
        ("1.0 * max_response_length", 8192),
        ("1e-1 * max_response_length", 819),
        ("1e-9 * max_response_length", 1),
    ],
)
def test_a_share_is_whole_tokens(text: str, tokens: int) -> None:
    assert recipe_from(limited(text), "mine").limit == PerStep(at_most=tokens)


@given(share=st.floats(1e-6, 1.0), longest=st.integers(1, 200_000))
def test_it_is_the_nearest_number_of_tokens_and_at_least_one(share: float, longest: int) -> None:
    node = {"limit": [f"{share!r} * max_response_length"], "verl": {LONGEST: longest}}
    tokens = resolved(node, "here")["limit"][0]
    exact = Fraction(share) * longest
    assert isinstance(tokens, int) and 1 <= tokens <= longest
    assert tokens == 1 or abs(tokens - exact) <= Fraction(1, 2) + Fraction(1, 10**9)


def test_it_stands_wherever_a_number_does() -> None:
    node = {
        "reward": {"sum": {"c": "correct", "l": {"soft_overlong": {"limit": "max_response_length", "buffer": HALF}}}},
        "limit": {"per_step": {"at_most": {"stairs": {"values": ["max_response_length", HALF], "boundaries": [9]}}}},
        "verl": {LONGEST: 1000},
    }
    recipe = recipe_from(node, "mine")
    assert recipe.reward.children()["l"] == SoftOverlong(limit=1000.0, buffer=500.0)
    assert recipe.limit == PerStep(at_most=Stairs(values=(1000.0, 500.0), boundaries=(9,)))
    assert "max_response_length" not in yaml.safe_dump(recipe.parts())


def test_prose_and_verls_keys_are_left_alone() -> None:
    node = limited(HALF, **{"data.prompt_key": HALF}) | {"kept": HALF}
    recipe = recipe_from(node, "mine")
    assert (recipe.kept, recipe.verl["data.prompt_key"]) == (HALF, HALF)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 * max_response_length", "no share of the response limit; give one above 0 and up to 1"),
        ("1.5 * max_response_length", "no share of the response limit"),
        ("-0.5 * max_response_length", "no share of the response limit"),
        ("e * max_response_length", "no share of the response limit"),
        (
            "0.5 * max_respones_length",
            "is not a number; give a number, a schedule, or a share of the response limit, as '0.5",
        ),
        ("max_response_length * 0.5", "is not a number; give a number, a schedule, or a share"),
        ("half", "no schedule 'half'"),
    ],
)
def test_what_is_no_share_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"recipe mine, limit.per_step.at_most: .*{told}"):
        recipe_from(limited(text), "mine")


@pytest.mark.parametrize("longest", [True, 0, -5, 10.5, "long"])
def test_a_limit_that_is_none_is_refused(longest: Any) -> None:
    with pytest.raises(ConfigError, match=f"a share of {LONGEST}, which is .*; give a whole number there"):
        recipe_from(limited(HALF, **{LONGEST: longest}), "mine")


def test_without_a_limit_the_cure_is_named_and_works() -> None:
    reward = f"{{soft_overlong: {{limit: max_response_length, buffer: {HALF}}}}}"
    with pytest.raises(ConfigError, match=f"which the recipe does not set; .* as an override {LONGEST}=8192"):
        load_recipes([], reward)
    assert load_recipes([], reward, [f"{LONGEST}=8192"])["reward"].reward == SoftOverlong(limit=8192.0, buffer=4096.0)


def test_an_override_of_the_limit_moves_the_lengths_on_both_profiles() -> None:
    for profile in ("gpu", "cpu"):
        overlong = part("dapo_overlong", SoftOverlong, f"{LONGEST}=4096", profile=profile)
        assert (overlong.limit, overlong.buffer) == (4096.0, 819.0)
        limit = load_recipe("siri_high", [f"{LONGEST}=4096"], "gpu").limit
        assert limit == PerStep(at_most=Interleaved(high=4096, low=2048, period=640, shape="cosine"))
    searched = part("laser_d", AdaptiveStepLength, f"{LONGEST}=4096")
    assert (searched.lower_bound, searched.upper_bound, searched.interval) == (1024.0, 4096.0, 256.0)


def test_an_override_may_be_a_share_itself() -> None:
    override = f"reward.sum.overlong.soft_overlong.buffer={HALF}"
    assert part("dapo_overlong", SoftOverlong, override).buffer == 10240.0


def test_the_testbeds_limit_is_the_cpu_profiles() -> None:
    assert TESTBED_SIZES[LONGEST] == TESTBED_LONGEST
    assert part("dapo_overlong", SoftOverlong, profile="cpu") == SoftOverlong(limit=96.0, buffer=19.0)


def test_the_limit_alone_takes_nothing_that_a_recipe_accepts_from_it() -> None:
    assert load_recipe("dapo_overlong", [f"{LONGEST}=4096"]).accepts == load_recipe("dapo_overlong").accepts


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("longest", [1024, 4096])
def test_every_recipe_builds_under_another_limit(name: str, longest: int) -> None:
    assert load_recipe(name, [f"{LONGEST}={longest}"]).verl[LONGEST] == longest


def test_show_and_the_command_have_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "dapo_overlong", f"{LONGEST}=4096"]) == 0
    shown = recipe_from(yaml.safe_load(capsys.readouterr().out), "dapo_overlong")
    assert main(["show", "dapo_overlong", f"{LONGEST}=4096", "--verl", "--profile", "gpu"]) == 0
    assert "soft_overlong:{limit:4096.0,buffer:819.0}" in capsys.readouterr().out
    assert shown == load_recipe("dapo_overlong", [f"{LONGEST}=4096"])
