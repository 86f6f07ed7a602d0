"""verl's fused kernels, on in the printed command: the same log-probabilities, entropies and gradients."""

from __future__ import annotations

import pytest
import torch

from leanthink.verl.start.launch import GPU
from leanthink.verl.start.schema import _config


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_fused_kernels_give_what_whole_logits_give(temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM
    from verl.models.transformers.monkey_patch import patch_forward_with_backends

    assert GPU["actor_rollout_ref.model.use_fused_kernels"] is True
    backend = _config()["actor_rollout_ref"]["model"]["fused_kernel_options"]["impl_backend"] or "torch"

    class Own(LlamaForCausalLM):
        """verl patches the class."""

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = Own(LlamaConfig(**sizes, vocab_size=211, num_key_value_heads=2)).double()
    ids = torch.randint(211, (1, 1300))  # more than one chunk of 512

    logits = model(input_ids=ids).logits / temperature
    log_NV = torch.log_softmax(logits, -1)
    wanted = log_NV[0, :-1].gather(-1, ids[0, 1:, None]).squeeze(-1)
    wanted_entropy = -(log_NV.exp() * log_NV).sum(-1)[0, :-1]
    (wanted.sum() + 0.1 * wanted_entropy.sum()).backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()

    patch_forward_with_backends(model, use_fused_kernels=True, fused_kernels_backend=backend)
    output = model(input_ids=ids, temperature=temperature, return_dict=True)
    assert output.logits is None
    torch.testing.assert_close(output.log_probs[0, :-1].double(), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.entropy[0, :-1].double(), wanted_entropy, atol=1e-5, rtol=1e-5)
    (output.log_probs[0, :-1].sum() + 0.1 * output.entropy[0, :-1].sum()).backward()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-3, rtol=1e-3)
