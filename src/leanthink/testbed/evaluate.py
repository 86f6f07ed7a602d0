"""What a policy does on the held-out questions: accuracy, length and waste, overall and by difficulty."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from leanthink.testbed.beds import TESTBEDS, AnyTask, testbed_of
from leanthink.testbed.conversation import converse
from leanthink.testbed.generate import Sampling, generate
from leanthink.testbed.rows import TEST_ROWS
from leanthink.testbed.task import Task, boxed_answer
from leanthink.testbed.tools import Tools

CHUNK = 128


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is measured on a set of responses.

    Attributes:
        count: responses.
        accuracy: share whose boxed integer is the answer.
        accuracy_error: its standard error, ``sqrt(p (1 - p) / count)``.
        mean_tokens: tokens a response, end token included.
        mean_tokens_error: its standard error.
        truncation_rate: share that reached the limit before the end token.
        recheck_share: share of all tokens that belong to re-checks, or on the search task to any waste.
    """

    count: int
    accuracy: float
    accuracy_error: float
    mean_tokens: float
    mean_tokens_error: float
    truncation_rate: float
    recheck_share: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures over all questions and by difficulty."""

    overall: Figures
    by_difficulty: dict[int, Figures]

    def table(self) -> str:
        """One line a difficulty, for people."""
        lines = ["numbers  accuracy         tokens         truncated  re-checks"]
        for name, f in [*((str(k), f) for k, f in self.by_difficulty.items()), ("all", self.overall)]:
            lines.append(
                f"{name:>7}  {f.accuracy:6.1%} ± {f.accuracy_error:5.1%}  {f.mean_tokens:5.1f} ± "
                f"{f.mean_tokens_error:4.2f}  {f.truncation_rate:9.2%}  {f.recheck_share:9.1%}"
            )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Graded:
    """What one response was."""

    difficulty: int
    correct: bool
    tokens: int
    truncated: bool
    rechecks: int


def figures(graded: Sequence[Graded]) -> Figures:
    """Sum up responses, of which there is at least one.

    >>> one = Graded(difficulty=2, correct=True, tokens=11, truncated=False, rechecks=0)
    >>> figures([one]).accuracy
    1.0
    """
    count = len(graded)
    accuracy = sum(item.correct for item in graded) / count
    tokens = [item.tokens for item in graded]
    mean = sum(tokens) / count
    variance = sum((value - mean) ** 2 for value in tokens) / max(1, count - 1)
    return Figures(
        count=count,
        accuracy=accuracy,
        accuracy_error=(accuracy * (1 - accuracy) / count) ** 0.5,
        mean_tokens=mean,
        mean_tokens_error=(variance / count) ** 0.5,
        truncation_rate=sum(item.truncated for item in graded) / count,
        recheck_share=sum(item.rechecks for item in graded) / sum(tokens),
    )


def prompt_ids(tokenizer: Any, question: Any) -> list[int]:
    """A question in the chat template, as the policy reads it."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": question.text}], add_generation_prompt=True, tokenize=False
    )
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def evaluate(
    model: Any,
    tokenizer: Any,
    *,
    items: Iterable[Any] | None = None,
    samples: int = 1,
    temperature: float = 1.0,
    ban_wait: bool = False,
    seed: int = 0,
    task: AnyTask | None = None,
) -> Evaluation:
    """Sample ``samples`` responses a question and grade them.

    Args:
        model: the policy.
        tokenizer: its tokenizer.
        items: the questions; the whole held-out set by default.
        samples: responses a question.
        temperature: of sampling.
        ban_wait: forbid the word that starts a re-check, a further try or a call: what blind shortening would do.
        seed: of sampling.
        task: the constants.
    """
    testbed, task = testbed_of(task), task or Task()
    asked = [question for question in items or testbed.questions("test", TEST_ROWS, 0, task) for _ in range(samples)]
    banned = [tokenizer.convert_tokens_to_ids(testbed.banned)] if ban_wait else []
    generator = torch.Generator().manual_seed(seed)
    graded: list[Graded] = []
    for start in range(0, len(asked), CHUNK):
        part = asked[start : start + CHUNK]
        written = _written(model, tokenizer, part, task, temperature, generator, banned)
        for question, (text, tokens, truncated) in zip(part, written, strict=True):
            graded.append(
                Graded(
                    difficulty=question.difficulty,
                    correct=boxed_answer(text) == testbed.answer(question, task),
                    tokens=tokens,
                    truncated=truncated,
                    rechecks=testbed.wasted_words(question, text),
                )
            )
    by_difficulty = {k: [item for item in graded if item.difficulty == k] for k in task.difficulties}
    return Evaluation(
        overall=figures(graded), by_difficulty={k: figures(items) for k, items in by_difficulty.items() if items}
    )


def _written(
    model: Any,
    tokenizer: Any,
    asked: Sequence[Any],
    task: AnyTask,
    temperature: float,
    generator: torch.Generator,
    banned: Sequence[int],
) -> list[tuple[str, int, bool]]:
    """Each response's text, how many tokens of it the policy wrote, and whether it was cut."""
    prompts = [prompt_ids(tokenizer, question) for question in asked]
    if isinstance(task, Tools):
        talks = converse(
            model, tokenizer, prompts, task=task, temperature=temperature, generator=generator, banned_token_ids=banned
        )
        return [(_text(tokenizer, one.token_ids), sum(one.written), one.cut) for one in talks]
    sampling = Sampling(max_new_tokens=task.max_response_tokens, temperature=temperature)
    responses = generate(
        model,
        prompts,
        sampling,
        eos_token_ids=[tokenizer.eos_token_id],
        generator=generator,
        banned_token_ids=banned,
    )
    return [(_text(tokenizer, one.token_ids), len(one.token_ids), one.stop_reason == "length") for one in responses]


def _text(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate a policy, with re-checks or further tries and without, and print tables or JSON."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from leanthink.testbed import policy_path

    parser = argparse.ArgumentParser(prog="python -m leanthink.testbed.evaluate", description=main.__doc__)
    parser.add_argument("--policy", type=Path, help="a folder transformers can load; default: the shipped policy")
    parser.add_argument("--testbed", choices=tuple(TESTBEDS), default="chains", help="default: chains")
    parser.add_argument("--samples", type=int, default=1, help="responses a question")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    folder = given.policy or policy_path(given.testbed)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    found = {
        name: evaluate(
            model,
            tokenizer,
            samples=given.samples,
            temperature=given.temperature,
            ban_wait=banned,
            seed=given.seed,
            task=TESTBEDS[given.testbed].task,
        )
        for name, banned in (("free", False), ("wait banned", True))
    }
    if given.json:
        print(json.dumps({name: asdict(evaluation) for name, evaluation in found.items()}, indent=2))
        return
    for name, evaluation in found.items():
        print(f"{name}\n{evaluation.table()}\n")


if __name__ == "__main__":
    main()
