r"""How fast the verifier is against math-verify alone, on one core, and whether both say the same.

    python benchmarks/verify.py [FILE]

FILE is JSONL with `gold` and `response`; without it, responses are made up. All figures of a run are taken in turn, in
the same process; speeds are per second of processor time (workers included), so other load does not count. Three sets:
all responses; the distinct ones; one response for each distinct pair of gold and extracted answer, which leaves nothing
to remember.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from leanthink.verify import Verdict, Verifier, extract_answer, shortcuts
from leanthink.verify.extract import TAIL

Pairs = Sequence[tuple[str, str]]
ROUNDS = 5
FIRST = ("x^2", r"\boxed{x^3}")  # starts a worker


def main() -> int:
    """Print the report; 1 when a verdict differs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file", nargs="?", type=Path)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    args = options.parse_args()
    logging.disable(logging.CRITICAL)  # math-verify warns of missing timeouts
    pairs = read(args.file) if args.file else made_up(random.Random(0))
    print(f"{args.file or 'made-up responses'}: {len(pairs)}, of {len({gold for gold, _ in pairs})} gold answers")
    differ = speed(pairs, args.rounds)
    long_responses(args.rounds)
    scaling(args.rounds)
    return int(differ > 0)


def read(path: Path) -> Pairs:
    """The pairs of a file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(str(row["gold"]), str(row["response"])) for row in rows]


def made_up(random: random.Random, prompts: int = 40, samples: int = 10) -> Pairs:
    """Groups of responses as a model writes them: mostly numbers, some fractions and formulas, a third wrong."""
    return [
        (gold, _reasoning(random) + rf"Therefore, the answer is \(\boxed{{{_spelt(random, answer)}}}\).")
        for gold, wrong in (_problem(random) for _ in range(prompts))
        for answer in (gold if random.random() < 0.66 else random.choice(wrong) for _ in range(samples))
    ]


def _problem(random: random.Random) -> tuple[str, list[str]]:
    one, two = random.randint(2, 60), random.randint(2, 12)
    kind = random.random()
    if kind < 0.6:
        return str(one * two), [str(one * two + 1), str(one + two), rf"\frac{{{one}}}{{{two}}}"]
    if kind < 0.85:
        return rf"\frac{{{one}}}{{{2 * two + 1}}}", [rf"\frac{{{one + 1}}}{{{2 * two + 1}}}", f"{one / 4:.2f}"]
    if kind < 0.95:
        return rf"{one}\sqrt{{{two}}}", [rf"{one + 1}\sqrt{{{two}}}", rf"\sqrt{{{one * two}}}"]
    return rf"\left( {one}, \frac{{\pi}}{{{two}}} \right)", [rf"({one + 1}, \frac{{\pi}}{{{two}}})"]


def _spelt(random: random.Random, answer: str) -> str:
    kind = random.random()
    if kind < 0.1:
        return answer.replace(r"\frac", r"\dfrac")
    if kind < 0.15:
        return answer.replace(r"\left( ", "(").replace(r" \right)", ")")
    return answer


def _reasoning(random: random.Random) -> str:
    lines = []
    for number in range(random.randint(4, 12)):
        one, two = random.randint(2, 99), random.randint(2, 99)
        lines.append(
            f"Step {number + 1}: we multiply the two quantities to find how many there are in all.\n\n"
            rf"\[{one} \cdot {two} = {one * two}\]" + "\n"
        )
    return "\n".join(lines)


def speed(pairs: Pairs, rounds: int) -> int:
    """The three sets; returns the number of verdicts that differ."""
    answers = {(gold, extract_answer(response)): (gold, response) for gold, response in pairs}
    sets = {
        "all responses": pairs,
        "distinct responses": list(dict.fromkeys(pairs)),
        "distinct pairs": [*answers.values()],
    }
    differ = 0
    row = "{:20} {:>6} {:>15} {:>13} {:>7}   {}".format
    print("\n" + row("one core, per second", "n", "math-verify", "leanthink", "ratio", "equal verdicts"))
    options = {"workers": 1, "deadline": 60.0, "cache_size": 0}  # nothing is remembered from round to round
    with Verifier(**options) as ours, Verifier(**options, shortcuts=False) as judge:  # type: ignore[arg-type]
        for name, chosen in sets.items():
            theirs = math_verify(chosen)
            judgements = ours.check_many(chosen)
            differ += (wrong := sum(one.verdict is not two for one, two in zip(judgements, theirs, strict=True)))
            judge.check_many(chosen)
            times: dict[str, list[float]] = {"theirs": [], "ours": [], "judge": []}
            for _ in range(rounds):
                times["theirs"].append(processor_time(lambda chosen=chosen: math_verify(chosen)))
                shortcuts._read.cache_clear()  # every round reads its answers anew
                times["ours"].append(processor_time(lambda chosen=chosen: ours.check_many(chosen), ours))
                times["judge"].append(processor_time(lambda chosen=chosen: judge.check_many(chosen), judge))
            base, mine, plain = (len(chosen) / statistics.median(times[key]) for key in ("theirs", "ours", "judge"))
            agreement = f"{len(chosen) - wrong} of {len(chosen)}"
            print(row(name, len(chosen), f"{base:.0f}", f"{mine:.0f}", f"{mine / base:.1f}", agreement))
            print(row("  without shortcuts", "", "", f"{plain:.0f}", f"{plain / base:.1f}", ""))
        judges = Counter(judgement.judge for judgement in ours.check_many(pairs))
    print("decided by: " + ", ".join(f"{judge} {count}" for judge, count in judges.most_common()))
    return differ


def math_verify(pairs: Pairs) -> list[Verdict]:
    """What math-verify says, at its quickest: no timeouts, gold answers as bare LaTeX."""
    from math_verify import LatexExtractionConfig, parse, verify

    latex = [LatexExtractionConfig()]
    verdicts = []
    for gold, response in pairs:
        expected = parse(f"\\boxed{{{gold}}}", latex, parsing_timeout=None)
        given = parse(response, parsing_timeout=None)
        equal = verify(expected, given, timeout_seconds=None)
        verdicts.append(Verdict.CORRECT if equal else Verdict.WRONG)
    return verdicts


def processor_time(work: Callable[[], object], verifier: Verifier | None = None) -> float:
    """Seconds of processor time of this process and of the verifier's workers."""
    pids = verifier.worker_pids if verifier else ()
    before = time.process_time() + sum(map(_clock, pids))
    work()
    return time.process_time() + sum(map(_clock, pids)) - before


def _clock(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | 2)  # Linux's clock of another process's processor time


def long_responses(rounds: int) -> None:
    """What 100 kB of thought, and 100 kB of answer, cost beside a short response and beside the tail alone."""
    tail = "So the two parts are equal. " * 60 + r"The answer is \boxed{\frac{3}{7}}."
    thought = "Wait, 3 + 4 = 7, so let me check $x = 7$ again. " * 2100
    texts = {
        "short": tail,
        "100 kB of thinking": f"<think>{thought}</think>{tail}",
        "100 kB of answer": thought + tail,
        "  its tail alone": (thought + tail)[-TAIL:],
        "1 MB of answer": thought * 10 + tail,
    }
    print("\nmicroseconds a response")
    with Verifier(workers=1) as verifier:
        for name, text in texts.items():
            pairs = [("3/7", text)] * 200
            seconds = statistics.median(
                processor_time(lambda pairs=pairs: verifier.check_many(pairs)) for _ in range(rounds)
            )
            print(f"{name:24} {len(text) / 1000:>6.0f} kB {seconds / len(pairs) * 1e6:>10.0f}")


def scaling(rounds: int) -> None:
    """Answers a second, by the clock, when all need the judge: one worker, and one for each core."""
    cores = len(os.sched_getaffinity(0))
    pairs = [(rf"{n}\sqrt{{2}} + x", rf"\boxed{{x + \sqrt{{{2 * n * n + n % 2}}}}}") for n in range(2, 202)]
    print(f"\nthe judge alone, answers a second by the clock ({cores} cores, load {os.getloadavg()[0]:.1f})")
    base = 0.0
    for workers in sorted({1, 2, cores}):
        with Verifier(workers=workers, shortcuts=False, cache_size=0, deadline=60) as verifier:
            verifier.check_many(pairs)
            seconds = []
            for _ in range(rounds):
                start = time.perf_counter()
                verifier.check_many(pairs)
                seconds.append(time.perf_counter() - start)
        rate = len(pairs) / min(seconds)
        base = base or rate
        print(f"{workers} workers {rate:>8.0f} {rate / base:>8.2f} times")


if __name__ == "__main__":
    sys.exit(main())
