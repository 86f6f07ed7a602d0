r"""The judge, and the program a worker process runs.

A worker runs this *file*: it imports the standard library, math-verify and sympy, never `leanthink`, so a worker is
small and quick to start whatever the package's top level imports, and nothing depends on what `__main__` is.

What is changed in a text before math-verify reads it (`normalise`), and why:

- full-width characters (`５`, `％`) become ASCII: the grammar knows ASCII digits only;
- `\%`, `%`, "percent" at the end are read apart: under antlr 4.9.3 no boxed percentage parses. The value then equals,
  by math-verify's own rule, both the bare number and the fraction (50% = 50 = 0.5). Other percent signs are dropped;
- `10\,000` loses its thin space: it would be read as 10 · 000 = 0;
- a full stop at the end goes: `5.` does not parse.

Reasons: `equal`; `not_equal`, `not_equal_text` (the gold answer is no mathematics, so both were compared as text: where
there are many, look at the data), `unparsable` (the answer is no mathematics, or parsing it fails), `unmarked` (an
unmarked text in which math-verify finds nothing); `gold_unparsable` (not even text), `judge_error`, `memory`.
math-verify swallows some errors of sympy and calls the pair unequal; the errors it lets out are `judge_error`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PERCENT_END = re.compile(r"\s*(?:\\?%|\\text\s*\{\s*percent\s*\}|(?<=[\d\s}])percent)\s*\Z")
_THIN_SPACE = re.compile(r"(?<=\d)\\[,;:!]\s*(?=\d{3}(?!\d))")


def normalise(text: str) -> tuple[str, bool]:
    r"""The text as the grammar can read it, and whether it was a percentage.

    >>> normalise(r"50\%")
    ('50', True)
    >>> normalise(r"10\,000.")
    ('10000', False)
    >>> normalise(r"10\%, 20\%, 70")
    ('10, 20, 70', False)
    """
    text = text.translate(_FULL_WIDTH).strip().removesuffix(".")
    whole, found = _PERCENT_END.subn("", text)
    percents = whole.count("%")
    text = whole.replace("\\%", "").replace("%", "")
    return _THIN_SPACE.sub("", text), bool(found) and not percents


def judge(gold: str, answer: str, form: str) -> tuple[str, str, str | None]:
    r"""Verdict, reason and the answer as text, for one gold answer and one extracted answer of some form.

    >>> judge("\\frac{1}{2}", "0.5", "boxed")
    ('correct', 'equal', '0.5')
    >>> judge("3", "{3", "boxed")
    ('wrong', 'unparsable', '{3')
    >>> judge("18", "She makes 18 dollars a day.", "search")
    ('correct', 'equal', '18')
    """
    from math_verify import verify

    golds, gold_error = _parsed(_parse_maths, gold)
    answers, answer_error = _parsed(_PARSERS[form], answer)
    if form == "search":
        answer = next((found for found in reversed(answers) if isinstance(found, str)), "")
    failure = ""
    for expected in golds:
        for given in answers:
            try:
                if verify(expected, given, timeout_seconds=None, raise_on_error=True):
                    return "correct", "equal", answer
            except MemoryError:
                raise
            except Exception as error:
                failure = _told(error)
    if not golds:
        return "unknown", f"gold_unparsable: {gold[:100]!a}{gold_error}", answer
    if form == "search" and not answers and not answer_error:
        return "wrong", "unmarked", None
    if all(isinstance(expected, str) for expected in golds):
        return "wrong", "not_equal_text", answer
    if all(isinstance(given, str) for given in answers):
        return "wrong", f"unparsable{answer_error}", answer
    if failure:
        return "unknown", f"judge_error: {failure}", answer
    return "wrong", "not_equal", answer


def _parsed(parser: Callable[[str], list[Any]], text: str) -> tuple[list[Any], str]:
    """What the parser finds, and the error that stopped it, ready to stand behind a reason."""
    try:
        return parser(text), ""
    except MemoryError:
        raise
    except Exception as error:
        return [], f": {_told(error)}"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _parse_maths(text: str) -> list[Any]:
    """Bare mathematics: parsed, then as text. Its numbers are not picked out of what does not parse."""
    from latex2sympy2_extended.latex2sympy2 import convert_to_pct
    from math_verify import LatexExtractionConfig, parse
    from sympy import Number

    text, percent = normalise(text)
    boxed = f"\\boxed{{{text}}}"
    parsed: list[Any] = parse(boxed, [LatexExtractionConfig()], parsing_timeout=None, raise_on_error=True)
    if percent:
        parsed = [convert_to_pct(value) if isinstance(value, Number) else value for value in parsed]
    return parsed


def _parse_search(text: str) -> list[Any]:
    """What math-verify finds in running text."""
    from math_verify import parse

    found: list[Any] = parse(text.translate(_FULL_WIDTH), parsing_timeout=None, raise_on_error=True)
    return found


def _parse_text(text: str) -> list[Any]:
    """What math-verify finds in a marked sentence, once the sentence says so in its words."""
    return _parse_search(f"The final answer is {text}")


_PARSERS = {"boxed": _parse_maths, "text": _parse_text, "search": _parse_search}


def main(descriptor: int, parent: int, memory_mb: int, orphan_seconds: float) -> None:
    """Answer jobs, one JSON line each, until the socket closes or the parent is gone.

    Four things end a worker: its parent's kill, the end of the socket, a watchdog thread that sees the parent gone,
    and, because an integer power can hold the interpreter's lock for hours, the kernel's alarm seconds after the
    deadline. The alarm enforces no deadline: it only clears up what a killed parent left behind.
    """
    import gc
    import logging
    import signal
    import socket
    import threading
    import time
    import warnings

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    threading.Thread(target=watch, daemon=True).start()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    _limit_memory(memory_mb)
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as jobs:

        def send(reply: dict[str, Any]) -> None:
            channel.sendall(json.dumps(reply).encode() + b"\n")

        try:
            sys.path.extend(path for path in json.loads(jobs.readline())["path"] if path not in sys.path)
            judge("\\frac{1}{2}", "0.5", "boxed")  # imports, and builds the grammar's tables
        except ImportError as error:
            send({"failed": f"{type(error).__name__}: {error}"})
            return
        gc.freeze()
        send({"ready": True})
        for line in jobs:
            job = json.loads(line)
            signal.setitimer(signal.ITIMER_REAL, orphan_seconds)
            start = time.perf_counter()
            try:
                verdict, reason, extracted = judge(job["gold"], job["answer"], job["form"])
            except MemoryError:
                verdict, reason, extracted = "unknown", "memory", job["answer"]
            except Exception as error:
                verdict, reason, extracted = "unknown", f"judge_error: {_told(error)}", None
            signal.setitimer(signal.ITIMER_REAL, 0)
            seconds = time.perf_counter() - start
            send({"verdict": verdict, "reason": reason, "extracted": extracted, "seconds": seconds})
            if reason == "memory":
                return


def _limit_memory(memory_mb: int) -> None:
    """Make a runaway expression a MemoryError instead of the machine's end, where the system can."""
    import contextlib
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
