"""Reads the shell text of a RUN as simple commands, as far as it is that simple: nothing of it is ever run.

Variables are replaced by what the Dockerfile has set. What only a shell could compute, as `$(…)`, is marked; loops,
conditions and subshells are refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_RESERVED = frozenset(
    """
    if then else elif fi for while until do done case esac select function { } ! [[ coproc
    """.split()  # noqa: SIM905
)
_OPERATORS = ("&&", "||", ";;", "|&", ";", "|", "&", "\n")
_REDIRECTIONS = ("<<<", "<<-", "<<", "<>", ">>", ">&", "<&", ">|", "&>>", "&>", ">", "<")
_MOST_REPLACED = 1024 * 1024
_SILENT = ("/dev/null", "&1", "&2", "1", "2")


class UnreadableError(ValueError):
    """A text that is more than simple commands; the message says what of it."""


@dataclass(frozen=True)
class Word:
    """A word of a command.

    Args:
        text: without its quotes, its variables replaced.
        computed: whether only a shell could tell all of it.
    """

    text: str
    computed: bool = False


@dataclass
class Command:
    """A simple command.

    Args:
        words: its name and its arguments.
        assignments: variables that it alone is given, or, where there are no words, the shell.
        writes: files that its output goes to.
        reads: whether its input comes from somewhere else than nothing.
    """

    words: list[Word] = field(default_factory=list)
    assignments: dict[str, Word] = field(default_factory=dict)
    writes: list[Word] = field(default_factory=list)
    reads: bool = False

    def __bool__(self) -> bool:
        return bool(self.words or self.assignments or self.writes)


def read(text: str, variables: Mapping[str, str]) -> list[Command]:
    """Return the commands of a text, whatever joins them (`&&`, `;`, a pipe, a line's end).

    Args:
        text: of the shell.
        variables: what it may use.

    Raises:
        UnreadableError: it is more than simple commands.
    """
    commands = [Command()]
    known = dict(variables)
    scanner = _Scanner(text, known)
    redirection = ""
    while (found := scanner.next()) is not None:
        current = commands[-1]
        if isinstance(found, str):
            if redirection:
                raise UnreadableError(f"nothing follows {redirection!r}")
            if found in _OPERATORS:
                known.update({} if current.words else {name: word.text for name, word in current.assignments.items()})
                commands.append(Command(reads=found.startswith("|") and found != "||"))
            else:
                redirection = found
        elif redirection:
            if redirection.startswith("<"):
                current.reads = True
            elif found.text not in _SILENT:
                current.writes.append(found)
            redirection = ""
        elif not current.words and (match := _ASSIGNMENT.match(found.text)):
            name, _, value = found.text.partition("=")
            current.assignments[name.removesuffix("+")] = Word(value, found.computed or match[0].endswith("+="))
        elif not current.words and found.text in _RESERVED:
            raise UnreadableError(f"{found.text!r} begins more than a simple command")
        else:
            current.words.append(found)
    if redirection:
        raise UnreadableError(f"nothing follows {redirection!r}")
    return [command for command in commands if command]


class _Scanner:
    """Cuts a text into words, operators and redirections."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text = text
        self._place = 0
        self._variables = variables
        self._split: list[Word] = []
        self._room = _MOST_REPLACED

    def next(self) -> Word | str | None:
        """Return the next word, or operator or redirection as text; None at the end."""
        if self._split:
            return self._split.pop(0)
        text = self._text
        while self._place < len(text):
            if text.startswith("\\\n", self._place):
                self._place += 2
            elif text[self._place] in " \t\r":
                self._place += 1
            elif text[self._place] == "#":
                end = text.find("\n", self._place)
                self._place = len(text) if end < 0 else end
            else:
                break
        else:
            return None
        # A descriptor before a redirection.
        match = re.compile(r"[0-9]*(?=[<>])").match(text, self._place)
        start = match.end() if match else self._place
        for sign in _REDIRECTIONS:
            if text.startswith(sign, start):
                self._place = start + len(sign)
                return sign
        for sign in _OPERATORS:
            if text.startswith(sign, self._place):
                self._place += len(sign)
                return sign
        if text[self._place] in "()":
            raise UnreadableError("it has a subshell or a function")
        self._split = self._words()
        return self.next()

    def _words(self) -> list[Word]:
        """Read a word; it is several, or none, where a variable says so."""
        text, words, quoted = self._text, [Word("")], False
        while self._place < len(text) and text[self._place] not in " \t\r\n;&|<>()":
            sign = text[self._place]
            quoted = quoted or sign in "'\""
            part, computed = self._part()
            pieces = part.split() if sign == "$" and not computed else [part]
            if part[:1].isspace() and sign == "$":
                pieces.insert(0, "")
            for number, piece in enumerate(pieces):
                if number:
                    words.append(Word(piece))
                else:
                    words[-1] = Word(words[-1].text + piece, words[-1].computed or computed)
        return [word for word in words if word.text or quoted]

    def _part(self) -> tuple[str, bool]:
        text, sign = self._text, self._text[self._place]
        if sign == "'":
            start, self._place = self._place + 1, self._after("'", self._place + 1)
            return text[start : self._place - 1], False
        if sign == '"':
            return self._quoted()
        if sign == "\\":
            escaped = text[self._place + 1 : self._place + 2]
            self._place += 2
            return "" if escaped == "\n" else escaped, False
        if sign in "$`":
            return self._expanded()
        self._place += 1
        return sign, False

    def _quoted(self) -> tuple[str, bool]:
        text, computed = self._text, False
        parts: list[str] = []
        self._place += 1
        while self._place < len(text):
            sign = text[self._place]
            if sign == '"':
                self._place += 1
                return "".join(parts), computed
            if sign == "\\" and text[self._place + 1 : self._place + 2] in ("$", "`", '"', "\\", "\n"):
                parts.append(text[self._place + 1].replace("\n", ""))
                self._place += 2
            elif sign in "$`":
                part, unknown = self._expanded()
                parts.append(part)
                computed = computed or unknown
            else:
                parts.append(sign)
                self._place += 1
        raise UnreadableError("a quotation mark is not closed")

    def _expanded(self) -> tuple[str, bool]:
        text, start = self._text, self._place
        if text[start] == "`":
            self._place = self._after("`", start + 1)
            return text[start : self._place], True
        if text.startswith("$(", start):
            self._skip_parentheses()
            return text[start : self._place], True
        if text.startswith("${", start):
            self._place = self._after("}", start + 2)
            name, _, default = text[start + 2 : self._place - 1].partition(":-")
            if not _NAME.fullmatch(name):
                return text[start : self._place], True
            return self._value(name) or default, "$" in default
        if match := _NAME.match(text, start + 1):
            self._place = match.end()
            return self._value(match[0]), False
        self._place += 1
        return "$", False

    def _value(self, name: str) -> str:
        value = self._variables.get(name, "")
        self._room -= len(value)
        if self._room < 0:
            raise UnreadableError(f"its variables have more than {_MOST_REPLACED} characters")
        return value

    def _skip_parentheses(self) -> None:
        depth = 0
        while self._place < len(self._text):
            sign = self._text[self._place]
            if sign == "'":
                self._place = self._after("'", self._place + 1)
                continue
            depth += {"(": 1, ")": -1}.get(sign, 0)
            self._place += 1
            if sign == ")" and depth == 0:
                return
        raise UnreadableError("a parenthesis is not closed")

    def _after(self, sign: str, start: int) -> int:
        end = self._text.find(sign, start)
        if end < 0:
            raise UnreadableError(f"{sign!r} is not closed")
        return end + 1
