"""What a run asks of its GPUs, beside sums done by hand and models that were built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leanthink.cli import main
from leanthink.core.errors import ConfigError, DataError
from leanthink.recipe.definition import load_recipe
from leanthink.testbed import policy_path
from leanthink.verl.start.launch import Job
from leanthink.verl.start.memory import GIB, OVERHEAD, Model, estimate

QWEN = {
    "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936,
}  # fmt: skip
STATED = ",".join(f"{name}={size}" for name, size in QWEN.items() if name != "model_type")


def job(name: str = "grpo", gpus: int = 2, nodes: int = 1, **extra: Any) -> Job:
    return Job(
        recipe=load_recipe(name), profile="gpu", model="M", train_files=("T",), val_files=("V",), folder="/r",
        gpus=gpus, nodes=nodes, extra=extra,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_the_model_that_is_built(kind: str, tied: bool) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "hidden_size": 48, "intermediate_size": 100, "num_hidden_layers": 3, "num_attention_heads": 6,
        "num_key_value_heads": 2, "vocab_size": 77, "tie_word_embeddings": tied,
    }  # fmt: skip
    config = AutoConfig.for_model(kind, **sizes)
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    told = Model.of(config.to_dict(), "here").parameters
    exact = sum(parameter.numel() for parameter in built.parameters())
    assert told == pytest.approx(exact, abs=2 * 3 * config.to_dict().get("head_dim", 8) * (kind == "qwen3"))


def test_the_shipped_policy_is_read_from_its_folder() -> None:
    from safetensors import safe_open

    with safe_open(policy_path() / "model.safetensors", "pt") as file:
        exact = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118 - no mapping
    assert Model.read(str(policy_path())).parameters == exact


def test_a_published_size_comes_out() -> None:
    assert Model.of(QWEN, "here").parameters == 1_777_088_000  # DeepSeek-R1-Distill-Qwen-1.5B, as its card has it


def test_a_whole_estimate_by_hand() -> None:
    small = "hidden_size=1000,intermediate_size=4000,num_hidden_layers=10,num_attention_heads=10,vocab_size=50000"
    model = Model.read(f"{small},num_key_value_heads=2,head_dim=100")
    # a layer: 1000 x (2 x 1000 + 2 x 200) + 3 x 1000 x 4000 + 2 x 1000 = 14,402,000 - the pairs are 2 x 2 x 100 wide
    assert model.layer == 1000 * (2000 + 400) + 12_000_000 + 2000 == 14_402_000
    assert model.parameters == 144_020_000 + 2 * 50_000_000 + 1000 == 244_021_000
    assert model.cache_of_token == 8000  # keys and values, 10 layers x 2 heads x 100, 2 bytes

    sizes = {
        "data.train_batch_size": 64, "actor_rollout_ref.rollout.n": 4, "data.max_prompt_length": 1000,
        "data.max_response_length": 3000, "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 8000,
        "actor_rollout_ref.rollout.gpu_memory_utilization": 0.5, "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
    }  # fmt: skip
    found = estimate(job(gpus=2, **sizes), model, gpu_gib=40)
    assert found.state == 12 * 244_021_000 / 2 and found.gradients == found.reference == 4 * 244_021_000 / 2
    assert found.critic == 0
    # inputs of layers, one layer again, and the words' matrix, the largest unit, gathered twice in bf16
    assert found.work == 2 * 8000 * 1000 * 10 + 2 * 8000 * (8 * 1000 + 4 * 4000) + 4 * 50_000_000
    assert found.logits == 10 * 512 * 50_000
    assert found.engine == 20 * GIB and found.weights == 2 * 244_021_000
    assert found.cache == 20 * GIB - 2 * 244_021_000 - 3 * GIB
    assert found.cached_tokens == pytest.approx((17 * GIB - 488_042_000) / 8000)
    assert (found.responses, found.replicas, found.longest, found.sampled) == (256, 2, 4000, 768_000)
    # forward and backward 6, old log-probabilities 2, reference 2
    assert found.flops == 10 * 244_021_000 * 256 * 4000
    assert found.sampling == found.state + found.reference + OVERHEAD + 20 * GIB
    assert found.updating == (found.state + found.reference + found.gradients + OVERHEAD + found.work + found.logits)
    assert list(found.troubles()) == []

    unfused = estimate(job(gpus=2, **sizes, **{"actor_rollout_ref.model.use_fused_kernels": False}), model, 40)
    assert unfused.logits == 10 * 8000 * 50_000
    halved = estimate(job(gpus=2, **sizes, **{"actor_rollout_ref.rollout.tensor_model_parallel_size": 2}), model, 40)
    assert halved.weights == 244_021_000 and halved.replicas == 1
    assert halved.cached_tokens == pytest.approx((17 * GIB - 244_021_000) * 2 / 8000)


def test_a_critic_and_offloading_count() -> None:
    model = Model.of(QWEN, "here")
    ppo = estimate(job("vsrm_ppo", gpus=8), model, 80)
    assert ppo.critic == ppo.state == 12 * model.parameters / 8 and ppo.reference == 0
    fsdp = "actor_rollout_ref.actor.fsdp_config"
    offloaded = {f"{fsdp}.param_offload": True, f"{fsdp}.optimizer_offload": True}
    assert estimate(job("vsrm_ppo", gpus=8, **offloaded), model, 80).state == 0


@pytest.mark.parametrize(
    ("gpu_gib", "extra", "told", "cure"),
    [
        (80, {}, [], {}),
        (
            80,
            {"actor_rollout_ref.rollout.gpu_memory_utilization": 0.9},
            ["sampling takes 101.5 GiB of 80.0 GiB: set actor_rollout_ref.rollout.gpu_memory_utilization=0.63"],
            {"actor_rollout_ref.rollout.gpu_memory_utilization": 0.63},
        ),
        (
            80,
            {
                "actor_rollout_ref.model.use_fused_kernels": False,
                "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 33_000,
            },
            ["an update takes", "use_fused_kernels=true"],
            {"actor_rollout_ref.model.use_fused_kernels": True},
        ),
        (24, {}, ["give more GPUs"], None),
        (
            80,
            {"actor_rollout_ref.rollout.gpu_memory_utilization": 0.079},
            ["the engine's cache holds", "the longest sequence has 1,536: raise"],
            None,
        ),
    ],
)
def test_what_will_not_fit_is_told_with_a_cure_that_cures(
    gpu_gib: int, extra: dict[str, Any], told: list[str], cure: dict[str, Any] | None
) -> None:
    model = Model.of(QWEN, "here")
    troubles = " ".join(estimate(job(gpus=1, **extra), model, gpu_gib).troubles())
    assert bool(troubles) == bool(told)
    for text in told:
        assert text in troubles
    if cure is not None:
        assert list(estimate(job(gpus=1, **{**extra, **cure}), model, gpu_gib).troubles()) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nowhere", "no such folder or file; give a folder with config.json, or sizes as in hidden_size=N"),
        ("hidden_size=big", "hidden_size=big is no size"),
        (f"hidden_size={'9' * 200}", "9 is no size; give a whole number up to 1,000,000,000"),
        (f"{STATED},head_dim=0", "--model: head_dim is 0; give a whole number from 1 to 1,000,000,000"),
        (f"{STATED.replace('1536', '4')}", "--model: head_dim is 0; give a whole number"),  # 4 / 12
        ("hidden_size=10", "intermediate_size is None; give a whole number"),
        (f"{STATED},num_experts=8", "num_experts is 8; a mixture of experts is not estimated"),
    ],
)
def test_what_is_no_model_is_refused(given: str, told: str) -> None:
    with pytest.raises((DataError, ConfigError), match=told):
        Model.read(given)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"text_config": []}, r"text_config is \[\]; give an object of sizes, or leave it out"),
        ({"text_config": "x"}, "text_config is 'x'; give an object"),
        ({"text_config": {"hidden_size": 8}}, "intermediate_size is None; give a whole number from 1 to 1,000,000,000"),
        ({"hidden_size": 10**200}, "hidden_size is 10{39}; give a whole number from 1"),
        ({"hidden_size": 2.0}, "hidden_size is 2.0; give a whole number"),
        ({"num_attention_heads": True}, "num_attention_heads is True; give a whole number"),
        ({"num_key_value_heads": "x"}, "num_key_value_heads is 'x'; give a whole number"),
        ({"num_key_value_heads": -4}, "num_key_value_heads is -4; give a whole number"),
        ({"head_dim": -5}, "head_dim is -5; give a whole number"),
        ({"head_dim": [1]}, r"head_dim is \[1\]; give a whole number"),
        ({"head_dim": 0}, "head_dim is 0; give a whole number"),
        ({"max_position_embeddings": "x"}, "max_position_embeddings is 'x'; give a whole number"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no'; give true or false"),
        ({"attention_bias": [1]}, r"attention_bias is \[1\]; give true or false"),
        ({"num_experts": ["x" * 100]}, r"num_experts is \['x{38}; a mixture of experts"),
    ],
)
def test_what_is_no_size_in_a_file_is_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**QWEN, **changes}))
    with pytest.raises(DataError, match=rf"^{tmp_path}/config\.json: {told}"):
        Model.read(str(tmp_path))


def test_what_a_file_leaves_open_is_as_transformers_has_it(tmp_path: Path) -> None:
    names = ("text_config", "head_dim", "num_key_value_heads", "max_position_embeddings", "attention_bias")
    (tmp_path / "config.json").write_text(json.dumps({**QWEN, **dict.fromkeys(names)}))
    read = Model.read(str(tmp_path))
    assert (read.head_dim, read.num_key_value_heads, read.attention_bias) == (128, 12, True)
    assert read.max_position_embeddings is None


def test_parallelism_that_does_not_divide_is_refused() -> None:
    wide = {"actor_rollout_ref.rollout.tensor_model_parallel_size": 3}
    with pytest.raises(ConfigError, match="tensor_model_parallel_size is 3; give a divisor of the 2 GPUs"):
        estimate(job(**wide), Model.of(QWEN, "here"), 80)


def test_the_command_says_what_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    options = ["doctor", "--model", str(tmp_path), "--recipe", "trle", "--gpus", "8"]
    assert main(options) == 0
    shown = capsys.readouterr().out
    assert "1.78 billion" in shown and "fits, by this estimate" in shown
    assert main([*options, "--gpu-memory", "12"]) == 1
    assert "will not fit: sampling takes" in capsys.readouterr().out
    assert main([*options, "--json", "data.train_batch_size=64"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["responses"] == 64 * 8 and content["troubles"] == []
    assert content["sampled"] == 64 * 8 * 32_000


def test_a_recipe_without_a_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--recipe", "trle"]) != 0
    assert "recipe is for an estimate; give --model, too" in capsys.readouterr().err
