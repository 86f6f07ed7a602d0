"""A shell's arithmetic, ``$((...))``: whole numbers, variables, + - * / % and brackets; nothing is run."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Final

LONGEST: Final = 1000
"""Signs of a sum that is read."""
_LARGEST: Final = 2**63
_SIGNS: Final[Mapping[type[ast.operator], Callable[[int, int], int]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def value_of(text: str, variables: Mapping[str, str]) -> int | None:
    """The value; None where it is not known, or made of anything else.

    >>> value_of("1024 * ($n + 2)", {"n": "6"}), value_of("-7 / 2", {}), value_of("RANDOM", {}), value_of("1 / 0", {})
    (8192, -3, None, None)
    """
    if len(text) > LONGEST:
        return None
    try:
        return _of(
            ast.parse(text.replace("${", "(").replace("}", ")").replace("$", "").strip(), mode="eval").body, variables
        )
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _of(node: ast.expr, variables: Mapping[str, str]) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        value = node.value
    elif isinstance(node, ast.Name):
        value = int(variables.get(node.id, "unknown"))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = -_of(node.operand, variables)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Mod):
        left, right = _of(node.left, variables), _of(node.right, variables)
        whole = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)  # towards 0, as bash has it
        value = whole if isinstance(node.op, ast.Div) else left - whole * right
    elif isinstance(node, ast.BinOp) and type(node.op) in _SIGNS:
        value = _SIGNS[type(node.op)](_of(node.left, variables), _of(node.right, variables))
    else:
        raise ValueError(f"{ast.unparse(node)} is no sum")
    if abs(value) >= _LARGEST:
        raise ValueError(f"{value} is more than a shell holds")
    return value
