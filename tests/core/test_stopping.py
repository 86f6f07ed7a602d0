"""Shifting the end-of-thinking token's logit: the worked example, a slow twin, and a model that stops sooner."""

from __future__ import annotations

import math

import pytest
import torch

from leanthink.core.errors import ConfigError
from leanthink.core.stopping import Shift, StopBias, StopShift, shifted

EXAMPLES = [StopBias(bias=2.0), StopBias(bias=-1.0, marker="</thought>", at_least=32)]

POSITIVE, NEGATIVE = [2.0, 1.5, 0.5], [2.0, -1.5, 0.5]


def slow(logits: list[float], stop: int, by: float, shift: Shift) -> list[float]:
    """Probabilities by the definitions, one number at a time."""
    before = [math.exp(value) for value in logits]
    p = before[stop] / sum(before)
    if shift == "bias":  # the closed form of the renormalised probability
        q = p * math.exp(by) / (1 - p + p * math.exp(by))
    else:
        top = max(logits) if shift == "scale" else 0.0
        weight = math.exp((logits[stop] - top) / by + top)
        q = weight / (sum(before) - before[stop] + weight)
    return [
        q if token == stop else (1 - q) * value / (sum(before) - before[stop]) for token, value in enumerate(before)
    ]


@pytest.mark.parametrize(
    ("logits", "by", "shift", "expected"),
    [
        (POSITIVE, 1.0, "bias", [0.348207, 0.574097, 0.077696]),
        (POSITIVE, 0.0, "bias", [None, 0.331499, None]),
        (POSITIVE, 0.8, "raw_scale", [None, 0.419114, None]),
        (POSITIVE, 0.5, "raw_scale", [None, 0.689672, None]),
        (POSITIVE, 2.0, "raw_scale", [None, 0.189784, None]),
        (NEGATIVE, 1.0, "raw_scale", [None, 0.024094, None]),
        (NEGATIVE, 0.5, "raw_scale", [None, 0.005479, None]),
    ],
)
def test_worked_example(logits: list[float], by: float, shift: Shift, expected: list[float | None]) -> None:
    probabilities = shifted(torch.tensor([logits], dtype=torch.float64), 1, by, shift).softmax(-1)[0].tolist()
    for found, wanted in zip(probabilities, expected, strict=True):
        assert wanted is None or found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("shift", ["bias", "scale", "raw_scale"])
def test_against_the_slow_twin(shift: Shift) -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(1000):
        size = int(torch.randint(2, 9, (), generator=generator))
        logits_NV = 3 * torch.randn(2, size, generator=generator, dtype=torch.float64)
        stop = int(torch.randint(size, (), generator=generator))
        by = float(torch.rand((), generator=generator)) * 3 + 0.1
        before_NV = logits_NV.clone()
        found_NV = shifted(logits_NV, stop, by, shift).softmax(-1)
        assert torch.equal(logits_NV, before_NV)
        for row, logits in enumerate(logits_NV.tolist()):
            assert found_NV[row].tolist() == pytest.approx(slow(logits, stop, by, shift), abs=1e-9)


def test_scale_above_one_never_lowers_the_stop_token_whatever_the_offset() -> None:
    for logits in (POSITIVE, NEGATIVE):
        for offset in (-7.0, 0.0, 7.0):
            row = torch.tensor([logits], dtype=torch.float64) + offset
            found = [shifted(row, 1, by, "scale").softmax(-1)[0, 1].item() for by in (0.5, 1.0, 2.0, 8.0)]
            assert found == sorted(found) and len(set(found)) == 4


def test_it_acts_from_the_least_on_until_a_row_has_stopped() -> None:
    shift = StopShift(stop_id=1, prompt_length=2, by=5.0, at_least=2)
    scores = torch.zeros(2, 3)
    assert torch.equal(shift(torch.tensor([[1, 0, 0], [1, 0, 0]]), scores), scores)  # one token: too few
    after = shift(torch.tensor([[1, 0, 0, 2], [1, 0, 1, 2]]), scores)  # a stop token in the prompt counts for nothing
    assert after.tolist() == [[0, 5, 0], [0, 0, 0]]


def test_a_model_thinks_less_under_transformers_own_generate() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from leanthink.testbed import policy_path

    model = AutoModelForCausalLM.from_pretrained(policy_path()).eval()
    tokenizer = AutoTokenizer.from_pretrained(policy_path())
    prompt = torch.tensor([tokenizer.encode("<user> 47 + 12 + 5 = <assistant>", add_special_tokens=False)] * 32)
    close = tokenizer.encode("</think>", add_special_tokens=False)[0]

    def thinking(**options: float) -> float:
        """Mean tokens before thinking ends."""
        torch.manual_seed(0)
        processors = [StopShift(stop_id=close, prompt_length=prompt.shape[1], **options)] if options else []
        written = model.generate(
            prompt, do_sample=True, max_new_tokens=80, logits_processor=processors, pad_token_id=tokenizer.pad_token_id
        )[:, prompt.shape[1] :]
        closed = (written == close).int()
        assert bool(closed.any(dim=1).all())
        return closed.argmax(dim=1).double().mean().item()

    assert thinking(by=6.0) < thinking(by=3.0) < thinking()
    assert thinking(by=100.0) == 0 and thinking(by=100.0, at_least=7) == pytest.approx(7, abs=0.5)


def test_what_is_refused() -> None:
    for wrong, told in (
        (lambda: StopBias(bias=float("nan")), "give a finite number"),
        (lambda: StopBias(bias=200.0), "-100 to 100"),
        (lambda: StopBias(bias=1.0, marker=""), "marker is empty"),
        (lambda: StopBias(bias=1.0, at_least=-1), "at_least is -1"),
        (lambda: StopShift(stop_id=1, prompt_length=0, by=0.0, shift="scale"), "divides by it"),
        (lambda: StopShift(stop_id=1, prompt_length=0, by=1.0, shift="temperature"), "bias, scale, raw_scale"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match=told):
            wrong()
