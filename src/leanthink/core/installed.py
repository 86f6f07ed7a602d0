"""Which versions of other packages are installed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable


def version_of(package: str) -> str | None:
    """The installed version of a package; None without one."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    return {name: version for name in packages if (version := version_of(name)) is not None}
