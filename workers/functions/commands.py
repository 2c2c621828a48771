"""What a RUN of a Dockerfile does: what it installs is prepared, what only shapes an image is passed over.

All else is refused: nothing that a Dockerfile says is ever run here.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TypeAlias

from e2b_dockerfile_utils import DockerfileInstruction, chomp_heredoc_content

from workers.functions import packages, shell
from workers.functions.copying import mounts
from workers.functions.packages import AskedError
from workers.functions.shell import Command, UnreadableError, Word
from workers.functions.stage import Stage, own_python

_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_PIP = re.compile(r"pip(3(\.\d+)?)?")
_DEEPEST = 5
_SHOWN = 120
_MOST_PACKAGES = 100
_SHELLS = frozenset({"sh", "bash", "dash", "ash"})
_IMAGE = "it only shapes an image"
# What says or waits, and leaves nothing.
_SILENT = frozenset(
    """
    echo printf true : set test [ ls cat which command pwd sleep id whoami uname env wait umask hash
    """.split()  # noqa: SIM905
)
# What concerns users, rights and caches of an image.
_SHAPING = frozenset(
    """
    adduser addgroup useradd groupadd usermod groupmod deluser userdel passwd chown chgrp rm rmdir ldconfig
    update-ca-certificates apt-mark apt-cache dpkg-query apt-key
    """.split()  # noqa: SIM905
)
_APT = frozenset(
    """
    update upgrade dist-upgrade full-upgrade clean autoclean purge remove autoremove list check
    """.split()  # noqa: SIM905
)
_PIP_SHAPING = frozenset(
    """
    uninstall cache list freeze check config show debug --version -V help
    """.split()  # noqa: SIM905
)

Handler: TypeAlias = Callable[["_Run", list[str], Command], None]


def run(stage: Stage, instruction: DockerfileInstruction) -> None:
    """Do what a RUN does.

    Args:
        stage: where.
        instruction: the line.

    Raises:
        BuildFault: it cannot be done here.
    """
    mounted = dict(mounts(stage, instruction))
    stage.files.update(mounted)
    try:
        _Run(stage).instruction(instruction)
    finally:
        for path in mounted:
            del stage.files[path]


class _Run:
    """One RUN: its folder and its variables last as long as it does."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.folder = stage.workdir
        self.variables = {**stage.arguments, **stage.variables}

    def instruction(self, instruction: DockerfileInstruction) -> None:
        if instruction.json:
            self._command(Command([Word(word) for word in instruction.args]), 0)
            return
        commands = self._read(instruction.args[0] if instruction.args else "")
        bodies = [chomp_heredoc_content(each.content) if each.chomp else each.content for each in instruction.heredocs]
        program = commands[0].words[0].text.rpartition("/")[2] if len(commands) == 1 and commands[0].words else ""
        if bodies and (not commands or program in _SHELLS):
            for body in bodies:
                first = body.partition("\n")[0]
                if first.startswith("#!") and not re.search(r"\b(sh|bash|dash|ash)\b", first):
                    raise self.stage.refuse(f"it runs a program of its own by {first}")
                self._text(body, 0)
            return
        for command in commands:
            self._command(command, 0)

    def _text(self, text: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise self.stage.refuse("its shells start shells too deeply")
        for command in self._read(text):
            self._command(command, depth)

    def _read(self, text: str) -> list[Command]:
        try:
            return shell.read(text, self.variables)
        except UnreadableError as error:
            raise self.stage.refuse(f"{error}, and nothing of it is run here") from error

    def _command(self, command: Command, depth: int) -> None:
        words = [word.text for word in command.words]
        while words[:1] in (["sudo"], ["exec"], ["time"], ["command"], ["env"]) and len(words) > 1:
            words = words[1:]
            command = replace(command, words=command.words[1:])
            while words and re.match(r"[A-Za-z_]\w*=", words[0]):
                words = words[1:]
                command = replace(command, words=command.words[1:])
        for name in command.assignments:
            packages_from = _index_of({name: command.assignments[name].text})
            if packages_from:
                raise self.stage.refuse(f"{packages_from}, and packages come from the worker's index alone")
        if not words:
            if command.writes:
                raise self.stage.refuse(f"it writes {command.writes[0].text}")
            self.variables.update({name: word.text for name, word in command.assignments.items()})
            return
        name = words[0].rpartition("/")[2]
        installs = _PIP.fullmatch(name) or _PYTHON.fullmatch(name) or name == "uv"
        if command.writes and not installs:
            raise self.stage.refuse(f"it writes {command.writes[0].text}")
        if name in _SHELLS and len(words) > 2 and re.fullmatch(r"-[a-z]*c", words[1]):
            self._text(words[2], depth + 1)
        elif name in ("source", ".") and words[1:] and words[1].endswith("bin/activate"):
            self._pass_over(command, "the function's environment is used anyway")
        elif name in _HANDLERS:
            _HANDLERS[name](self, words[1:], command)
        elif _PIP.fullmatch(name):
            self.check_python(name.removeprefix("pip"))
            self.pip(words[1:], command)
        elif _PYTHON.fullmatch(name):
            self.check_python(name.removeprefix("python"))
            self.python(words[1:], command)
        elif name in _SILENT:
            self._pass_over(command, "it leaves nothing")
        elif name in _SHAPING:
            self._pass_over(command, _IMAGE)
        else:
            raise self.stage.refuse(f"it runs {name}, and nothing of a Dockerfile is run here")

    def _pass_over(self, command: Command, why: str) -> None:
        self.stage.pass_over(why, " ".join(word.text for word in command.words)[:_SHOWN])

    def check_python(self, version: str) -> None:
        wanted, own = version, self.stage.python or own_python()
        if "." in wanted and wanted != own:
            raise self.stage.refuse(f"Python {wanted} is asked for, and the function has Python {own}")

    def pip(self, words: list[str], command: Command) -> None:
        while words and words[0].startswith("-") and words[0] not in ("--version", "-V"):
            words = words[1:]
        if not words or words[0] in _PIP_SHAPING:
            self._pass_over(command, _IMAGE)
            return
        if words[0] != "install":
            raise self.stage.refuse(f"pip {words[0]} is not known here")
        if any(word.computed for word in command.words):
            raise self.stage.refuse("only a shell could tell what it installs")
        asking = packages.Asking(lambda path, beside: self.stage.find(path, beside, self.folder), self.variables.get)
        try:
            install = asking.read(words[1:])
        except AskedError as error:
            raise self.stage.refuse(str(error)) from error
        if command.writes:
            self.stage.note(
                f"line {self.stage.line}: a shell takes {'>' + command.writes[0].text!r} for a file to write, not for "
                "a version; quote it"
            )
        if install.requirements or install.wheels or install.sources:
            install.line = self.stage.line
            self.stage.installs.append(install)
        else:
            self._pass_over(command, "wheels are installed without pip")

    def python(self, words: list[str], command: Command) -> None:
        while words[:1] and words[0] in ("-I", "-u", "-B", "-E", "-s"):
            words = words[1:]
        if words[:2] == ["-m", "pip"]:
            self.pip(words[2:], command)
        elif words[:2] in (["-m", "venv"], ["-m", "virtualenv"]):
            self.venv(words[2:], command)
        elif words[:2] == ["-m", "ensurepip"] or words[:1] in (["--version"], ["-V"]):
            self._pass_over(command, _IMAGE)
        else:
            raise self.stage.refuse("it runs a program in Python, and nothing of a Dockerfile is run here")

    def uv(self, words: list[str], command: Command) -> None:
        if words[:1] == ["venv"]:
            self.venv(words[1:], command)
        elif words[:1] == ["pip"]:
            self.pip(words[1:], command)
        elif words[:1] in (["cache"], ["--version"], ["self"]):
            self._pass_over(command, _IMAGE)
        else:
            raise self.stage.refuse(f"uv {' '.join(words[:1])} is not known here; uv pip install is")

    def venv(self, words: list[str], command: Command) -> None:
        for word in words:
            if not word.startswith("-"):
                self.stage.environments.add(self.stage.at(word, self.folder))
                self.stage.made(self.stage.at(word, self.folder))
        self._pass_over(command, "the function has an environment of its own anyway")

    def apt(self, words: list[str], command: Command) -> None:
        given = [word for word in words if not word.startswith("-")]
        if given[:1] and given[0] in _APT:
            self._pass_over(command, _IMAGE)
            return
        if len(given) > _MOST_PACKAGES:
            raise self.stage.refuse(f"it names more than {_MOST_PACKAGES} packages of a system")
        if given[:1] == ["install"] and len(given) > 1 and all(map(_on_this_machine, given[1:])):
            self._pass_over(command, "this machine has it")
            return
        missing = next((name for name in given[1:] if not _on_this_machine(name)), "")
        raise self.stage.refuse(f"this machine has no package {missing} of its system" if missing else "it runs apt")

    def cd(self, words: list[str], _: Command) -> None:
        self.folder = self.stage.at(words[0] if words else "/root", self.folder)

    def export(self, words: list[str], _: Command) -> None:
        for word in words:
            name, equals, value = word.partition("=")
            if _index_of({name: value}):
                raise self.stage.refuse(f"{_index_of({name: value})}, and packages come from the worker's index alone")
            if equals:
                self.variables[name] = value

    def mkdir(self, words: list[str], _: Command) -> None:
        for word in words:
            if word.startswith("-"):
                continue
            place = self.stage.at(word, self.folder)
            # Whether it lies in the function's folder is known at the end.
            self.stage.made(place)
            self.stage.wanted.append((place, self.stage.line))

    def chmod(self, words: list[str], command: Command) -> None:
        given = [word for word in words if not word.startswith("--") and word != "-R"]
        digits = given[0] if given else ""
        runs = "x" in digits if not digits.isdigit() else bool(int(digits[-3:], 8) & 0o111) if _octal(digits) else False
        for word in given[1:]:
            for path, file in list(self.stage.below(self.stage.at(word, self.folder))):
                if runs and "-" not in digits:
                    self.stage.put(path, replace(file, executable=True, line=self.stage.line))
        self._pass_over(command, "a function's files may be read, and run where that is said")


_HANDLERS: Mapping[str, Handler] = {
    "apt-get": _Run.apt,
    "apt": _Run.apt,
    "aptitude": _Run.apt,
    "uv": _Run.uv,
    "virtualenv": _Run.venv,
    "cd": _Run.cd,
    "export": _Run.export,
    "mkdir": _Run.mkdir,
    "chmod": _Run.chmod,
}


def _octal(text: str) -> bool:
    return set(text) <= set("01234567")


def _index_of(variables: Mapping[str, str]) -> str:
    """Say which variable names an index; empty where none does."""
    return next((f"{name} names an index" for name in variables if name in INDEX_VARIABLES), "")


INDEX_VARIABLES = frozenset(
    f"{program}_{name}"
    for program in ("PIP", "UV")
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "INDEX", "DEFAULT_INDEX", "FIND_LINKS", "TRUSTED_HOST", "CONFIG_FILE")
)
"""Variables by which installers find packages elsewhere than the worker says."""


@lru_cache(maxsize=1024)
def _on_this_machine(package: str) -> bool:
    """Say whether a package of the system is installed, of Debian's kind."""
    query = shutil.which("dpkg-query")
    name = package.partition("=")[0]
    if query is None or not re.fullmatch(r"[a-z0-9][a-z0-9+.:-]*", name):
        return False
    asked = subprocess.run(
        [query, "--show", "--showformat=${Status}", name], capture_output=True, timeout=30, check=False
    )
    return asked.returncode == 0 and asked.stdout == b"install ok installed"
