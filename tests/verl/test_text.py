"""Text of a recipe reaches verl as it stands, through Hydra's parser, OmegaConf's resolver, and a shell."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import recipe_from
from leanthink.verl.hydra import Reference, keep_text, literal, overrides
from leanthink.verl.settings import Settings
from leanthink.verl.start.launch import Job

PIECES = [*"${}\\'\"()[]:.,=#~%@!?* \n\tab0é", "${oc.env:SECRET}", "\\${", "${"]
SIGNS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
TEXT = SIGNS | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
AWKWARD = [
    "${oc.env:SECRET}",
    "${x}$",
    "\\${x}",
    "\\\\${x}",
    "${",
    "$${x}",
    "a${x}\\",
    "'${x}'",
    "\\boxed{${x}$",
    "${x",
    "$x",
]


def parsed(*arguments: str) -> Any:
    """verl's configuration as Hydra makes it of arguments, references unresolved."""
    config: dict[str, Any] = {"trainer": {"seed": 3}}
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        config[override.get_key_element().lstrip("+")] = plain(override.value())
    return OmegaConf.create(config)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.text if hasattr(value, "text") else value


def check(value: Any) -> None:
    config = parsed(f"+key={literal(value)}")
    assert OmegaConf.to_container(config, resolve=True)["key"] == value
    keep_text()
    for _ in range(2):  # in place, as verl does it, and again
        OmegaConf.resolve(config)
        assert OmegaConf.to_container(config, resolve=True)["key"] == value
        again = OmegaConf.create(OmegaConf.to_container(config))
        assert OmegaConf.to_container(again, resolve=True)["key"] == value


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_text_stands(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cr3t")
    check(text)
    check({"inner": [text, {"again": text}]})


@settings(max_examples=500, deadline=None)
@given(st.recursive(TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner)))
def test_any_text_stands(value: Any) -> None:
    check(value)


def test_a_reference_that_is_meant_is_resolved() -> None:
    config = parsed(f"+key={literal(Reference('${trainer.seed}'))}")
    keep_text()
    OmegaConf.resolve(config)
    assert config.key == 3


def test_text_stands_behind_a_reference_too() -> None:
    node = {"tag": "${oc.env:SECRET}", "tags": ["${x}$"]}
    config = parsed(
        f"+leanthink={literal(node)}", f"+kept={literal(Reference('${leanthink}'))}", "+one='${leanthink.tag}'"
    )
    assert OmegaConf.to_container(config, resolve=True)["kept"] == node
    keep_text()
    OmegaConf.resolve(config)
    assert OmegaConf.to_container(config, resolve=True)["kept"] == node and config.one == node["tag"]
    assert config.leanthink.tag == node["tag"]


def job(text: str) -> Job:
    node = {
        "reward": {"sum": {"a": "correct", "b": {"tag_pair": {"open_tag": text, "close_tag": "</x>"}}}},
        "verl": {"+trainer.note": text, "+trainer.notes": {"deep": [text]}},
    }
    return Job(
        recipe=recipe_from(node, "mine"), profile="gpu", model=text, train_files=(text,), val_files=("v",),
        folder=text, extra={"+trainer.more": text},
    )  # fmt: skip


@pytest.mark.parametrize("text", AWKWARD)
def test_a_whole_job_carries_its_text(text: str) -> None:
    one = job(text)
    values = {
        override.get_key_element().lstrip("+"): plain(override.value())
        for override in OverridesParser.create().parse_overrides(one.arguments())
    }
    wanted = {
        "trainer.note": text, "trainer.more": text, "actor_rollout_ref.model.path": text,
        "trainer.default_local_dir": str(Path(text) / "checkpoints"),
        "data.train_files": [text], "trainer.notes": {"deep": [text]},
    }  # fmt: skip
    config = OmegaConf.create({key: values[key] for key in wanted})
    assert OmegaConf.to_container(config, resolve=True) == wanted
    settings_ = Settings.read(OmegaConf.create({"leanthink": values["leanthink"]}))
    assert settings_.build().reward == one.recipe.reward


ECHO = "import json, sys; print(json.dumps(sys.argv[1:]))"


SHELL = ["it's", "a\nb", "!x", "`id`", "$(id)", "~", "=ls", "*", "a b", '"', "\\", "{a,b}", "\x1b]0;owned\x07"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("text", [*AWKWARD, *SHELL, "a\tb\x85é\u202e\\x41"])
def test_the_printed_command_pastes(shell: str, text: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    one = job(text)
    command = one.command().replace("python -m verl.trainer.main_ppo", f"{sys.executable} -c '{ECHO}'")
    done = subprocess.run([shell, "-c", command], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == one.arguments()


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_no_command_line_carries_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no command line carries"):
        literal(text)


@pytest.mark.parametrize("name", ["ünten", "a'b", "null", "1", "1.5", "a\nb", " a", "", "${x}", "1e5", "<t>", "TRUE"])
def test_a_name_that_hydra_would_change_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="does not travel"):
        literal({name: 1})


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from(list("abE019.-_+/:@$%*?|\\()[]{}=, \t"))))
def test_a_name_travels_or_is_refused(name: str) -> None:
    try:
        written = literal({name: 1})
    except ConfigError:
        return
    assert plain(OverridesParser.create().parse_override(f"key={written}").value()) == {name: 1}
    assert all(isinstance(key, str) for key in OverridesParser.create().parse_override(f"key={written}").value())


@pytest.mark.parametrize("key", ["--config-dir", "-m", "a=1 b", "a b", "", "a'", "+--x", "a\n"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="no key of verl's configuration"):
        overrides({key: 1})
