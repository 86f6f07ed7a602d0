"""``leanthink verify``: one answer, or a file of responses, judged as training judges them."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leanthink.core.errors import DataError
from leanthink.data.records import Record, files_of, number_of, read_records, source_of, text_of
from leanthink.data.rollouts import GOLD, TEXT, gold_of, problem_of
from leanthink.verify import Judgement, Verdict, Verifier, extract_answer, type_of

CHUNK: Final = 1024  # responses judged side by side; results come out in between
SHOWN: Final = 60  # characters of an answer in a line for people


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.usage = "leanthink verify [options] FILE | leanthink verify [options] [--] GOLD ANSWER"
    parser.epilog = "Write -- before a gold answer that begins with a minus sign."
    add = parser.add_argument
    add("given", nargs="+", metavar="FILE | GOLD ANSWER", help="JSONL or parquet with gold and response; or two texts")
    add("--json", action="store_true", help="one JSON object per response on standard output, in the file's order")
    add("--task", default="math", help="math (default), numeric, choice, exact, or your function as pkg.mod:fn")
    add("--tolerance", type=float, default=1e-6, help="of a numeric answer, relative to GOLD (default: 1e-6)")
    add("--problem", metavar="TEXT", help="the problem of one answer: a copy of it is none (a FILE has it in its rows)")
    add("--accept-unevaluated", action="store_true", help="19 * 23 is an answer where 437 is asked for")
    add("--require-marked", action="store_true", help="only a boxed or otherwise marked answer counts")
    add("--require-thinking-end", action="store_true", help="without an end of thinking there is no answer")
    add("--workers", type=int, default=2, help="processes that verify answers (default: 2)")
    add("--deadline", type=float, default=5.0, help="seconds to judge one answer; then it is unknown (default: 5)")


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
        require_thinking_end=args.require_thinking_end,
    ) as verifier:
        if len(args.given) == 2:
            gold, answer = args.given
            _show_one(verifier, gold, answer, args.problem, console, args.json)
        else:
            _show_file(verifier, Path(args.given[0]), console, args.json)
    return 0


def _show_one(verifier: Verifier, gold: str, answer: str, problem: str | None, console: Console, as_json: bool) -> None:
    """A bare answer counts as marked; a whole response is searched as one."""
    judgement = (verifier.check if extract_answer(answer) else verifier.check_answer)(gold, answer, problem=problem)
    if as_json:
        console.file.write(json_line(judgement, gold) + "\n")
        return
    table = Table(show_header=False)
    for name, value in json.loads(json_line(judgement, gold)).items():
        table.add_row(name, Text(f"{value:.6f}" if name == "seconds" else _printable(value, None)))
    console.print(table)


def _show_file(verifier: Verifier, path: Path, console: Console, as_json: bool) -> None:
    records = [record for file in files_of(path) for record in read_records(file)]
    gold, text = source_of(records, GOLD), source_of(records, TEXT)
    if gold is None or text is None:
        missing = "gold" if gold is None else "response"
        raise DataError(f"{records[0].place}: no {missing!r}; give 'gold' and 'response' in every row")
    assert isinstance(gold, str) and isinstance(text, str)
    start = time.perf_counter()
    judgements: list[Judgement] = []
    for record, judgement in _judged(verifier, records, gold, text):
        judgements.append(judgement)
        if as_json:
            console.file.write(json_line(judgement, gold_of(record, gold)) + "\n")
        else:
            console.print(_line(record, judgement), markup=False, highlight=False, soft_wrap=True)
    if not as_json:
        console.print(_summary(judgements, time.perf_counter() - start))


def _judged(verifier: Verifier, records: Sequence[Record], gold: str, text: str) -> Iterator[tuple[Record, Judgement]]:
    rest = iter(records)
    while chunk := list(islice(rest, CHUNK)):
        pairs = [(gold_of(record, gold), text_of(record, text)) for record in chunk]
        cut = [_was_cut(record) for record in chunk]
        problems = [problem_of(record) for record in chunk]
        yield from zip(chunk, verifier.check_many(pairs, truncated=cut, problems=problems), strict=True)


def _was_cut(record: Record) -> bool:
    """By the field ``truncated``, else by a ``finish_reason`` of "length"."""
    if record.has("truncated"):
        return number_of(record, "truncated", "0 or 1") == 1
    return record.fields.get("finish_reason") == "length"


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
            "gold_type": type_of(extract_answer(gold) or gold),
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
