from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from leanthink.testbed import verify_policy
from leanthink.testbed.build import build
from leanthink.testbed.task import Question, Task, split_of
from leanthink.testbed.tokenizer import vocabulary
from leanthink.testbed.training import IGNORED, Training, batches, train

TINY = Training(steps=3, batch_size=6, hidden_size=16, layers=1, heads=2, key_value_heads=1, intermediate_size=16)


def test_batches_hold_train_questions_and_learn_responses_only() -> None:
    words = list(vocabulary())
    count = 0
    for parts in batches(TINY, Task(), seed=0):
        for inputs, labels in parts:
            for row, wanted in zip(inputs.tolist(), labels.tolist(), strict=True):
                text = [words[i] for i in row]
                start = text.index("<assistant>") + 1
                asked = text[1 : start - 1]
                question = Question(numbers=tuple(map(int, asked[0:-1:2])), operators=tuple(asked[1:-1:2]))
                assert split_of(question) == "train"
                end = text.index("<eos>") + 1
                assert wanted == [IGNORED] * start + row[start:end] + [IGNORED] * (len(row) - end)
                assert set(text[end:]) <= {"<pad>"}
                count += 1
    assert count == TINY.steps * TINY.batch_size


def test_training_is_seeded_and_lowers_the_loss() -> None:
    def run(seed: int) -> tuple[list[float], Any]:
        losses: list[float] = []
        longer = Training(**{**TINY.__dict__, "steps": 30, "warmup_steps": 5, "learning_rate": 1e-2})
        model = train(
            longer,
            Task(),
            seed,
            report=lambda step, loss, seconds: losses.append(loss),
            checkpoint=lambda step, model: None,
            every=10,
        )
        return losses, model

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        (first, model), (again, twin), (other, _) = run(0), run(0), run(1)
    finally:
        torch.set_num_threads(threads)
    assert first == again and first != other
    assert first[-1] < first[0]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert not model.training


def test_build_writes_a_policy_its_manifest_vouches_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setattr("leanthink.testbed.evaluate.TEST_ROWS", 10)
    made = build(tmp_path / "policy", training=TINY, task=Task(), seed=0, command="here", every=2, samples=1)
    manifest = verify_policy(tmp_path / "policy")
    assert manifest == made
    assert manifest["free"]["overall"]["count"] == 10
    assert "step 2/3" in capsys.readouterr().out
    assert AutoTokenizer.from_pretrained(tmp_path / "policy").eos_token == "<eos>"
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "policy").config.hidden_size == 16
