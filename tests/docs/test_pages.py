"""What pages show works: Python runs, YAML builds, commands are taken; no page is too long. Links: `tools/links.py`."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from leanthink.cli import COMMANDS, parser
from leanthink.commands import jobs
from leanthink.commands.sweep import resolver
from leanthink.core.code import look_in, trusting
from leanthink.recipe.definition import load_recipe, recipe_from, recipe_names
from leanthink.recipe.keys import KEYS, PROSE
from leanthink.recipe.nodes import build
from leanthink.recipe.yaml import parse_yaml
from leanthink.sweep.plan import KEYS as SWEEP_KEYS
from leanthink.sweep.plan import load_sweep
from pages import ROOT, Block, blocks, pages, prose

PAGES = pages()
LONGEST = 2000
"""Words of prose that are read in ten minutes."""
LIMIT = {"data.max_response_length": 8192}
"""What lengths that are shares are of, where a page does not show the recipe's limit."""
NOT_YET = ("my_method", "RECIPE")
"""Names of recipes that only a reader has."""
MAKE = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
SOURCES = ("src", "rewards", "algorithms", "recipes", "benchmarks", "examples", "tools", "tests")


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with the examples; what a page writes into files is added to it."""
    for file in (ROOT / "examples").iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    (tmp_path / "my_recipe.yaml").write_text("reward: correct\n", encoding="utf-8")  # where a page does not show it
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def written(page: Path, folder: Path) -> None:
    """Write the blocks of a page that name a file."""
    for block in blocks(page, "python", "yaml"):
        if block.file and "/" not in block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in PAGES if list(blocks(page, "python"))], ids=ids)
def test_python_runs_from_the_top_down(page: Path, beside: Path) -> None:
    module = ModuleType("shown_page")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        for block in blocks(page, "python"):
            ast.parse(block.text)
            if block.taken_from:
                assert block.text in (ROOT / block.taken_from).read_text(encoding="utf-8"), block.place
            elif not block.not_run:
                exec(compile(block.text, block.place, "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]


def chunks(text: str) -> list[str]:
    """A block of YAML; where a key of the first level comes twice, as in a list of ways to say it, each by itself."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    keys = [line.partition(":")[0] for line in lines if not line[0].isspace()]
    if len(keys) == len(set(keys)):
        return [text]
    starts = [row for row, line in enumerate(lines) if not line[0].isspace()]
    return ["\n".join(lines[start:end]) for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


@pytest.mark.parametrize("page", [page for page in PAGES if list(blocks(page, "yaml"))], ids=ids)
def test_yaml_builds(page: Path, beside: Path) -> None:
    written(page, beside)
    look_in(beside)
    for block in blocks(page, "yaml"):
        if block.not_run:
            continue
        for chunk in chunks(block.text):
            node = parse_yaml(chunk, block.place)
            assert isinstance(node, dict), block.place
            built(node, block)


def built(node: dict[str, Any], block: Block) -> None:
    """Build what a block of YAML stands for: a sweep, a recipe, parts of one, or a reward under a name."""
    if set(node) & {"recipes", "variants"}:
        file = Path(block.file or "shown.yaml")
        file.write_text(block.text, encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert load_sweep(file, resolver()).runs
    elif set(node) <= set(SWEEP_KEYS):
        assert node, block.place
    elif set(node) <= set(KEYS) - set(PROSE):
        own = {key: value for key, value in node.items() if key in KEYS}
        recipe_from({"reward": "correct", **own, "verl": {**LIMIT, **node.get("verl", {})}}, "shown")
    else:  # a part of a tree, under the name that it has there
        for name, inner in node.items():
            build(inner, "reward", f"{block.place}, {name}")


def lines_of(block: Block) -> Iterator[str]:
    """The commands of a block, a line each, comments and pipes left out."""
    for line in block.text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise AssertionError(f"{block.place}: {line}: {error}") from error
        if words:
            yield line


def commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a line, variables before it and redirections behind it left out."""
    command: list[str] = []
    for word in [*shlex.split(line, comments=True), ";"]:
        if word in ("&&", "||", "|", ";", "&"):
            while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
                command = command[1:]
            if command:
                yield command
            command = []
        elif word in (">", "<", ">>"):
            command.append(word)
        else:
            command.append(word.removesuffix(";"))


@pytest.mark.parametrize("page", [page for page in PAGES if list(blocks(page, "bash"))], ids=ids)
def test_commands_are_taken(page: Path, beside: Path) -> None:
    written(page, beside)
    for block in blocks(page, "bash"):
        done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{block.place}: {done.stderr}"
        for line in lines_of(block):
            for words in commands(line):
                taken(words, f"{block.place}: {' '.join(words)[:100]}")


def taken(words: list[str], place: str) -> None:
    """Whether a command is one: ours by the real parser, a target of make, a file that is there."""
    program, *rest = words
    rest = rest[: next((at for at, word in enumerate(rest) if word in (">", "<", ">>")), len(rest))]
    if program.endswith("leanthink"):
        ours(rest, place)
    elif program == "make":
        assert {word for word in rest if "=" not in word} <= MAKE, place
    elif program in ("python", "pytest", ".venv-engine/bin/python"):
        for word in rest:
            if word.endswith(".py"):
                assert (ROOT / word).is_file(), place


def ours(words: list[str], place: str) -> None:
    """A command of ours: options, recipes, keys."""
    assert words and words[0] in (*COMMANDS, "--version"), place
    if words[0] == "--version":
        return
    try:
        args, more = parser(words[0]).parse_known_args(words)
    except SystemExit as error:
        raise AssertionError(f"{place}: the parser refuses it") from error
    assert all("=" in word and not word.startswith("-") for word in more), f"{place}: {more}"
    assert not more or hasattr(args, "overrides"), place
    if more:
        args.overrides += more
    with warnings.catch_warnings(), trusting(None if getattr(args, "trust_code", False) else ()):
        warnings.simplefilter("ignore")
        if words[0] in ("train", "show"):
            trained(args, place)
        elif words[0] == "score":
            for recipe in args.recipe or ():
                known(recipe, place)
        elif words[0] == "sweep" and Path(args.file).exists():
            with trusting(None):
                assert load_sweep(Path(args.file), resolver()).runs, place


def trained(args: Any, place: str) -> None:
    """What would be trained or shown: the recipe builds, verl knows the keys."""
    if args.recipe in NOT_YET:
        return
    if args.recipe not in recipe_names() and not args.recipe.endswith(".yaml"):
        from leanthink.recipe.parts import named

        assert named(args.recipe), place
        return
    if not known(args.recipe, place):
        return
    if args.trainer == "trl":
        load_recipe(args.recipe, jobs.tree_overrides(args.overrides))
        return
    pytest.importorskip("verl", reason="verl is not installed: pip install 'leanthink[verl]'")
    args.profile = args.profile or ("gpu" if args.train_file else "cpu")
    job = jobs.job_of(args, jobs.folder_of(args), only_shown=True)
    jobs.check(job)


def known(recipe: str, place: str) -> bool:
    """Whether a recipe can be loaded here; one of a file that the page does not show cannot."""
    if recipe.endswith(".yaml"):
        if not Path(recipe).exists():
            return False
        with trusting(None):
            load_recipe(recipe)
        return True
    assert recipe in recipe_names() or ":" in recipe, f"{place}: no recipe {recipe!r}"
    return ":" not in recipe


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_in_the_text_are_commands(page: Path) -> None:
    for code in re.findall(r"`(leanthink [^`]+)`", prose(page)):
        name, *words = code.split()[1:]
        if name.isupper() or name == "--version":
            continue
        assert name in COMMANDS, f"{ids(page)}: {code}"
        options = {word for action in subparser(name)._actions for word in action.option_strings}
        for word in words:
            if word.startswith("--") and len(word) > 2:
                assert word.partition("=")[0].rstrip(",.;") in options, f"{ids(page)}: {code}"


def subparser(name: str) -> Any:
    (found,) = (one for one in parser(name)._actions if isinstance(getattr(one, "choices", None), dict))
    return found.choices[name]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_a_page_is_read_in_ten_minutes(page: Path) -> None:
    lines = [line for line in prose(page).splitlines() if not line.startswith("|")]
    assert len(" ".join(lines).split()) <= LONGEST
    assert page.name != "README.md" or page.parent != ROOT or len(page.read_text().splitlines()) <= 200


def test_pages_named_in_the_sources_are_there() -> None:
    missing = []
    for folder in SOURCES:
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".yaml", ".md") and file.is_file() and "__pycache__" not in file.parts:
                named = re.findall(r"(?<![\w/])docs/[\w/]+\.md", file.read_text(encoding="utf-8"))
                missing += [f"{file.relative_to(ROOT)}: {name}" for name in named if not (ROOT / name).is_file()]
    assert not missing


def test_every_page_is_in_the_sites_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    shown = re.findall(r"- (?:[^:\n]+: )?([\w/]+\.md)$", text, re.MULTILINE)  # one that the build writes has a comment
    there = [str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert sorted(shown) == sorted(there)
