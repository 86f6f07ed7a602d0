"""``leanthink verify``: one answer, or a file of responses, judged as training judges them."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leanthink.commands import reading
from leanthink.core.errors import DataError
from leanthink.data.fields import Fields, gold_of, of_source, shown_names, truncated_of
from leanthink.data.golds import audit
from leanthink.data.records import Record, read_below, text_of
from leanthink.data.responses import one_by_one
from leanthink.data.rollouts import judged, tag_notices
from leanthink.verify import Judgement, Verdict, Verifier, type_of
from leanthink.verify.extract import gold_answer, opening_of

CHUNK: Final = 1024  # responses judged side by side; results come out in between
BARE_WORDS: Final = 8
"""The most words that a bare answer on the command line has."""
SHOWN: Final = 60  # characters of an answer in a line for people


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.usage = "leanthink verify [options] FILE | leanthink verify [options] [--] GOLD ANSWER"
    parser.epilog = "Write -- before a gold answer that begins with a minus sign."
    add = parser.add_argument
    add(
        "given",
        nargs="+",
        metavar="FILE | GOLD ANSWER",
        help="JSONL, parquet or CSV with gold and response; or two texts",
    )
    add("--json", action="store_true", help="one JSON object per response on standard output, in the file's order")
    add("--task", default="math", help="math (default), numeric, choice, exact, or your function as pkg.mod:fn")
    add("--tolerance", type=float, default=1e-6, help="of a numeric answer, relative to GOLD (default: 1e-6)")
    add("--problem", metavar="TEXT", help="the problem of one answer: a copy of it is none (a FILE has it in its rows)")
    add("--accept-unevaluated", action="store_true", help="19 * 23 is an answer where 437 is asked for")
    add("--require-marked", action="store_true", help="only a boxed or otherwise marked answer counts")
    add("--golds", action="store_true", help="list the golds of FILE that no response can match, each with the reason")
    add("--workers", type=int, default=2, help="processes that verify answers (default: 2)")
    add("--deadline", type=float, default=5.0, help="seconds to judge one answer; then it is unknown (default: 5)")
    reading.add_arguments(parser, ("gold", "response", "prompt", "truncated"))


def run(args: argparse.Namespace, console: Console) -> int:
    """Print a line, or an object, per response."""
    if len(args.given) > 2:
        raise DataError(f"{len(args.given)} texts; give a FILE, or GOLD and ANSWER, each in quotes")
    with Verifier(
        workers=args.workers,
        deadline=args.deadline,
        task=args.task,
        relative_tolerance=args.tolerance,
        unevaluated="accept" if args.accept_unevaluated else "wrong",
        require_marked=args.require_marked,
        **reading.verifying(args),
    ) as verifier:
        if len(args.given) == 2:
            gold, answer = args.given
            _show_one(verifier, gold, answer, args.problem, console, args.json)
            return 0
        records, own = of_source(read_below(Path(args.given[0])), args.source), reading.fields_of(args)
        if args.golds:
            return _show_golds(verifier, records, own, console, args.json)
        _show_file(verifier, records, own, console, args.json)
    return 0


def _show_one(verifier: Verifier, gold: str, answer: str, problem: str | None, console: Console, as_json: bool) -> None:
    """Read as the row of a file is; a short text in which nothing is marked is the answer itself."""
    judgement = verifier.check(gold, answer, problem=problem)
    if judgement.extracted is None and answer.strip() and not _is_response(answer, verifier.thinking_end):
        judgement = verifier.check_answer(gold, answer, problem=problem)
    if as_json:
        console.file.write(json_line(judgement, gold) + "\n")
        return
    table = Table(show_header=False)
    for name, value in json.loads(json_line(judgement, gold)).items():
        table.add_row(name, Text(f"{value:.6f}" if name == "seconds" else _printable(value, None)))
    console.print(table)


def _is_response(text: str, thinking_end: str) -> bool:
    """Whether a text is more than an answer: it thinks, or has lines or sentences."""
    opening = opening_of(thinking_end)
    tags = [thinking_end, *([opening] if opening else [])]
    return any(tag in text for tag in tags) or len(text.strip().splitlines()) > 1 or len(text.split()) > BARE_WORDS


def _show_golds(verifier: Verifier, records: Sequence[Record], own: Fields, console: Console, as_json: bool) -> int:
    """The rows whose gold no response can match; 3 where there are any."""
    name = own.find(records, "gold")
    if name is None:
        raise DataError(
            f"{records[0].place}: no gold ({', '.join(own.names('gold'))}); name yours with --gold-field (this row has "
            f"{shown_names(records[0])})"
        )
    bad = audit(records, name, verifier, own.gold_lists)
    for record, gold, reason in bad:
        if as_json:
            console.file.write(json.dumps({"line": record.line, "gold": gold, "reason": reason}) + "\n")
        else:
            line = f"{record.place}: {_printable(gold, SHOWN)!r}: {reason}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not as_json:
        console.print(f"{len(bad)} of {len(records)} golds can be matched by no response", highlight=False)
    return 3 if bad else 0


def _show_file(verifier: Verifier, records: Sequence[Record], own: Fields, console: Console, as_json: bool) -> None:
    records, notices = one_by_one(records, own, verifier.thinking_end)
    gold, text = own.find(records, "gold"), own.find(records, "response")
    if gold is None or text is None:
        missing = " and ".join(
            f"{role} ({', '.join(own.names(role)[:3])})"
            for role, name in (("gold", gold), ("response", text))
            if not name
        )
        raise DataError(
            f"{records[0].place}: no {missing}; give both in every row, or name yours with --gold-field and "
            f"--response-field (this row has: {shown_names(records[0])})"
        )
    cut, _ = truncated_of(records, own)
    start = time.perf_counter()
    judgements: list[Judgement] = []
    for at in range(0, len(records), CHUNK):
        rows = records[at : at + CHUNK]
        for record, judgement in zip(rows, judged(rows, cut[at : at + CHUNK], own, verifier, notices), strict=True):
            judgements.append(judgement)
            if as_json:
                console.file.write(json_line(judgement, gold_of(record, gold, own.gold_lists)) + "\n")
            else:
                console.print(_line(record, judgement), markup=False, highlight=False, soft_wrap=True)
    notices += tag_notices([text_of(record, text) for record in records], verifier.thinking_end)
    if not as_json:
        console.print(_summary(judgements, time.perf_counter() - start))
    shown = Console(stderr=True) if as_json else console
    for notice in dict.fromkeys(notices):
        shown.print(f"note: {notice}", markup=False, highlight=False, soft_wrap=True)


def json_line(judgement: Judgement, gold: str) -> str:
    """A judgement as one JSON object, with the types that were read on both sides."""
    answer = judgement.extracted
    return json.dumps(
        {
            "verdict": str(judgement.verdict),
            "extracted": judgement.extracted,
            "judge": judgement.judge,
            "reason": judgement.reason,
            "seconds": round(judgement.seconds, 6),
            "gold_type": type_of(gold_answer(gold)),
            "answer_type": None if answer is None else type_of(answer),
        }
    )


def _line(record: Record, judgement: Judgement) -> str:
    milliseconds = f"{judgement.seconds * 1000:.2f} ms"
    answer = _printable(judgement.extracted, SHOWN)
    reason = _printable(judgement.reason, SHOWN)
    return f"{record.line:>6} {judgement.verdict:8} {judgement.judge:12} {milliseconds:>11}  {reason:14} {answer}"


def _printable(text: str | None, limit: int | None) -> str:
    """A text on one line, whatever it holds."""
    if text is None:
        return "-"
    shown = " ".join(text.split())
    shown = shown.encode("utf-8", "backslashreplace").decode()
    shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in shown)
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def _summary(judgements: Sequence[Judgement], seconds: float) -> Table:
    """Who decided how many, and what it took."""
    table = Table("judge", *Verdict, "mean ms", title=f"{len(judgements)} responses in {seconds:.2f} s")
    by_judge: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        by_judge.setdefault(judgement.judge, []).append(judgement)
    rows = [*sorted(by_judge.items(), key=lambda item: -len(item[1])), ("all", list(judgements))]
    for judge, group in rows:
        verdicts = Counter(judgement.verdict for judgement in group)
        mean = sum(judgement.seconds for judgement in group) / len(group)
        table.add_row(judge, *(str(verdicts[verdict]) for verdict in Verdict), f"{mean * 1000:.3f}")
    return table
