"""Runs a notebook's cells from the top down, as Jupyter would, without Jupyter."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def code_cells(path: Path) -> list[dict[str, Any]]:
    """The cells of code; lines that are for Jupyter alone (``%``, ``!``) are left out of their ``source``."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        {**cell, "source": "\n".join(line for line in "".join(cell["source"]).splitlines() if line[:1] not in "%!")}
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def run(path: Path) -> list[dict[str, Any]]:
    """What each cell prints, and how many pictures it draws; in this process, in the current folder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    module = type(sys)("__main__")
    told = []
    for cell in code_cells(path):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(cell["source"], f"{path.name}, {cell['id']}", "exec"), module.__dict__)
        told.append({"text": out.getvalue(), "figures": [pyplot.figure(number) for number in pyplot.get_fignums()]})
        pyplot.close("all")
    return told


if __name__ == "__main__":  # python tests/support/notebooks.py FILE: what the cells print and draw, as JSON
    print(json.dumps([{**one, "figures": len(one["figures"])} for one in run(Path(sys.argv[1]))]), file=sys.__stdout__)
