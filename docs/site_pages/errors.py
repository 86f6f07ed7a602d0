"""The reference of errors: the classes, where each is raised, and why runs fail; read off the sources."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Final

from leanthink.core import errors as module
from leanthink.runs.failure import KINDS
from leanthink.verify import VerifierError
from site_pages.markdown import Recipes, code, table

PACKAGE: Final = Path(__file__).parents[2] / "src" / "leanthink"
LINKS: Final = ("rewards", "algorithms")
CLASSES: Final = [
    *(cls for cls in vars(module).values() if inspect.isclass(cls) and cls.__module__ == module.__name__),
    VerifierError,
]


def errors(recipes: Recipes, page: str) -> str:
    """The errors and warnings of the library: what each means, what else it is, which rooms raise it."""
    raised: dict[str, set[str]] = {cls.__name__: set() for cls in CLASSES}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):  # X("...") and warnings.warn("...", X)
                named = {one.id for one in (node.func, *node.args) if isinstance(one, ast.Name)}
                for name in named & raised.keys():
                    raised[name].add(_room(path))
    rows = []
    for cls in CLASSES:
        kinds = [base.__name__ for base in cls.__mro__[1:] if base.__module__ == "builtins"]
        kinds = [kind for kind in kinds if kind not in ("Exception", "BaseException", "object")]
        rows.append(
            [f"`{cls.__name__}`", inspect.getdoc(cls) or "", code(kinds[:1]), code(sorted(raised[cls.__name__]))]
        )
    return table(["class", "says that", "is a", "raised in"], rows)


def failures(recipes: Recipes, page: str) -> str:
    """The kinds of failure of a training run, each with its cure."""
    return table(["what has happened", "what to do"], [[kind.name, kind.cure] for kind in KINDS])


def sources() -> list[Path]:
    """Every source file of the package."""
    roots = [PACKAGE, *(PACKAGE / link for link in LINKS)]
    return sorted({path for root in roots for path in root.rglob("*.py")})


def _room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]
