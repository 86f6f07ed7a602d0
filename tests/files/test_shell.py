"""A shell script is read as bash would expand it, and nothing of it is run."""

from __future__ import annotations

import shutil
import subprocess
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest

from leanthink.core.errors import DataError
from leanthink.files.shell import read_script
from leanthink.files.sums import value_of
from timing import is_within

SAME = {  # what bash prints, one word a line, is what we read of the command `say`
    "continued": "say a \\\n  b \\\n\tc",
    "quotes": r"""say 'a b' "c d" e\ f 'g'"h"i ''""",
    "in quotes": 'N=3; say "$N a ! $N" "n=$N" \'n=$N\' "a\\"b" "a\\nb" "\\$N" "x\\\ny"',
    "comment behind a blank": "say a b # c d\n",
    "sign within a word": "say a#b 'c # d'",
    "a comment ends a continued command": "say a \\\n  # b \\\n\ntrue",
    "variables": "A=1 B=two; say $A ${B} $A$B x${A}y",
    "defaults": 'A=; B=b; say ${NONE_SUCH:-d} ${A:-e} ${B:-f} "${NONE_SUCH:-g h}" ${NONE_SUCH-i}',
    "a default of a variable": 'B=b; say "${NONE_SUCH:-${B}/c}" ${NONE_SUCH:-"$B"}',
    "split": 'A="a  b"; say $A "$A" x $A',
    "empty": 'E=; say a $E b "$E" c',
    "sums": "N=1024; say $((N * 4)) $(( $N + 8 )) $((7 / 2)) $((7 % 4)) $((2 * (3 + 4)))",
    "sums below 0": "say $((-7 / 2)) $((7 / -2)) $((-7 % 4)) $((7 % -4))",
    "arrays": 'A=(a "b c"\n  # no\n  d); A+=(e); say "${A[@]}" x "${A[@]}"',
    "nothing given": 'say a $@ "$@" "${@:1}" $# b',
    "redirected": "say a 2>&1 b > /dev/stdout c",
    "piped": "say a b | cat",
    "one behind the other": "true && say a b || say c; true",
    "added to": "A=x; A+=y; say $A",
    "exported": "export A=1; readonly B=2; say $A $B",
    "lists for Hydra": """say logger=['console','wandb'] files="['a b', 'c']" x='["a"]' {a:1}""",
    "a heredoc": "cat <<END > /dev/null\nsay no $N 'it\nEND\nsay yes",
    "a loop that is not run": 'N=1\nwhile [ "$#" -gt 0 ]; do N=$2; shift; done\nsay $N',
    "windows": "say a \\\r\n  b\r\n",
}


@pytest.mark.parametrize("name", SAME)
def test_words_are_those_of_bash(name: str, tmp_path: Path) -> None:
    text = SAME[name]
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here to compare with")
    script = tmp_path / "a.sh"
    shown = 'say() { printf "[%s]\\n" "$@"; }\n' + text.replace("\r\n", "\n") + "\n"
    script.write_text(shown, encoding="utf-8")
    done = subprocess.run(
        [bash, str(script)], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, check=True
    )
    read = next(one for one in read_script(text, "a.sh").commands if one.words[0].text == "say")
    assert "\n".join(f"[{word.text}]" for word in read.words[1:]) + "\n" == done.stdout
    assert not any(word.unknown for word in read.words)


@pytest.mark.parametrize(
    ("text", "word", "unknown"),
    [
        ("say $HOME/x", "$HOME/x", "$HOME"),
        ("say $(date +%s)", "$(date +%s)", "$(date +%s)"),
        ("say `date`", "`date`", "`date`"),
        ("A=$(date); say a$A", "a$(date)", "$(date)"),
        ("A=b.c; say ${A%.*}", "${A%.*}", "${A%.*}"),
        ("say $1", "$1", "$1"),
        ("if x; then A=1; fi; say $A", "$A", "$A (set in a branch, line 1)"),
        ("for n in 1 2; do say $n; done", "$n", "$n"),
        ("say $((RANDOM + 1))", "$((RANDOM + 1))", "$((RANDOM + 1))"),
        ("say <(date)", "<(date)", "<(date)"),
        ("say $'a'", "$'a'", "$'a'"),
    ],
)
def test_what_only_a_run_would_tell_is_named(text: str, word: str, unknown: str) -> None:
    read = next(one for one in read_script(text, "a.sh").commands if one.words[0].text == "say")
    assert (read.words[1].text, read.words[1].unknown) == (word, (unknown,))


def test_a_value_that_a_branch_sets_again_is_named() -> None:
    text = 'N=1\nwhile [ "$#" -gt 0 ]; do\n  case $1 in\n    -n) N=$2; shift ;;\n  esac\ndone\nsay $N\n'
    script = read_script(text, "a.sh")
    assert script.commands[-1].words[1].text == "1" and script.unsure == {"N": 4}
    assert script.commands[-1].line == 7


def test_nothing_is_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    read_script(f"touch {made}; A=$(touch {made}); say `touch {made}` <(touch {made}) $((x=$(touch {made})))\n", "a.sh")
    assert not made.exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("say 'a\nb", "a.sh, line 1: a quote is never closed; close it with '"),
        ('\nsay "a', 'a.sh, line 2: a quote is never closed; close it with "'),
        ("A=(a b", r"a.sh, line 1: an array is never closed; close it with )"),
        ("say $(date", r"a.sh, line 1: a command in $(...) is never closed"),
        ("say ${A", r"a.sh, line 1: a variable in ${...} is never closed"),
        ("A=(" * 30 + ")" * 30, "brackets more than 16 deep"),
        ("A=(x)\n" + 'A=("${A[@]}" "${A[@]}")\n' * 40, "its variables come to more than 4,194,304 signs"),
    ],
)
def test_a_broken_script_is_one_paragraph_with_its_line(text: str, told: str) -> None:
    with pytest.raises(DataError) as caught:
        read_script(text, "a.sh")
    assert told in str(caught.value)


HARD = [
    "a=" + "b" * 200_000, "'" * 100_000, '""' * 100_000, "\\a" * 100_000, "$" * 100_000, "(" * 100_000, "${" * 50_000,
    "$((1" + "+1" * 100_000 + "))", "x=1;y=$((x+1));" * 10_000, '"${a[@]}"' * 20_000, "a=$a$a\n" * 5000,
    "a=x\n" + "a=$a$a\n" * 60, "${a:-" * 5000 + "}" * 5000, "<" * 50_000, "\\\n" * 100_000, "#" * 200_000,
    "".join(f"v{n}=$((v+1))\n" for n in range(10_000)), "case a in x) y=1;; esac\n" * 5000,
    "x " + "<<a " * 340_000 + "\n",
]  # fmt: skip


@pytest.mark.parametrize("text", HARD, ids=[text[:12] for text in HARD])
def test_any_script_is_read_in_linear_time(text: str) -> None:
    def read() -> None:
        with suppress(DataError):
            read_script(text, "a.sh")

    assert is_within(5, read)


FEW_SIGNS = {  # a script that stands for gigabytes
    "words": "a='" + "x" * 60_000 + "'\nrun" + " k$a" * 60_000,
    "words in quotes": "a='" + "x" * 60_000 + "'\nrun" + ' "k${a}"' * 40_000,
    "one word of pieces": "a='" + "x " * 30_000 + "'\nrun k=z" + "${a}" * 1500,
    "pieces": "a='" + "x " * 30_000 + "'\nrun " + "${a} " * 1500,
    "an array": "a=(" + "x " * 30_000 + ")\nrun " + '"${a[@]}" ' * 5000,
    "defaults": "a='" + "x" * 60_000 + "'\nrun" + " ${b:-$a}" * 20_000,
    "sums": "a=(" + "1 " * 30_000 + ")\n" + "x=$((a))\n" * 20_000,
    "added to": "a='" + "x" * 60_000 + "'\n" + "a+=x\n" * 20_000,
    "values": "a='" + "x" * 60_000 + "'\n" + "b=z$a\n" * 20_000,
}


@pytest.mark.parametrize("name", FEW_SIGNS)
def test_a_script_that_blows_up_is_refused_before_it_has(name: str) -> None:
    def read() -> None:
        with pytest.raises(DataError, match=r"its variables come to more than 4,194,304 signs"):
            read_script(FEW_SIGNS[name], "a.sh")

    assert is_within(5, read)
    tracemalloc.start()
    try:
        read()
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_values_that_grow_line_by_line_are_read() -> None:
    text = "A=x\n" + "".join(f'A="$A data.key_of_a_script_{n}={n}"\n' for n in range(350)) + "say $A\n"
    assert len(read_script(text, "a.sh").commands[-1].words) == 352


def test_a_variable_does_not_blow_up() -> None:
    script = read_script("a=" + "x" * 1000 + "\n" + "a=$a$a\n" * 20 + "say $a\n", "a.sh")
    assert script.commands[-1].words[1].unknown == ("a word of more than 65,536 signs",)


@pytest.mark.parametrize("text", ["", "1 +", "9 ** 9 ** 9", "9223372036854775807 + 1", "n", "__import__('os')", "1.5"])
def test_what_is_no_sum_has_no_value(text: str) -> None:
    assert value_of(text, {"n": "x"}) is None
