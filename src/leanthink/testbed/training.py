"""Supervised training of a testbed's policy on traces that are drawn as it goes; the lessons of the chains."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from leanthink.testbed.beds import AnyTask
from leanthink.testbed.muon import Muon
from leanthink.testbed.task import Task, apply, questions, sample_trace
from leanthink.testbed.tokenizer import ASSISTANT, EOS, PAD, USER, vocabulary

IGNORED = -100
Row = tuple[list[int], list[int]]
"""Ids and labels of one sequence."""
Batch = list[tuple[Tensor, Tensor]]
"""Micro-batches of (inputs, labels), right-padded."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a policy is trained: AdamW, linear warm-up, cosine to a tenth of a percent of the peak.

    Attributes:
        steps: optimizer steps.
        batch_size: sequences a step.
        drill_steps: steps at the start in which part of a batch is drill: bare arithmetic, all of it right. Re-checks
            are copies, so of 65 tokens of a trace only three teach arithmetic; of a drill's, every fourth does.
        drill_share: that part.
        micro_batches: parts, by length, a batch is computed in, so that little padding is.
        learning_rate: the peak.
        muon_rate: the peak of Muon, which then trains the matrices but for the embedding; None: AdamW does.
        warmup_steps: steps of linear warm-up.
        weight_decay: AdamW's, for matrices.
        max_grad_norm: gradients are clipped to this norm.
        hidden_size: width of the Llama model.
        layers: its depth.
        heads: its attention heads.
        key_value_heads: its key and value heads.
        intermediate_size: width of its MLPs.
    """

    steps: int = 1600
    batch_size: int = 64
    drill_steps: int = 700
    drill_share: float = 0.75
    micro_batches: int = 2
    learning_rate: float = 2e-3
    muon_rate: float | None = None
    warmup_steps: int = 200
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    intermediate_size: int = 384

    def share_at(self, step: int) -> float:
        """The learning rate of a step, from 0, as a share of the peak.

        >>> training = Training(steps=10, warmup_steps=2)
        >>> [round(training.share_at(step), 2) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return max(1e-3, 0.5 * (1 + math.cos(math.pi * done)))


def new_model(training: Training, task: AnyTask, seed: int) -> Any:
    """A freshly initialised Llama model over the task's vocabulary; the chains' numbers begin as waves."""
    from transformers import LlamaConfig, LlamaForCausalLM

    words = vocabulary(task)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=training.hidden_size,
        num_hidden_layers=training.layers,
        num_attention_heads=training.heads,
        num_key_value_heads=training.key_value_heads,
        intermediate_size=training.intermediate_size,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=words[PAD],
        eos_token_id=words[EOS],
        bos_token_id=None,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    if not isinstance(task, Task):
        return model
    numbers = [index for word, index in words.items() if word.isdigit()]
    with torch.no_grad():
        waves = number_waves(len(numbers), training.hidden_size * 3 // 4)
        model.get_input_embeddings().weight[numbers, : waves.shape[1]] = config.initializer_range * waves
    return model


def number_waves(count: int, width: int) -> Tensor:
    """Sines and cosines (count, width) of each number at ``width / 2`` frequencies, of unit mean square.

    Embeddings that begin like this tell how far apart two numbers are; from random ones a small model spends much of
    its training on finding that out.
    """
    frequencies = torch.arange(1, width // 2 + 1) * (2 * math.pi / 128)
    angles = torch.arange(count)[:, None] * frequencies
    return math.sqrt(2) * torch.cat([angles.cos(), angles.sin()], dim=1)


def batches(training: Training, task: Task, seed: int) -> Iterator[Batch]:
    """The chains' lessons, a batch a step: train questions only, loss on responses only."""
    words, rng = vocabulary(task), random.Random(f"traces-{seed}")
    pool = questions("train", training.steps * training.batch_size, seed, task)
    for number in range(training.steps):
        drills = round(training.batch_size * training.drill_share) if number < training.drill_steps else 0
        rows = [_drill(rng, task, words) for _ in range(drills)]
        for item in islice(pool, training.batch_size - drills):
            prompt = [words[word] for word in [USER, *item.text.split(), ASSISTANT]]
            response = [words[word] for word in [*sample_trace(rng, item, task).text.split(), EOS]]
            rows.append((prompt + response, [IGNORED] * len(prompt) + response))
        yield padded(rows, training.micro_batches, words[PAD])


def padded(rows: list[Row], micro_batches: int, pad: int) -> Batch:
    """Sequences of like length together, padded on the right."""
    rows.sort(key=lambda row: len(row[0]))
    step = []
    for part in _chunks(iter(rows), -(-len(rows) // micro_batches)):
        width = len(part[-1][0])
        inputs = torch.full((len(part), width), pad)
        labels = torch.full((len(part), width), IGNORED)
        for i, (ids, targets) in enumerate(part):
            inputs[i, : len(ids)] = torch.tensor(ids)
            labels[i, : len(ids)] = torch.tensor(targets)
        step.append((inputs, labels))
    return step


DRILL_LENGTH = 16


def _drill(rng: random.Random, task: Task, words: dict[str, int]) -> tuple[list[int], list[int]]:
    """A chain of right steps as ids and labels; only the results are labelled, for nothing else can be known."""
    value = rng.randint(task.smallest, task.largest)
    ids, labels = [words[str(value)]], [IGNORED]
    while len(ids) < 4 * DRILL_LENGTH:
        operator, operand = rng.choice("+-"), rng.randint(1, task.largest_operand)
        result = apply(value, operator, operand)
        if task.smallest <= result <= task.largest:
            value = result
            ids += [words[operator], words[str(operand)], words["="], words[str(value)]]
            labels += [IGNORED, IGNORED, IGNORED, words[str(value)]]
    return ids, labels


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    part: list[Any] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def optimizers_of(training: Training, model: Any) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon before it where the training has a rate for it; no decay but of matrices."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    found: list[torch.optim.Optimizer] = []
    if training.muon_rate is not None:
        embedding = model.get_input_embeddings().weight
        found.append(
            Muon([p for p in matrices if p is not embedding], lr=training.muon_rate, weight_decay=training.weight_decay)
        )
        matrices, others = [], [embedding, *others]
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    found.append(
        torch.optim.AdamW([group for group in groups if group["params"]], lr=training.learning_rate, betas=(0.9, 0.98))
    )
    return found


def train(
    training: Training,
    model: Any,
    lessons: Iterable[Batch],
    *,
    report: Callable[[int, float, float], None],
    checkpoint: Callable[[int, Any], None],
    every: int = 200,
) -> None:
    """Train a policy; ``report(step, loss, seconds)`` and ``checkpoint(step, model)`` are called ``every`` steps."""
    optimizers = optimizers_of(training, model)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    model.train()
    started, losses = time.perf_counter(), []
    for step, parts in enumerate(lessons):
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * training.share_at(step)
        tokens = sum(int((labels != IGNORED).sum()) for _, labels in parts)
        total = 0.0
        for inputs, labels in parts:
            logits = model(input_ids=inputs, use_cache=False).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
            )
            (loss / tokens).backward()  # type: ignore[no-untyped-call]
            total += loss.item() / tokens
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.max_grad_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(total)
        if (step + 1) % every == 0 or step + 1 == training.steps:
            report(step + 1, sum(losses) / len(losses), time.perf_counter() - started)
            checkpoint(step + 1, model)
            losses = []
    model.eval()
