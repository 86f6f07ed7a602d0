"""What reads a text of others takes time in proportion to it, whatever the text; no expression is left out."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import leanthink
from leanthink.commands import theirs
from leanthink.core import code
from leanthink.core.boxes import boxes_in, last_box, unwrap
from leanthink.core.errors import LeanthinkError
from leanthink.core.measured import TextReward, TokenReward, even_pieces
from leanthink.core.text import as_label, printable, storable
from leanthink.data.questions import _THOUSANDS
from leanthink.data.records import Record
from leanthink.data.rollouts import words_and_signs
from leanthink.files.shell import Word
from leanthink.metrics.solutions import split_solutions
from leanthink.recipe import lengths, yaml
from leanthink.recipe.keys import check_keys_written
from leanthink.recipe.registry import REGISTRY
from leanthink.reporting.fronts import question_of
from leanthink.rewards import early_exit, redundant_thinking, thinking_compression
from leanthink.rewards.format import format_ok
from leanthink.rewards.readable import answer_in, well_formed
from leanthink.rewards.segmentation import cut_points, find_thinking, token_pieces
from leanthink.rewards.think_outcome import form_of, has_box
from leanthink.runs.failure import HYDRAS_END, cause_of
from leanthink.sweep.plan import Planned
from leanthink.training.template import _FIRST
from leanthink.trl.start import _BEGINS_LINE
from leanthink.verify import evaluated, shortcuts, tasks, typed
from leanthink.verify import reading as reading_
from leanthink.verify.clean import LONGEST, clean
from leanthink.verify.extract import TAIL, find_answer, gold_answer
from leanthink.verify.search import value_in
from leanthink.verl import hydra
from leanthink.verl.rollout.reward_model import number_in
from leanthink.verl.start import theirs as commands
from timing import is_within

PACKAGE = Path(leanthink.__file__).parent
TAGS = ("<think>", "</think>")
SIZE = 40_000
SECONDS = 1.0  # what is quadratic takes many times that


def refusing(read: Callable[[str], object]) -> Callable[[str], object]:
    """A reader that may refuse a text, and trusts no code that it names."""

    def reading(text: str) -> None:
        with suppress(LeanthinkError), code.trusting(()):
            read(text)

    return reading


OF_FILES: dict[str, Callable[[str], object]] = {  # a recipe's keys, names and texts, and the words of a script
    "written keys": refusing(lambda text: check_keys_written({text: {text: 1}}, "here")),
    "trusted keys": refusing(lambda text: code.check_keys_trusted({text: 1}, "here")),
    "trusted keys below": refusing(lambda text: code.check_keys_trusted({"x": {text: 1}, "y": [{text: "a"}]}, "here")),
    "trusted texts": refusing(lambda text: code.check_keys_trusted({"leanthink.x": text}, "here")),
    "trusted words": refusing(lambda text: code.check_keys_trusted({"trainer.device": text}, "here")),
    "trusted sources": refusing(lambda text: code.check_keys_trusted({"data.train_files": text}, "here")),
    "typed": lambda text: (code.named_in([text, f"{text}={{{text}"]), code.names_own(text)),
    "literal": refusing(hydra.literal),
    "literal, names": refusing(lambda text: hydra.literal({text: 1})),
    "escaped": lambda text: (hydra.escaped(text), hydra._is_text(text), hydra._quoted(text)),
    "overrides": refusing(lambda text: hydra.overrides({text: 1})),
    "shares": refusing(lambda text: lengths.resolved({"reward": text}, "here")),
    "numbers of YAML": lambda text: [
        pattern.match(text) for patterns in yaml._Loader.yaml_implicit_resolvers.values() for _, pattern in patterns
    ],
    "openings": _FIRST.match,
    "folders of runs": lambda text: Planned(variant=text, recipe="", overrides={}, seed=1, arguments=()).folder,
    "words of a command": _BEGINS_LINE.match,
    "values of a script": theirs._in_shell,
    "programs of a script": lambda text: commands._program([Word(text=text), Word(text="-m"), Word(text=text)]),
    "overrides of a script": lambda text: [commands.OVERRIDE.fullmatch(one) for one in (text, f"data.x={text}")],
    "references": lambda text: commands._resolved(text, {}, False),
    "names of fields": Record(fields={"a": [1]}, file=Path(), line=1).get,
    "golds": lambda text: (_THOUSANDS.fullmatch(text), gold_answer(text)),
}


def afresh(read: Callable[[str], object]) -> Callable[[str], object]:
    """A reader of the verifier's, with nothing remembered from the call before."""

    def reading(text: str) -> None:
        for remembers in (clean, evaluated._formulas, reading_.read, typed._readings, shortcuts._read):
            remembers.cache_clear()
        read(text)

    return reading


_found = partial(find_answer, thinking_end="</think>", require_thinking_end=False, require_marked=False)

READERS: dict[str, Callable[[str], object]] = {
    **OF_FILES,
    "find_answer": lambda text: _found(text, truncated=False),
    "find_answer, cut": lambda text: _found(text, truncated=True),
    "gold_answer": gold_answer,
    "value_in": lambda text: value_in(text[-TAIL:]),
    "is_echo": afresh(lambda text: evaluated.is_echo("5", "19+2", text)),
    "compact": afresh(lambda text: evaluated.compact(text[-TAIL:])),
    "type_of": afresh(lambda text: reading_.type_of(text[:LONGEST])),
    "told_by_types": afresh(lambda text: typed.told_by_types("x+1", text[-TAIL:])),
    "shortcut": afresh(lambda text: shortcuts.shortcut("5", text[: shortcuts.LONGEST])),
    "letters": lambda text: (tasks.letters(text), tasks.bare_text(text), tasks._letter_beside(text)),
    "choices": lambda text: list(tasks._ANSWER_IS.finditer(text)),
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
    *(
        "\\",
        "\\\\",
        "_",
        "1_",
        "_1",
        "a.",
        "_a.",
        ":",
        "a:",
        "@",
        "+",
        "'",
        '"',
        "$a",
        "${a}",
        "${",
        "$a=",
        "$aa",
        "main",
        "class_",
    ),
    *("\u00a0", "\x0b", ", ", "not 1 ", "I ", "a I ", "or ", "1 or ", "maybe ", "and ", "\\(a", "\\[", "\\]"),
    *("\nQ:", "answer \nQ:", "<|user|>", "#", "#### ", "#### 1 ", "\\color[", "\\begin{cases}", "\\end{cases}", "^{'"),
    *("(\\begin{matrix}", "\\{\\begin{array}{c}", "\\text{", "\\mathrm{1 ", "\\hspace{", "$ ", "final answer ", "```"),
    *("wait.", "Wait ", "So. ", "x: ", "0", "é", "\\frac{", "\\frac12", "=", "2+", "(", ")", "a b ", "\t", "-1 "),
]
FRAMES = [
    ("", ""),
    ("#### 1", "x"),
    ("1 ", " 2"),
    ("\\boxed{", ""),
    ("", "}" * 1000),
    ("\\boxed{1} ", " \\boxed{"),
    ("a", "!"),
]


@pytest.mark.parametrize("name", READERS)
def test_adversarial_text_is_read_in_linear_time(name: str) -> None:
    for piece in PIECES:
        for before, behind in FRAMES:
            text = before + piece * (SIZE // len(piece)) + behind
            assert is_within(SECONDS, READERS[name], text), (piece, before, behind)


@pytest.mark.parametrize(
    "piece", ["\\color[", "\\begin{cases}", "\\{\\begin{array}{c}", "(\\begin{matrix}", "\\(", "\\["]
)
@pytest.mark.parametrize("before", ["", "\\end{aligned} \\end{matrix}) "])
def test_a_long_problem_is_read_in_linear_time(piece: str, before: str) -> None:
    text = before + piece * (300_000 // len(piece))
    assert is_within(3 * SECONDS, READERS["is_echo"], text)


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


SHOWN = {  # a module that holds expressions -> the readers above that run them, or why they meet short texts alone
    "core/boxes.py": ["boxes_in", "last_box"],
    "core/code.py": ["trusted keys", "trusted texts", "trusted words", "trusted sources", "typed"],
    "core/functions.py": "names of classes",
    "core/measured.py": ["even_pieces"],
    "core/text.py": ["halves of pairs"],
    "commands/theirs.py": ["values of a script"],
    "data/pairs.py": "a choice among letters, matched whole",
    "data/prepare.py": "the name of a data set and the pattern, both typed",
    "data/questions.py": ["golds"],
    "data/records.py": ["names of fields"],
    "data/rollouts.py": ["words_and_signs"],
    "files/shell.py": "a script that somebody names; tests/files/test_shell.py holds it to linear time",
    "merge/weights.py": "names of files, of up to 255 signs",
    "metrics/solutions.py": ["split_solutions", "split_solutions, gold"],
    "recipe/keys.py": ["written keys"],
    "recipe/lengths.py": ["shares"],
    "recipe/parts.py": "docstrings of parts",
    "recipe/yaml.py": ["numbers of YAML"],
    "reporting/fronts.py": ["question_of"],
    "reporting/grid.py": "labels, of up to 200 signs",
    "rewards/early_exit.py": ["step ends"],
    "rewards/readable.py": ["answer_in", "well_formed"],
    "rewards/redundant_thinking.py": ["chunk_ends"],
    "rewards/segmentation.py": ["cut_points", "cut_points, words"],
    "rewards/think_outcome.py": ["has_box", "form_of"],
    "rewards/thinking_compression.py": ["final_answer", "position_of", "until_answer"],
    "runs/failure.py": "what verl printed, after training has ended; LOGS above",
    "sweep/plan.py": ["folders of runs"],
    "sweep/slurm.py": "a job's id and the exit code it left, of at most 41 signs, matched whole",
    "training/template.py": ["openings"],
    "trl/start.py": ["words of a command"],
    "verify/beside.py": ["value_in"],
    "verify/clean.py": ["compact"],
    "verify/evaluated.py": ["is_echo", "compact"],
    "verify/extract.py": ["find_answer", "find_answer, cut", "gold_answer"],
    "verify/formulas.py": ["is_echo", "value_in"],
    "verify/judge.py": "runs in a worker, under the deadline",
    "verify/numbers.py": "numbers of up to 60 signs",
    "verify/numerals.py": ["type_of"],
    "verify/pieces.py": ["type_of"],
    "verify/reading.py": ["type_of"],
    "verify/search.py": ["value_in"],
    "verify/shortcuts.py": ["shortcut"],
    "verify/tasks.py": ["letters", "choices"],
    "verify/tokens.py": ["type_of"],
    "verify/typed.py": ["told_by_types"],
    "verify/units.py": ["type_of", "value_in"],
    "verify/words.py": ["type_of"],
    "verl/hydra.py": ["literal", "literal, names", "escaped"],
    "verl/rollout/reward_model.py": ["number_in"],
    "verl/start/theirs.py": ["programs of a script", "overrides of a script", "references"],
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
            if uses:
                found.add(name)
    assert found == set(SHOWN), f"show these linear, in READERS and SHOWN: {sorted(found ^ set(SHOWN))}"
    assert {reader for readers in SHOWN.values() if isinstance(readers, list) for reader in readers} <= set(READERS)
