"""Values in Hydra's override grammar, so that a whole recipe travels on a command line and can be pasted.

Text is text: what looks like a reference, as ``${oc.env:HOME}``, is escaped, so that OmegaConf gives it back as it
stands. A reference that is meant is a `Reference`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from leanthink.core.errors import ConfigError
from leanthink.recipe.keys import check_key

_PLAIN_TEXT: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS: Final = frozenset({"null", "true", "false", "nan", "inf"})
_KEY: Final = re.compile(r"[A-Za-z0-9_./:@+$%*?|\\()\[\]{}=, \t-]+")
_NUMBER: Final = re.compile(
    r"[+-]?(?:(?:\d[\d_]*+(?:\.[\d_]*+)?|\.\d[\d_]*+)(?:[eE][+-]?\d[\d_]*+)?|inf|nan)", re.IGNORECASE
)
_REFERENCE: Final = re.compile(r"(?<!\\)(\\*+)\$\{")
_QUOTE_OR_END: Final = re.compile(r"(?<!\\)(\\*+)('|\Z)")
_UNSENDABLE: Final = re.compile(r"[\x00\ud800-\udfff]")


class Reference(str):
    """A reference to another key of verl's configuration, which OmegaConf resolves: ``${trainer.nnodes}``, say."""


def literal(value: Any) -> str:
    r"""A value as Hydra reads it back, and OmegaConf resolves it.

    Raises:
        ConfigError: text that no command line carries, or a name that Hydra's mappings do not.
        TypeError: a value of a type that Hydra does not know.

    >>> literal({"sum": {"correct": "correct", "by": 1e-6, "tags": ["<think>", True, None]}})
    "{sum:{correct:correct,by:1e-06,tags:['<think>',true,null]}}"
    >>> print(literal("${oc.env:HOME}"), literal(Reference("${data.seed}")))
    '\${oc.env:HOME}' ${data.seed}
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, str):
        if found := _UNSENDABLE.search(value):
            raise ConfigError(f"{value!r:.80} holds {found[0]!a}, which no command line carries; leave it out")
        bare = _PLAIN_TEXT.fullmatch(value) and value.lower() not in _WORDS
        return value if bare else _quoted(escaped(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_key(key)}:{literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(literal(item) for item in value) + "]"
    raise TypeError(f"{value!r} of type {type(value).__name__} has no place in an override")


def escaped(text: str) -> str:
    r"""Text that OmegaConf resolves to this text.

    >>> print(escaped(r"a \${b}"))
    a \\\${b}
    """
    return _REFERENCE.sub(lambda match: match[1] * 2 + r"\${", text)


def keep_text() -> None:
    """Have ``OmegaConf.resolve`` leave a configuration that reads as it resolved, once and again.

    verl resolves its configuration in place and reads it afterwards, which resolves what came out once more: escaped
    text would come back as a reference.
    """
    from omegaconf import Container, ValueNode, _impl
    from omegaconf.errors import InterpolationToMissingValueError

    def resolve_child(config: Any, key: Any) -> None:
        node = config._get_child(key)
        if not node._is_interpolation():
            _impl._resolve(node)
        elif not (isinstance(node, ValueNode) and _is_text(node._value())):
            try:
                found = node._dereference_node()
            except InterpolationToMissingValueError:
                node._set_value("???")
                return
            if isinstance(found, Container):
                _impl._resolve(found)
                if isinstance(node, ValueNode):
                    config[key] = found
                else:
                    node._set_value(found._value())
            else:
                value = found._value()
                node._set_value(escaped(value) if isinstance(value, str) else value)

    _impl._resolve_container_value = resolve_child


def _is_text(value: Any) -> bool:
    """Whether every reference in a value is escaped."""
    return isinstance(value, str) and all(len(found[1]) % 2 for found in _REFERENCE.finditer(value))


def _quoted(text: str) -> str:
    """Single quotes; Hydra unescapes quotes, and the backslashes right before one."""
    return "'" + _QUOTE_OR_END.sub(lambda match: match[1] * 2 + (r"\'" if match[2] else ""), text) + "'"


def _key(key: Any) -> str:
    """A name in a mapping, which Hydra does not quote; what it would read as another thing is refused."""
    word = str(key)
    wrong = not _KEY.fullmatch(word) or word != word.strip() or "${" in word
    if wrong or word.lower() in _WORDS or _NUMBER.fullmatch(word):
        raise ConfigError(
            f"the name {word!r:.80} does not travel on verl's command line; call it by letters, digits, '_' and '-', "
            "beginning with a letter"
        )
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", word)


def overrides(keys: Mapping[str, Any]) -> list[str]:
    """``key=value`` for each key; keys that the schema lacks begin with ``+``.

    Raises:
        ConfigError: what is no key, such as an option of Hydra's program.
    """
    for key in keys:
        check_key(key, "verl's command", trainers=True)
    return [f"{key}={literal(value)}" for key, value in keys.items()]
