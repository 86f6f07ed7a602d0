from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from leanthink.testbed import verify_policy
from leanthink.testbed.build import build
from leanthink.testbed.task import Question, Task, split_of
from leanthink.testbed.tokenizer import vocabulary
from leanthink.testbed.training import IGNORED, Training, batches, new_model, number_waves, train

TINY = Training(
    steps=3,
    batch_size=6,
    drill_steps=2,
    drill_share=0.5,
    hidden_size=16,
    layers=1,
    heads=2,
    key_value_heads=1,
    intermediate_size=16,
)


def sequences(training: Training) -> list[tuple[list[str], list[int]]]:
    """Every row of every micro-batch: its words, and which positions are learnt."""
    words = list(vocabulary())
    found = []
    for parts in batches(training, Task(), seed=0):
        assert sum(len(inputs) for inputs, _ in parts) == training.batch_size
        for inputs, labels in parts:
            for row, wanted in zip(inputs.tolist(), labels.tolist(), strict=True):
                learnt = [i for i, label in enumerate(wanted) if label != IGNORED]
                assert all(row[i] == wanted[i] for i in learnt)
                found.append(([words[i] for i in row], learnt))
    return found


def test_traces_are_of_train_questions_and_responses_are_learnt() -> None:
    found = sequences(replace(TINY, drill_steps=0))
    assert len(found) == TINY.steps * TINY.batch_size
    for text, learnt in found:
        start = text.index("<assistant>") + 1
        asked = text[1 : start - 1]
        question = Question(numbers=tuple(map(int, asked[0:-1:2])), operators=tuple(asked[1:-1:2]))
        assert split_of(question) == "train"
        end = text.index("<eos>") + 1
        assert learnt == list(range(start, end))
        assert set(text[end:]) <= {"<pad>"}


def test_drills_are_right_and_only_their_results_are_learnt() -> None:
    drills = [(text, learnt) for text, learnt in sequences(TINY) if "<assistant>" not in text]
    # Half of a batch of six, in the first two of three steps.
    assert len(drills) == 2 * 3
    for text, learnt in drills:
        text = [word for word in text if word != "<pad>"]
        value = int(text[0])
        assert learnt == list(range(4, len(text), 4))
        for operator, operand, equals, result in zip(text[1::4], text[2::4], text[3::4], text[4::4], strict=True):
            value = value + int(operand) if operator == "+" else value - int(operand)
            assert (equals, int(result)) == ("=", value)
            assert 21 <= value <= 99


def test_number_waves_are_told_apart_and_have_unit_mean_square() -> None:
    waves = number_waves(100, 96)
    assert waves.shape == (100, 96)
    torch.testing.assert_close(waves.square().mean(1), torch.ones(100))
    likeness = waves @ waves.T / 96
    assert (likeness - torch.eye(100)).max() < 0.9
    # How alike two numbers begin depends on their difference alone.
    torch.testing.assert_close(likeness[10, 20], likeness[50, 60])


def test_training_is_seeded_and_lowers_the_loss() -> None:
    def run(seed: int) -> tuple[list[float], Any]:
        losses: list[float] = []
        longer = replace(TINY, steps=30, drill_steps=0, warmup_steps=5, learning_rate=1e-2)
        model = new_model(longer, Task(), seed)
        train(
            longer,
            model,
            batches(longer, Task(), seed),
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
    made = build(tmp_path / "policy", courses=[TINY], task=Task(), seed=0, command="here", every=2, samples=1)
    manifest = verify_policy(tmp_path / "policy")
    assert manifest == made
    assert manifest["free"]["overall"]["count"] == 10
    assert "step 2/3" in capsys.readouterr().out
    assert AutoTokenizer.from_pretrained(tmp_path / "policy").eos_token == "<eos>"
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "policy").config.hidden_size == 16
