"""Code of one's own that a recipe names: what may be imported, and where it is looked for.

A recipe names code as ``pkg.mod:Name``, and by some of verl's keys. As with ``trust_remote_code`` of transformers, the
command line imports what a *file* names only with ``--trust-code``; what somebody types is theirs. A program that calls
the library runs code of its own anyway, so there everything may be named.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from leanthink.core.errors import TrustError

FOLDERS: Final = "LEANTHINK_CODE_PATH"
"""The variable that tells other processes, verl's workers among them, where the code of a recipe lies."""

SHIPPED: Final = frozenset(
    {
        "leanthink.rewards.redundant_thinking:until_first_mention",
        "leanthink.rewards.thinking_compression:until_answer",
        "leanthink.verl.rollout.reward_model:conciseness",
        "leanthink.testbed.scorer:few_rechecks",
    }
)
"""Functions of leanthink that a recipe may name; any other would be called with a response's text as its arguments."""

_NAME: Final = re.compile(r"(?<![\w.])[\w.]++:[\w.]+")
_KEY: Final = re.compile(
    r"(?:^|[._])(?:trust_remote_code|external_lib|custom|cls|module|function|hook|command|cmd|fqn|executable"
    r"|runtime_env|py_modules|plugins?|sandbox_fusion|config_path|tool_path|tool_config)(?:$|[._])"
    r"|class(?:$|[._])|(?:^|\.)_target_$|^(?:hydra|ray_kwargs)(?:$|\.)|[@/:]"
)
"""Keys that name code, or files of configuration, whatever their value; ``@`` and ``/`` choose Hydra's groups."""

_WORDS: Final = re.compile(
    r"(?:^|\.)(?:adv_estimator|attn_implementation|device|exclude_modules|experiment_name|format|image_key"
    r"|impl_backend|importance_sampling_level|kl_loss_type|kl_penalty|level|load_contents|load_format|logger"
    r"|logprobs_mode|loss_agg_mode|loss_mode|loss_type|lr_scheduler_type|max_off_policy_strategy|method|metric|mode"
    r"|model_engine|optimizer|policy_loss_mode|project_name|prompt_key|quantization|resume_mode|reward_fn_key"
    r"|reweight_method|rollout_is|rollout_rs|rollout_rs_threshold|save_contents|scheduling_policy|strategy"
    r"|target_modules|teacher_key|tool_response_truncate_side|trainer_mode|truncation|type|video_key|vllm_mode"
    r"|warmup_style|\w*dtype|rollout\.name)$"
)
"""Keys whose text is one of verl's own words, or of TRL's, or a name that is only written down."""

_SOURCES: Final = re.compile(r"(?:^|\.)(?:model\.path|model_path|tokenizer_path|hf_config_path|train_files|val_files)$")
"""Keys that name a model or data: verl hands what begins with ``hdfs:`` to a shell."""

_WORD, _SOURCE = re.compile(r"[\w .,+-]*"), re.compile(r"[\w./~+-]*")
_FOLDERS: list[str] = []
_allowed: list[frozenset[str] | None] = [None]  # the innermost block decides; None: whatever is named


@contextmanager
def trusting(allowed: Iterable[str] | None) -> Iterator[None]:
    """Within, only these names of code may be imported; None for all of them."""
    _allowed.append(None if allowed is None else frozenset(allowed))
    try:
        yield
    finally:
        _allowed.pop()


def named_in(texts: Iterable[str]) -> set[str]:
    """The names of code, and of keys, in what somebody has typed; ``KEY.*`` for what a typed mapping holds.

    >>> sorted(named_in(["train", "mine.yaml", "reward=my.rewards:Mine", "data.custom_cls={path: a.py}"]))
    ['data.custom_cls', 'data.custom_cls.*', 'my.rewards:Mine', 'reward']
    """
    names = {name for text in texts for name in _NAME.findall(text)}
    for key, sign, value in (text.partition("=") for text in texts):
        if sign:
            names.add(key := key.lstrip("+~"))
            if value.lstrip().startswith("{") and key != "reward":  # that is the recipe's, not verl's of this name
                names.add(f"{key}.*")
    return names


def check_trusted(name: str, place: str) -> None:
    """Refuse code that a file names and nobody has said to trust.

    Raises:
        TrustError: naming it and the place.
    """
    allowed = _allowed[-1]
    if allowed is None or name in allowed or name in SHIPPED:
        return
    raise TrustError(
        f"{place} names code to run, {name}; a file that names code can do whatever you can: read it, "
        "and give --trust-code if you trust it"
    )


def check_keys_trusted(keys: Mapping[str, Any], place: str) -> None:
    """Refuse keys of a trainer that name code, as ``data.custom_cls.path`` does, and text that may do so.

    Numbers and switches are free, and so is text under keys that take a word of verl's, or name a model or data.

    Raises:
        TrustError: naming key, value and place.
    """
    allowed = _allowed[-1]
    if allowed is None:
        return
    below = tuple(name[:-1] for name in allowed if name.endswith(".*"))
    for key, value in _flat(keys, ""):
        bare = key.lstrip("+~")
        if bare.partition(".")[0] == "leanthink":
            for text in (word for word in [bare, value] if isinstance(word, str) and _NAME.search(word)):
                check_trusted(text, f"{place}: {bare}")
        elif value in (None, False, "") or bare in allowed or bare.startswith(below):
            continue
        elif _KEY.search(bare):
            check_trusted(bare, place)
        elif isinstance(value, str) and not _is_harmless(bare, value):
            raise TrustError(
                f"{place}: {bare} is {value!r:.80}, text that verl may import, run, read or write to; a file that says "
                "so can do whatever you can: read it, and give --trust-code if you trust it"
            )


def _is_harmless(key: str, text: str) -> bool:
    """Whether text under a key of verl's can only choose among what verl has, or name a model or data."""
    if _WORDS.search(key):
        return bool(_WORD.fullmatch(text))
    return bool(_SOURCES.search(key) and _SOURCE.fullmatch(text))


def _flat(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for item in node:
            yield from _flat(item, path)
    else:
        yield path, node


def names_own(node: Any) -> bool:
    """Whether a recipe's node names code that is not leanthink's.

    >>> names_own({"my.rewards:Mine": {}}), names_own({"scale": {"of": "correct"}})
    (True, False)
    """
    if isinstance(node, Mapping):
        return any(names_own(key) or names_own(value) for key, value in node.items())
    if isinstance(node, list | tuple):
        return any(map(names_own, node))
    return isinstance(node, str) and bool(_NAME.fullmatch(node)) and not node.startswith("leanthink.")


def look_in(folder: Path) -> None:
    """Look for code in a folder, too, behind everything that is installed; the folder of a recipe, say."""
    path = str(folder.absolute())
    if path not in _FOLDERS:
        _FOLDERS.append(path)


def folders() -> list[str]:
    """Where code of one's own is looked for, in order: beside the recipe, then in the current folder."""
    given = os.environ.get(FOLDERS, "").split(os.pathsep)
    return list(dict.fromkeys([*_FOLDERS, *filter(None, given), os.getcwd()]))


def import_named(name: str) -> ModuleType:
    """The module of a name; what is not installed is looked for in :func:`folders`, which go to the path's end."""
    top = name.partition(".")[0]
    if top and top not in sys.modules and importlib.util.find_spec(top) is None:
        sys.path += [folder for folder in folders() if folder not in sys.path]
        importlib.invalidate_caches()
    return importlib.import_module(name)
