"""Reads from a function's Dockerfile how it runs without an image: its command, its Python, its packages, its files.

Each instruction is honoured, or passed over with a line in the build's log where it only shapes an image, or refused
with a sentence that names it. Nothing of a Dockerfile is run.
"""

import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from e2b_dockerfile_utils import DockerfileAst, DockerfileInstruction, ShellLex

from workers.executors.executor import HERE
from workers.functions import dockerfile
from workers.functions.commands import INDEX_VARIABLES, run
from workers.functions.copying import copy
from workers.functions.recipe import Recipe, laid_out
from workers.functions.stage import ROOT, Stage, own_python, python_of

# Of the images `python`.
_BASE = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_OWN = frozenset({"HOME", "TMPDIR", "USER", "LOGNAME", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE"})
_PASSED_OVER = {
    "LABEL": "it only shapes an image",
    "MAINTAINER": "it only shapes an image",
    "EXPOSE": "a function is not connected to",
    "USER": "the executor says as whom a function runs",
    "VOLUME": "a function's folders are those that it is given",
    "STOPSIGNAL": "the executor ends a function",
    "HEALTHCHECK": "the worker looks after a function",
    "ONBUILD": "it is for images that are made of this one",
    "CMD": "a function gets its arguments from the worker",
}
# No program can be given more in one variable (Linux).
_LONGEST = 128 * 1024 - 1
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_PYTHON = ("python", "python3")


def read(text: str, context: Path, written: Path) -> Recipe:
    """Read a Dockerfile.

    Args:
        text: of the file.
        context: the function's archive, unpacked; it is only read.
        written: a folder for files whose content stands in the Dockerfile; made when needed.

    Raises:
        BuildFault: it has no command, or asks for something that cannot be done here.
    """
    parsed = dockerfile.parse(text)
    command = dockerfile.entrypoint(parsed.instructions)
    return _Reader(parsed, context, written).recipe(command)


class _Reader:
    """Reads one Dockerfile."""

    def __init__(self, parsed: DockerfileAst, context: Path, written: Path) -> None:
        self._parsed = parsed
        self._written = written
        self._stage = Stage(context)
        self._stage.variables.update(_BASE)
        # Of ARG before the first FROM, for FROM alone.
        machine = _MACHINES.get(platform.machine(), platform.machine())
        self._arguments = {
            f"{side}{name}": value
            for side in ("TARGET", "BUILD")
            for name, value in {"PLATFORM": f"linux/{machine}", "OS": "linux", "ARCH": machine, "VARIANT": ""}.items()
        }
        self._globals: dict[str, str] = {}
        self._base = ""

    def recipe(self, command: list[str]) -> Recipe:
        for instruction in self._needed():
            self._at(instruction)
            self._instruction(instruction)
        stage = self._stage
        files, folders = laid_out(stage)
        words = self._command(command)
        variables, path = self._environment()
        return Recipe(
            command=words,
            python=stage.python,
            base=self._base,
            variables=variables,
            path=path,
            installs=tuple(stage.installs),
            files=files,
            folders=folders,
            notes=tuple(stage.notes),
        )

    def _at(self, instruction: DockerfileInstruction) -> None:
        self._stage.begin(instruction.start_line, dockerfile.shown(instruction))

    def _needed(self) -> list[DockerfileInstruction]:
        """Return the instructions that the last stage is made by: its own, and before them those of its base."""
        before: list[DockerfileInstruction] = []
        stages: list[list[DockerfileInstruction]] = []
        for instruction in self._parsed.instructions:
            if instruction.name == "FROM":
                stages.append([instruction])
            else:
                (stages[-1] if stages else before).append(instruction)
        if not stages:
            return before
        for instruction in before:
            self._at(instruction)
            if instruction.name == "ARG":
                self._globals.update(self._declared(instruction, self._globals))
            else:
                raise self._stage.refuse("nothing but ARG may stand before FROM")
        names = [_named(stage[0]) for stage in stages]
        taken = [len(stages) - 1]
        while (base := self._image(stages[taken[0]][0]).lower()) in names[: taken[0]]:
            taken.insert(0, names[: taken[0]].index(base))
        for number, stage in enumerate(stages):
            if number not in taken:
                self._at(stage[0])
                self._stage.pass_over("no stage that is needed is made from it")
        return [
            *stages[taken[0]],
            *(instruction for number in taken[1:] for instruction in stages[number][1:]),
        ]

    def _image(self, instruction: DockerfileInstruction) -> str:
        if not instruction.args:
            self._at(instruction)
            raise self._stage.refuse("it names no image")
        return self._expanded(instruction.args[0], {**self._arguments, **self._globals})

    def _expanded(self, text: str, known: Mapping[str, str] | None = None) -> str:
        lex = ShellLex(
            self._parsed.escape_token,
            env={**self._stage.arguments, **self._stage.variables} if known is None else known,
            skip_unset_env=False,
        )
        try:
            found = lex.process_word(text)
        except ValueError as error:
            raise self._stage.refuse(str(error)) from error
        if len(found) > _LONGEST:
            raise self._stage.refuse(f"it is longer than {_LONGEST} characters once its variables are replaced")
        return found

    def _declared(self, instruction: DockerfileInstruction, known: Mapping[str, str]) -> dict[str, str]:
        """Return what an ARG declares."""
        found: dict[str, str] = {}
        for word in instruction.args:
            name, equals, value = word.partition("=")
            if equals:
                found[name] = self._expanded(value, {**known, **found})
            elif name in self._globals:
                found[name] = self._globals[name]
            elif name in self._arguments:
                found[name] = self._arguments[name]
        return found

    def _instruction(self, instruction: DockerfileInstruction) -> None:
        stage, name = self._stage, instruction.name
        if name in _PASSED_OVER:
            stage.pass_over(_PASSED_OVER[name])
        elif name == "RUN":
            run(stage, instruction)
        elif name in ("COPY", "ADD"):
            words = [word if word.startswith("<<") else self._expanded(word) for word in instruction.args]
            copy(stage, instruction, words, self._written)
        elif name != "ENTRYPOINT":
            _HONOURED[name](self, instruction)

    def _from(self, instruction: DockerfileInstruction) -> None:
        stage, image = self._stage, self._image(instruction)
        for flag in instruction.flags:
            name, _, value = flag.partition("=")
            wanted = self._expanded(value, {**self._arguments, **self._globals})
            ours = self._arguments["BUILDPLATFORM"]
            if name != "--platform" or not (wanted == ours or wanted.startswith(f"{ours}/")):
                raise stage.refuse(f"this machine is {ours}")
        known, stage.python = python_of(image)
        self._base = f"line {stage.line} of the function's Dockerfile, {stage.shown!r}"
        if not known:
            raise stage.refuse(
                f"a function runs here in Python, as in the images python:X.Y, and {image} is none of them"
            )
        if stage.python is None:
            stage.note(
                f"line {stage.line}, {stage.shown!r}, names no Python X.Y: the function has Python {own_python()}"
            )

    def _arg(self, instruction: DockerfileInstruction) -> None:
        stage = self._stage
        stage.arguments.update(self._declared(instruction, {**stage.arguments, **stage.variables}))

    def _env(self, instruction: DockerfileInstruction) -> None:
        stage, before = self._stage, {**self._stage.arguments, **self._stage.variables}
        for name, value in zip(instruction.args[::3], instruction.args[1::3], strict=True):
            name = self._expanded(name, before)
            if name in INDEX_VARIABLES:
                raise stage.refuse(f"{name} names an index, and packages come from the worker's index alone")
            if name in _OWN:
                stage.note(f"line {stage.line}: {name} is passed over: the worker says what it is")
            stage.variables[name] = self._expanded(value, before)

    def _workdir(self, instruction: DockerfileInstruction) -> None:
        self._stage.workdir = self._stage.at(self._expanded(instruction.args[0] if instruction.args else "/"))
        self._stage.made(self._stage.workdir)

    def _shell(self, instruction: DockerfileInstruction) -> None:
        program = PurePosixPath(instruction.args[0]).name if instruction.args else ""
        if not instruction.json or program not in ("sh", "bash", "dash", "ash"):
            raise self._stage.refuse("only a shell of Unix is read here")
        self._stage.pass_over("its commands are read, not run")

    def _inside(self, path: str) -> str | None:
        """Return where an absolute path of the image lies in the function's folder; None where it does not."""
        stage, place = self._stage, PurePosixPath(os.path.normpath(path)) if path.startswith("/") else None
        if place is None or place == ROOT or not place.is_relative_to(stage.workdir):
            return None
        if (
            stage.workdir == ROOT
            and place not in stage.files
            and not any(place in each.parents for each in stage.files)
        ):
            return None
        return str(place.relative_to(stage.workdir))

    def _command(self, command: list[str]) -> list[str]:
        """Return the function's command, with paths of the image as they are in its folder.

        Raises:
            BuildFault: it is started with a Python that it does not have.
        """
        words = [word if (inside := self._inside(word)) is None else inside for word in command]
        stage, program = self._stage, command[0].rpartition("/")[2]
        last = [each for each in self._parsed.instructions if each.name == "ENTRYPOINT"][-1]
        self._at(last)
        if words[0] != command[0]:
            words[0] = f"./{words[0]}"
        elif "/" in command[0] and any(command[0] == str(place / "bin" / program) for place in self._prefixes()):
            words[0] = program
        if program.startswith("python") and program not in _PYTHON:
            own = stage.python or own_python()
            if program != f"python{own}":
                raise stage.refuse(f"it needs {program}, and the function has Python {own}")
        return words

    def _prefixes(self) -> list[PurePosixPath]:
        return [PurePosixPath("/usr/local"), PurePosixPath("/usr"), *self._stage.environments]

    def _environment(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the function's variables, and the folders of programs that lie in its own."""
        stage, path = self._stage, []
        for part in dict.fromkeys(stage.variables["PATH"].split(":")):
            inside = self._inside(part)
            if inside is not None and PurePosixPath(part).parent not in stage.environments:
                path.append(inside)
            elif part not in _BASE["PATH"].split(":") and PurePosixPath(part).parent not in stage.environments:
                stage.note(f"PATH: {part} is passed over: it lies outside of the function's folder")
        return {
            name: ":".join(
                part if (inside := self._inside(part)) is None else f"{HERE}/{inside}" for part in value.split(":")
            )
            for name, value in stage.variables.items()
            if name not in _OWN and name not in ("PATH",) and value != _BASE.get(name)
        }, tuple(path)


_HONOURED: Mapping[str, Callable[[_Reader, DockerfileInstruction], None]] = {
    "FROM": _Reader._from,
    "ARG": _Reader._arg,
    "ENV": _Reader._env,
    "WORKDIR": _Reader._workdir,
    "SHELL": _Reader._shell,
}


def _named(instruction: DockerfileInstruction) -> str:
    """Return the name of a stage; empty where it has none."""
    words = [word.lower() for word in instruction.args]
    return words[2] if len(words) == 3 and words[1] == "as" else ""
