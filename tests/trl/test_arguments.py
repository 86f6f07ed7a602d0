from __future__ import annotations

import pytest

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import Recipe, load_recipe, recipe_names
from leanthink.rewards import Correct
from leanthink.training.sampling import sampling_kinds
from leanthink.trl.arguments import arguments, keys_of, told, unknown_keys
from leanthink.trl.fit import AS_IT_IS, ON_VERL, WITH_NOTES, fit_of

FREE = ["algorithm.filter_groups.enable=false"]


def made(name: str, *overrides: str, **more):
    recipe = load_recipe(name)
    return arguments(recipe, keys_of(recipe, overrides), **more)


def test_sizes_in_responses_by_device() -> None:
    """512 prompts x 16, 32 prompts an update, two passes: 16 updates a pass."""
    args = made("cosine", world=8)
    assert args["num_generations"] == 16 and args["num_iterations"] == 2
    responses = args["per_device_train_batch_size"] * 8
    assert responses * args["gradient_accumulation_steps"] == 32 * 16
    assert responses * args["steps_per_generation"] == 512 * 16
    assert args["logging_steps"] == 32 and args["save_steps"] == 20 * 32
    assert made("cosine", world=8, steps=3)["max_steps"] == 96


def test_what_a_recipe_says_in_trls_words() -> None:
    args = made("lcpo_max")
    wanted = {
        "learning_rate": 4e-6, "beta": 0.001, "temperature": 0.6, "max_completion_length": 4500, "loss_type": "dapo",
        "epsilon": 0.2, "epsilon_high": 0.2, "delta": 3.0, "scale_rewards": "none", "weight_decay": 0.01,
        "lr_scheduler_type": "constant", "top_k": 0,
    }  # fmt: skip
    assert {name: args[name] for name in wanted} == wanted
    assert made("grpo")["loss_type"] == "grpo" and made("grpo")["beta"] == 0.04
    args = made("dapo_overlong", *FREE)
    assert (args["epsilon_high"], args["delta"], args["weight_decay"], args["max_grad_norm"]) == (0.28, 10.0, 0.1, 1.0)
    assert (args["lr_scheduler_type"], args["warmup_steps"]) == ("constant_with_warmup", 20 * 16)
    args = made("long_short")
    assert (args["lr_scheduler_type"], args["warmup_steps"], args["num_train_epochs"]) == ("cosine", 0.1, 8.0)
    assert made("gfpo")["entropy_coef"] == 0.001 and made("gfpo")["max_steps"] == 100
    assert made("trle")["beta"] == 0.001  # from the reward into the loss
    assert made("o1_pruner")["top_p"] == 0.8 and made("o1_pruner")["max_grad_norm"] == 10.0


def test_held_out_questions_are_answered_as_often_as_under_verl() -> None:
    """Once, unless told otherwise; a batch holds whole groups."""
    told = lambda args: (args["num_generations_eval"], args["per_device_eval_batch_size"])  # noqa: E731
    assert told(made("grpo")) == (1, 8)
    assert told(made("grpo", "actor_rollout_ref.rollout.val_kwargs.n=3")) == (3, 6)
    assert told(made("grpo", own={"num_generations_eval": 16})) == (16, 16)


def test_ones_own_arguments_win_but_not_over_the_advantage() -> None:
    own = {"learning_rate": 1.0, "use_vllm": True, "vllm_mode": "colocate", "per_device_train_batch_size": 2}
    args = made("trle", own=own)
    assert {name: args[name] for name in own} == own
    assert args["gradient_accumulation_steps"] == 16 * 8 // 2
    with pytest.raises(ConfigError, match="scale_rewards is 'batch', but the advantages are the recipe's"):
        made("trle", own={"scale_rewards": "batch"})


@pytest.mark.parametrize(
    ("overrides", "more", "told_"),
    [
        (["data.train_batch_size=24"], {}, "is 24, no multiple of .* = 16"),
        ([], {"world": 7}, "16 x .*n 8 = 128 responses an update do not divide over 7 processes"),
        (
            [],
            {"own": {"per_device_train_batch_size": 3}},
            "is 3, but an update has 128 responses .* give one of 1, 2, 4",
        ),
        (["actor_rollout_ref.rollout.n=1"], {}, "n is 1; TRL compares responses"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(overrides, more, told_) -> None:
    with pytest.raises(ConfigError, match=told_):
        made("trle", *overrides, **more)


def test_keys_that_mean_nothing_to_trl_are_told() -> None:
    recipe = load_recipe("kimi")
    keys = keys_of(recipe, ["actor_rollout_ref.actor.policy_loss.loss_mode=gspo"])
    assert unknown_keys(keys) == ["actor_rollout_ref.actor.policy_loss.loss_mode"]
    assert told(recipe, keys) == [
        "kimi under TRL: actor_rollout_ref.actor.policy_loss.loss_mode say nothing to TRL; "
        "give its own arguments instead"
    ]
    given = ["data.shuffle=false", "trainer.test_freq=5", "data.val_max_samples=9", "trainer.save_freq=2"]
    assert unknown_keys(keys_of(recipe, given)) == ["data.shuffle", "trainer.test_freq"]
    assert all(
        not unknown_keys(load_recipe(name).verl) for name in recipe_names() if fit_of(load_recipe(name)).lost == ()
    )


def test_what_changes_the_method_is_refused_by_name() -> None:
    lost = {name: fit_of(load_recipe(name)).lost for name in recipe_names()}
    told_ = {
        "dapo_overlong": "dynamic sampling", "dler": "dynamic sampling", "vsrm_ppo": "its critic",
        "vsrm_rpp": "the way its responses are sampled (stepwise_gain)", "cosine_ppo": "its critic",
        "adaptive_deep": "its loss, mode_switch", "s_grpo": "early_exit", "lc_r1": "thinking_compression",
        "palu": "its limit per prompt (from_reward)", "ulorl": "its loss, mastered_token_mask",
        "crf": "the model that conciseness_score asks",
    }  # fmt: skip
    for name, words in told_.items():
        assert any(words in line for line in lost[name]), (name, lost[name])
    for name in recipe_names():
        if sampling_kinds(load_recipe(name)):
            assert lost[name]
    for name in ("trle", "hapo", "kimi", "grpo_lambda", "thinkprune", "siri_low", "drpo", "laser_d", "gfpo_adaptive"):
        assert not lost[name], lost[name]
    assert not fit_of(load_recipe("dapo_overlong"), keys_of(load_recipe("dapo_overlong"), FREE)).lost


def test_the_verdicts() -> None:
    verdicts = {name: fit_of(load_recipe(name)).verdict for name in ("kimi", "trle", "drpo", "vsrm_ppo")}
    assert verdicts == {"kimi": AS_IT_IS, "trle": WITH_NOTES, "drpo": WITH_NOTES, "vsrm_ppo": ON_VERL}
    with pytest.raises(ConfigError, match=r"recipe ulorl under TRL would lose its loss.*leanthink train ulorl"):
        fit_of(load_recipe("ulorl")).check()
    assert fit_of(Recipe(name="mine", reward=Correct())).verdict == AS_IT_IS
