"""A shell script's commands, read and never run: quotes, continued lines, variables and arrays that the script sets.

What is not known without running something stays as it is written, and is named: a variable of the environment, the
output of a command, a value that a branch or a loop sets. Positional arguments count as not given, as where a script is
run bare.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from leanthink.core.errors import DataError
from leanthink.files.sums import LONGEST, value_of

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNED: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_BRACED: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-])(.*)", re.DOTALL)
_BREAKS: Final = ("&&", "||", ";;", "|&", "\n", ";", "|", "&", "(", ")")
_OPENS: Final = frozenset({"if", "for", "while", "until", "case", "select", "{"})
_CLOSES: Final = frozenset({"fi", "done", "esac", "}"})
_SKIPPED: Final = frozenset({"then", "else", "elif", "do", "!", "time", "exec", "nohup"})
_DECLARES: Final = frozenset({"export", "readonly", "declare", "local", "typeset"})
_PLAIN: Final = re.compile(r"[^\s\\'\"$`;|&()<>]+")
_PLAIN_IN_QUOTES: Final = re.compile(r'[^\\"$`]+')
_MOST: Final = 1 << 22
"""Signs to which a script may come, variables written out."""
_EACH: Final = 32
"""Signs that a word, or a piece of one, counts beside its own: what it takes of memory."""
_LONGEST: Final = 1 << 16
"""Signs of a word."""
_DEEPEST: Final = 16
"""Arrays, and defaults of variables, inside of each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word of a command as the program would get it; ``unknown`` names what of it only a run would tell."""

    text: str
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Command:
    """A simple command, and the line on which it begins."""

    line: int
    words: tuple[Word, ...]


@dataclass(kw_only=True)
class Size:
    """What a script has come to so far, and what is read of its words in turn."""

    signs: int = 0

    def count(self, words: Iterable[Word], place: str, line: int) -> None:
        """Refuse a script whose variables blow up."""
        self.signs += sum(len(word.text) + _EACH for word in words)
        if self.signs > _MOST:
            told = f"{_MOST:,} signs, {_EACH} of them for each word"
            raise DataError(f"{place}, line {line}: its variables come to more than {told}; give fewer")


@dataclass(kw_only=True)
class _Known:
    """What the variables hold so far; those in ``unsure`` are set again where nobody knows whether that is run."""

    values: dict[str, list[Word]] = field(default_factory=dict)
    unsure: dict[str, int] = field(default_factory=dict)
    size: Size = field(default_factory=Size)


@dataclass(frozen=True, kw_only=True)
class Script:
    """The commands of a script, and the variables that a branch or a loop may set to something else, with the lines."""

    commands: tuple[Command, ...]
    unsure: Mapping[str, int]


def read_script(text: str, place: str, size: Size | None = None) -> Script:
    r"""The simple commands of a script in their order, those in branches, loops and functions included.

    Args:
        text: the script.
        place: what to call it in an error.
        size: of the script that this one is a word of.

    Raises:
        DataError: a quote or a bracket is never closed, or its variables blow up.

    >>> script = read_script('N=8\nrun -m verl.main \\\n  rollout.n=$N "path=$HOME/x"  # so\n', "a.sh")
    >>> [(word.text, word.unknown) for word in script.commands[-1].words[2:]]
    [('verl.main', ()), ('rollout.n=8', ()), ('path=$HOME/x', ('$HOME',))]
    """
    known = _Known(size=size or Size())
    commands = tuple(_commands(_Reader(text=text.replace("\r\n", "\n"), place=place), known))
    return Script(commands=commands, unsure=known.unsure)


@dataclass(kw_only=True)
class _Reader:
    """Where we are in the text."""

    text: str
    place: str
    at: int = 0
    line: int = 1
    depth: int = 0

    def __post_init__(self) -> None:
        if self.depth > _DEEPEST:
            raise DataError(f"{self.place}, line {self.line}: brackets more than {_DEEPEST} deep; write it flatter")

    def within(self, text: str, line: int) -> _Reader:
        """A reader of what stands in brackets."""
        return _Reader(text=text, place=self.place, line=line, depth=self.depth + 1)

    def starts(self, piece: str) -> bool:
        return self.text.startswith(piece, self.at)

    @property
    def over(self) -> bool:
        return self.at >= len(self.text)

    def take(self, size: int = 1) -> str:
        piece = self.text[self.at : self.at + size]
        self.at += size
        self.line += piece.count("\n")
        return piece

    def until(self, end: str, what: str) -> str:
        """The text up to ``end``, which is taken, too."""
        found, line = self.text.find(end, self.at), self.line
        if found < 0:
            raise DataError(f"{self.place}, line {line}: {what} is never closed; close it with {end}")
        return self.take(found - self.at + len(end))[: -len(end)]

    def nested(self, opens: str, closes: str, what: str) -> str:
        """The text up to the bracket that closes the one before us, which is taken, too; quotes hide brackets."""
        begin, line, depth = self.at, self.line, 1
        while not self.over:
            sign = self.take()
            if sign == "\\":
                self.take()
            elif sign == "'":
                self.until("'", "a quote")
            elif sign == opens:
                depth += 1
            elif sign == closes:
                depth -= 1
                if not depth:
                    return self.text[begin : self.at - 1]
        raise DataError(f"{self.place}, line {line}: {what} is never closed; close it with {closes}")


def _commands(reader: _Reader, known: _Known) -> Iterator[Command]:
    """Each command as it is met; assignments are kept on the way."""
    depth, words, line, heredocs = 0, list[Word](), 0, deque[str]()
    first = True  # whether a keyword or an assignment may stand here
    while True:
        _skip_blanks(reader)
        sign = next((one for one in _BREAKS if reader.starts(one)), "")
        if reader.over or sign:
            if words:
                known.size.count(words, reader.place, line)
                yield Command(line=line, words=tuple(words))
            words, first = [], True
            if reader.over:
                return
            reader.take(len(sign))
            if sign == "\n":
                while heredocs:
                    _skip_heredoc(reader, heredocs.popleft())
        elif _redirected(reader, heredocs):
            continue
        elif first and (assigned := _ASSIGNED.match(reader.text, reader.at)):
            _assign(reader, known, assigned, depth)
        else:
            line = line if words else reader.line
            bare = reader.text[reader.at : reader.at + 8]
            new = list(_word(reader, known))
            word = new[0].text if len(new) == 1 and bare.startswith(new[0].text[:8]) else ""
            if first and not words and word in _OPENS | _CLOSES | _SKIPPED:
                depth += (word in _OPENS) - (word in _CLOSES)
                first = word not in ("for", "case", "select")
            elif first and word in _DECLARES:
                continue
            else:
                words += new
                first = False


def _skip_blanks(reader: _Reader) -> None:
    """Blanks, continued lines and a comment, which ends with its line even if that ends in a backslash."""
    while not reader.over:
        if reader.starts("\\\n"):
            reader.take(2)
        elif reader.text[reader.at] in " \t":
            reader.take()
        elif reader.starts("#"):
            end = reader.text.find("\n", reader.at)
            reader.take((len(reader.text) if end < 0 else end) - reader.at)
        else:
            return


def _redirected(reader: _Reader, heredocs: deque[str]) -> bool:
    """Whether a redirection stands here; it is taken, with where it goes."""
    found = re.compile(r"(?:[0-9]+|&)?(<<<|<<-?|>>|>&|<&|>\||[<>])(?:[ \t]*)").match(reader.text, reader.at)
    if found is None or reader.text.startswith(("<(", ">("), reader.at):
        return False
    reader.take(len(found[0]))
    target = "".join(word.text for word in _word(reader, _Known()))
    if found[1] in ("<<", "<<-"):
        heredocs.append(target)
    return True


def _skip_heredoc(reader: _Reader, end: str) -> None:
    while not reader.over:
        found = reader.text.find("\n", reader.at)
        row = reader.take((len(reader.text) if found < 0 else found + 1) - reader.at)
        if row.strip() == end:
            return


def _assign(reader: _Reader, known: _Known, assigned: re.Match[str], depth: int) -> None:
    """Keep a variable's value, or an array's."""
    line = reader.line
    reader.take(len(assigned[0]))
    if reader.starts("("):
        reader.take()
        inner = reader.within(reader.nested("(", ")", "an array"), line)
        value = [word for command in _commands(inner, known) for word in command.words]
    else:
        value = list(_word(reader, known)) or [Word(text="")]
    name = assigned[1]
    if depth:
        if name in known.values:
            known.unsure.setdefault(name, line)
            return
        value = [Word(text=f"${name}", unknown=(f"${name} (set in a branch, line {line})",))]
    elif assigned[2] and reader.text[reader.at - 1] != ")" and name in known.values:
        value = [_joined([*known.values[name], *value])]
    elif assigned[2]:
        value = [*known.values.get(name, []), *value]
    known.size.count(value if assigned[2] else (), reader.place, line)  # what else is in it, is counted by now
    known.values[name] = value


def _word(reader: _Reader, known: _Known) -> Iterator[Word]:
    """The word that stands here; an array in it gives several, and an empty variable without quotes none."""
    pieces: list[Word] = []
    quoted = False
    if reader.starts("<(") or reader.starts(">("):
        written = reader.take(2) + reader.nested("(", ")", "a command in <(...)") + ")"
        pieces.append(Word(text=written, unknown=(written,)))
    while not reader.over:
        sign = reader.text[reader.at]
        if sign in " \t\n;|&()<>" or reader.starts("\\\n"):
            if not reader.starts("\\\n"):
                break
            reader.take(2)
        elif sign == "\\":
            reader.take()
            pieces.append(Word(text=reader.take()))
        elif sign == "'":
            reader.take()
            pieces.append(Word(text=reader.until("'", "a quote")))
            quoted = True
        elif sign == '"':
            reader.take()
            inner, several = _in_quotes(reader, known)
            if several is not None:
                yield from several
                return
            pieces += inner
            quoted = True
        elif sign in "$`":
            found = [part for word in _expanded(reader, known) for part in _split(word)]
            known.size.count(found, reader.place, reader.line)  # at once: few signs may stand for many
            if not pieces and len(found) != 1:
                yield from found  # an array, or nothing
            else:
                pieces += found
        else:
            plain = _PLAIN.match(reader.text, reader.at)
            pieces.append(Word(text=reader.take(len(plain[0]) if plain else 1)))
    if quoted or any(piece.text for piece in pieces):
        yield _joined(pieces)


def _split(word: Word) -> list[Word]:
    """A variable's value without quotes: a word for each piece between blanks."""
    blanks = not word.unknown and set(word.text) & set(" \t\n")
    return [Word(text=one) for one in word.text.split()] if blanks else [word]


def _in_quotes(reader: _Reader, known: _Known) -> tuple[list[Word], list[Word] | None]:
    """What stands in double quotes; the second is an array's elements, where there is nothing beside it."""
    pieces: list[Word] = []
    line = reader.line
    while not reader.over:
        sign = reader.text[reader.at]
        if sign == '"':
            reader.take()
            return pieces, None
        if sign == "\\" and reader.text[reader.at + 1 : reader.at + 2] in ('"', "\\", "$", "`", "\n"):
            reader.take()
            if (held := reader.take()) != "\n":
                pieces.append(Word(text=held))
        elif sign in "$`":
            array = re.compile(r'\$(?:@|\{[A-Za-z0-9_@]+(?:\[@\])?(?::[0-9]+)?\})"').match(reader.text, reader.at)
            found = _expanded(reader, known)
            known.size.count(found, reader.place, reader.line)
            if not pieces and array is not None and len(found) != 1:
                reader.take()
                return [], found
            pieces += found
        else:
            plain = _PLAIN_IN_QUOTES.match(reader.text, reader.at)
            pieces.append(Word(text=reader.take(len(plain[0]) if plain else 1)))
    raise DataError(f'{reader.place}, line {line}: a quote is never closed; close it with "')


def _joined(pieces: list[Word]) -> Word:
    if sum(len(piece.text) for piece in pieces) > _LONGEST:
        return Word(text="...", unknown=(f"a word of more than {_LONGEST:,} signs",))
    unknown = dict.fromkeys(one for piece in pieces for one in piece.unknown)
    return Word(text="".join(piece.text for piece in pieces), unknown=tuple(unknown))


def _expanded(reader: _Reader, known: _Known) -> list[Word]:
    """What a ``$...`` or backquotes stand for; as written where only a run would tell."""
    begin = reader.at
    if reader.take() == "`":
        reader.until("`", "a command in backquotes")
    elif reader.starts("(("):
        reader.take(2)
        inner = reader.nested("(", ")", "a sum")
        if reader.starts(")"):
            reader.take()
        held = {name: known.values[name] for name in NAME.findall(inner[: LONGEST + 1]) if name in known.values}
        known.size.count(chain(*held.values()), reader.place, reader.line)
        texts = {name: "".join(word.text for word in words) for name, words in held.items()}
        if (value := value_of(inner, texts)) is not None:
            return [Word(text=str(value))]
    elif reader.starts("("):
        reader.take()
        reader.nested("(", ")", "a command in $(...)")
    elif reader.starts("{"):
        reader.take()
        return _braced(reader.within(reader.nested("{", "}", "a variable in ${...}"), reader.line), known)
    elif (name := NAME.match(reader.text, reader.at)) is not None:
        reader.take(len(name[0]))
        return _value(name[0], known)
    elif not reader.over and reader.text[reader.at] in "@*#?$!-0123456789":
        return _value(reader.take(), known)
    elif reader.starts("'"):
        reader.take()
        reader.until("'", "a quote")
    else:
        return [Word(text="$")]
    written = reader.text[begin : reader.at]
    return [Word(text=written, unknown=(written,))]


def _value(name: str, known: _Known) -> list[Word]:
    if name in "@*#":  # no argument is given
        return [Word(text="0")] if name == "#" else []
    return known.values.get(name, [Word(text=f"${name}", unknown=(f"${name}",))])


def _braced(reader: _Reader, known: _Known) -> list[Word]:
    """``${name}``, ``${name:-default}``, ``${name[@]}``; others are left as they are."""
    inner = reader.text
    written = Word(text=f"${{{inner}}}", unknown=(f"${{{inner}}}",))
    found = _BRACED.fullmatch(inner)
    if found is None:
        return [written]
    name, rest = found[1], found[2]
    if not rest or rest in ("[@]", "[*]"):
        value = _value(name, known)
        return [written] if any(word.unknown for word in value) and name not in known.values else value
    if name in "@*" and re.fullmatch(r":[0-9]+", rest):
        return []
    default = re.fullmatch(r":?[-=](.*)", rest, re.DOTALL)
    if default is None:
        return [written]
    if name in known.values and known.values[name] != [Word(text="")]:
        return known.values[name]
    text = default[1].removeprefix('"').removesuffix('"')
    return _in_quotes(reader.within(f'{text}"', reader.line), known)[0] or [Word(text="")]
