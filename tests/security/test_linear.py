"""What reads a model's text takes time in proportion to it, whatever the text; no expression is left out."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import leanthink
from leanthink.core.boxes import boxes_in, last_box, unwrap
from leanthink.core.measured import TextReward, TokenReward, even_pieces
from leanthink.core.text import as_label, printable, storable
from leanthink.data.rollouts import words_and_signs
from leanthink.metrics.solutions import split_solutions
from leanthink.recipe.registry import REGISTRY
from leanthink.reporting.fronts import question_of
from leanthink.rewards import early_exit, redundant_thinking, thinking_compression
from leanthink.rewards.format import format_ok
from leanthink.rewards.readable import answer_in, well_formed
from leanthink.rewards.segmentation import cut_points, find_thinking, token_pieces
from leanthink.rewards.think_outcome import form_of, has_box
from leanthink.runs.failure import HYDRAS_END, cause_of
from leanthink.verl.rollout.reward_model import number_in
from timing import is_within

PACKAGE = Path(leanthink.__file__).parent
TAGS = ("<think>", "</think>")
SIZE = 40_000
SECONDS = 1.0  # what is quadratic takes many times that

READERS: dict[str, Callable[[str], object]] = {
    "boxes_in": boxes_in,
    "last_box": last_box,
    "halves of pairs": lambda text: (storable(text + "\ud800"), printable(text), as_label(text)),
    "unwrap": unwrap,
    "words_and_signs": words_and_signs,
    "split_solutions": lambda text: split_solutions(text, "5"),
    "split_solutions, gold": lambda text: split_solutions("\\boxed{5} " * 1000, text),
    "answer_in": lambda text: answer_in(f"<answer>{text}</answer>", *TAGS),
    "answer_in, bare": lambda text: answer_in(text, *TAGS),
    "well_formed": well_formed,
    "format_ok": lambda text: format_ok(f"<think>{text}</think>{text}", *TAGS),
    "has_box": has_box,
    "form_of": lambda text: form_of(f"<think>{text}</think>{text}", *TAGS),
    "find_thinking": lambda text: find_thinking(text, *TAGS),
    "cut_points": lambda text: cut_points(text, 0, len(text), skip_chars=0, min_gap_chars=0),
    "cut_points, words": lambda text: cut_points(
        text, 0, len(text), whole_word=True, skip_chars=0, min_gap_chars=0, sentence_ends="§"
    ),
    "step ends": lambda text: list(early_exit._STEP_END.finditer(text)),
    "final_answer": thinking_compression.final_answer,
    "position_of": lambda text: thinking_compression.position_of(text[: len(text) // 3], text[1:]),
    "position_of, short": lambda text: thinking_compression.position_of(text[:150], text[1:]),
    "until_answer": lambda text: thinking_compression.until_answer("", text, text),
    "chunk_ends": lambda text: redundant_thinking.chunk_ends(text, openers=("Wait", "a", "1", "x")),
    "even_pieces": lambda text: (even_pieces(text, 7), even_pieces(text, len(text.split()))),
    "number_in": number_in,
    "question_of": question_of,
    "token_pieces": lambda text: token_pieces(
        list(text[:10_000].encode()), lambda ids: bytes(ids).decode("utf-8", "replace")
    ),
}

PIECES = [
    *("\\(", "\\)", "\\[", "\\boxed{", "\\boxed", "\\boxed ", "\\boxed\\x", "\\boxed{1}", "{", "}", "{}", "{a}", "\\{"),
    *(
        " ",
        "\n",
        "\n ",
        " \n",
        "a\n\n",
        "a",
        "1",
        "1 ",
        "-",
        "1,",
        "1,111",
        ",111",
        "1.",
        ".",
        "/",
        "<",
        "<a",
        "<>",
        "*",
        "`",
    ),
    *("$", "**", "<answer>", "</answer>", "<think>", "</think>", "answer is", "answer is ", "answer is x ", "wait"),
    *("wait.", "Wait ", "So. ", "x: ", "0", "é", "\\frac{", "\\frac12", "=", "2+", "(", ")", "a b ", "\t", "-1 "),
]
FRAMES = [("", ""), ("\\boxed{", ""), ("", "}" * 1000), ("\\boxed{1} ", " \\boxed{"), ("a", "!")]


@pytest.mark.parametrize("name", READERS)
def test_adversarial_text_is_read_in_linear_time(name: str) -> None:
    for piece in PIECES:
        for before, behind in FRAMES:
            text = before + piece * (SIZE // len(piece)) + behind
            assert is_within(SECONDS, READERS[name], text), (piece, before, behind)


DIED = "Worker PID: 1 Worker exit type: SYSTEM_ERROR Worker exit detail: "
LOGS = {  # what a policy wrote, where a log's errors are looked for
    "names of processes": lambda n: "(" + "raylet " * (n // 7) + "\nRayActorError: gone",
    "Hydra's last words": lambda n: f"{HYDRAS_END}\n" * (n // 48),
    "Hydra's last words apart": lambda n: f"{HYDRAS_END}\n\n" * (n // 48),
    "deaths": lambda n: f"{DIED}a.b" * (n // 70) + "\nRayActorError: gone",
    "who died": lambda n: "(" * n + f"\nRayActorError: gone\n{DIED}gone. ",
    "errors": lambda n: "AError\n" * (n // 7) + "RayActorError: gone",
    "prefixes of errors": lambda n: "A." * (n // 2) + "\n" + "AError" * (n // 6) + "\nRayActorError: gone",
}


@pytest.mark.parametrize("form", LOGS)
def test_a_log_that_a_policy_has_written_into_is_read_in_linear_time(form: str) -> None:
    log = LOGS[form](400_000)
    assert is_within(10 * SECONDS, cause_of, log)


def test_tokens_that_are_no_text_are_read_in_linear_time() -> None:
    def pieces() -> list[str]:
        return token_pieces([0x80] * 40_000, lambda ids: bytes(ids).decode("utf-8", "replace"))

    assert is_within(2 * SECONDS, pieces)
    assert "".join(pieces()) == "\N{REPLACEMENT CHARACTER}" * 40_000


NESTED = {
    "boxes in boxes": lambda n: "\\boxed{" * n + "}" * n,
    "boxes opened, pairs": lambda n: "\\boxed{" * n + "{}" * n,
    "many solutions": lambda n: "".join(f"\\boxed{{{i}}} " + " ".join(f"w{i}x{j}" for j in range(4)) for i in range(n)),
    "many small solutions": lambda n: "".join(f"\\boxed{{{i}}} " for i in range(n)),
    "answers": lambda n: "".join(f"answer is {i} w{i} " for i in range(n)),
}


@pytest.mark.parametrize("form", NESTED)
@pytest.mark.parametrize("name", READERS)
def test_nested_and_counted_text_too(name: str, form: str) -> None:
    make = NESTED[form]
    for n in (1000, 8000):
        text = make(n)
        seconds = SECONDS * max(1, len(text) / SIZE)
        assert is_within(seconds, READERS[name], text)


@pytest.mark.parametrize("name", [name for name, cls in REGISTRY["reward"].items() if issubclass(cls, TextReward)])
def test_every_reward_of_texts_is_linear(name: str) -> None:
    made = {"word_repetition": {"max_penalty": -1.0}}
    reward = REGISTRY["reward"][name](**made.get(name, {}))
    for piece in PIECES:
        text = piece * (SIZE // len(piece))
        for response in (text, f"<think>{text}</think>{text}", f"<think></think><answer>{text}</answer>"):
            assert is_within(SECONDS, reward.measure, response), piece


@pytest.mark.parametrize("name", [name for name, cls in REGISTRY["reward"].items() if issubclass(cls, TokenReward)])
def test_every_reward_of_tokens_is_linear(name: str) -> None:
    reward = REGISTRY["reward"][name]()
    for tokens in ([1] * SIZE, list(range(SIZE)), [1, 2] * (SIZE // 2)):
        assert is_within(2 * SECONDS, reward.measure, tokens)


SHOWN = {  # a module that holds expressions -> the readers above that run them, or why no text of a model reaches them
    "core/boxes.py": ["boxes_in", "last_box"],
    "core/measured.py": ["even_pieces"],
    "data/rollouts.py": ["words_and_signs"],
    "metrics/solutions.py": ["split_solutions", "split_solutions, gold"],
    "rewards/early_exit.py": ["step ends"],
    "rewards/readable.py": ["answer_in", "well_formed"],
    "rewards/redundant_thinking.py": ["chunk_ends"],
    "rewards/segmentation.py": ["cut_points", "cut_points, words"],
    "rewards/think_outcome.py": ["has_box", "form_of"],
    "rewards/thinking_compression.py": ["final_answer", "position_of", "until_answer"],
    "verl/rollout/reward_model.py": ["number_in"],
    "reporting/fronts.py": ["question_of"],
    "reporting/grid.py": "labels, of up to 200 signs",
    "core/code.py": "names in a recipe",
    "core/functions.py": "names of classes",
    "data/pairs.py": "a choice among letters, matched whole",
    "data/prepare.py": "answers in a data set, and the pattern that is typed",
    "data/records.py": "names of files",
    "commands/theirs.py": "values of a script that somebody names",
    "files/reading.py": "counts brackets",
    "files/shell.py": "a script that somebody names; tests/files/test_shell.py holds it to linear time",
    "merge/weights.py": "names of files",
    "recipe/lengths.py": "values of a recipe",
    "recipe/parts.py": "docstrings of parts",
    "recipe/yaml.py": "numbers in a recipe",
    "training/template.py": "openings in a recipe",
    "sweep/plan.py": "names of runs",
    "sweep/slurm.py": "a job's id and the exit code it left, of at most 41 signs, matched whole",
    "trl/start.py": "the command of a run",
    "verl/hydra.py": "values of a recipe",
    "verl/start/theirs.py": "words of a script, and values of verl's configuration",
    "core/text.py": ["halves of pairs"],
    "data/questions.py": "answers in a data set, and the pattern that is typed",
    "runs/failure.py": "what verl printed, after training has ended",
}


def test_no_expression_is_left_out() -> None:
    found = set()
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        for path in (Path(folder) / file for file in files if file.endswith(".py")):
            name = path.relative_to(PACKAGE).as_posix()
            tree = ast.parse(path.read_text(encoding="utf-8"))
            uses = any(
                isinstance(node, ast.Import) and any(one.name in ("re", "regex") for one in node.names)
                for node in ast.walk(tree)
            )
            if uses and not name.startswith("verify/"):  # runs under the verifier's deadline
                found.add(name)
    assert found <= set(SHOWN), f"show these linear, in READERS and SHOWN: {sorted(found - set(SHOWN))}"
    assert {reader for readers in SHOWN.values() if isinstance(readers, list) for reader in readers} <= set(READERS)
