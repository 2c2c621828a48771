"""What an image would hold at a line of its Dockerfile, as far as a function's folder and its Python can hold it."""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from workers.errors import BuildFault
from workers.functions.packages import Install, relative

ROOT = PurePosixPath("/")
_ELSEWHERE = "the executor `container`, which builds the function's image, can do that"
# What every image of Python has; others that a Dockerfile copies to are made by it.
_FOLDERS = frozenset(map(PurePosixPath, ("/", "/opt", "/home", "/tmp", "/srv", "/mnt", "/root", "/var", "/usr/local")))  # noqa: S108
_NOTE = 300
_MOST_FILES = 50_000


@dataclass(frozen=True)
class File:
    """A file that an image would hold.

    Args:
        source: where its content is now.
        executable: whether it may be run.
        line: of the Dockerfile that puts it there.
    """

    source: Path
    executable: bool
    line: int


@dataclass
class Stage:
    """The image of a function, as far as its Dockerfile was read.

    Args:
        context: the function's archive, unpacked.
        line: that is read.
        shown: what stands there, for people.
        python: the version X.Y that its base names; None for any.
        workdir: where what follows is done.
        variables: of ENV.
        arguments: of ARG.
        files: that were copied, by where they lie in the image.
        folders: that were made.
        environments: folders of virtual environments.
        used: paths of files that an installation has read.
        installs: what is to be installed.
        wanted: folders that a command makes, with its line.
        notes: lines of the build's log.
        lines: what stands in those that were read, for people.
        copied: how many files were.
    """

    context: Path
    line: int = 0
    shown: str = ""
    python: str | None = None
    workdir: PurePosixPath = ROOT
    variables: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    files: dict[PurePosixPath, File] = field(default_factory=dict)
    folders: set[PurePosixPath] = field(default_factory=set)
    environments: set[PurePosixPath] = field(default_factory=set)
    used: set[PurePosixPath] = field(default_factory=set)
    installs: list[Install] = field(default_factory=list)
    wanted: list[tuple[PurePosixPath, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lines: dict[int, str] = field(default_factory=dict)
    copied: int = 0

    def begin(self, line: int, shown: str) -> None:
        """Note which line is read now.

        Args:
            line: its number.
            shown: what stands there, for people.
        """
        self.line, self.shown = line, shown
        self.lines[line] = shown

    def refuse(self, why: str, mend: str = _ELSEWHERE) -> BuildFault:
        """Return the fault of the line that is read.

        Args:
            why: it cannot be done here.
            mend: what can be done instead.
        """
        return BuildFault(
            f"line {self.line} of the function's Dockerfile, {self.shown!r}, cannot be done here: {why}; {mend}"
        )

    def pass_over(self, why: str, what: str = "") -> None:
        """Note that the line that is read, or a command of it, does nothing here.

        Args:
            why: that is right.
            what: the command.
        """
        self.note(f"line {self.line}: {what or self.shown!r} is passed over: {why}")

    def note(self, text: str) -> None:
        """Write a line of the build's log."""
        if text not in self.notes:
            self.notes.append(text if len(text) <= _NOTE else f"{text[: _NOTE - 1]}…")

    def at(self, path: str, folder: PurePosixPath | None = None) -> PurePosixPath:
        """Return where a path leads in the image.

        Args:
            path: as it is written.
            folder: from where; the WORKDIR when not given.
        """
        return relative(path, folder or self.workdir)

    def is_folder(self, path: PurePosixPath) -> bool:
        """Say whether there is a folder."""
        return path in _FOLDERS or path in self.folders or path == self.workdir

    def made(self, path: PurePosixPath) -> None:
        """Note that there is a folder."""
        self.folders.update((path, *path.parents))

    def put(self, path: PurePosixPath, file: File) -> None:
        """Note that there is a file.

        Raises:
            BuildFault: there are too many.
        """
        self.files[path] = file
        self.folders.update(path.parents)
        # Those that are copied over each other too: each takes its time.
        self.copied += 1
        if self.copied > _MOST_FILES:
            raise self.refuse(f"more than {_MOST_FILES} files are copied")

    def below(self, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, File]]:
        """Yield the files that lie in a folder, or that file."""
        for known, file in self.files.items():
            if known == path or path in known.parents:
                yield known, file

    def _base(self, folder: PurePosixPath, path: PurePosixPath, file: File) -> Path | None:
        """Return the folder of the archive that was copied to one of the image; None where it is no such copy."""
        inside = path.relative_to(folder)
        same = file.source.as_posix().endswith(f"/{inside}")
        return Path(*file.source.parts[: -len(inside.parts)]) if same else None

    def find(self, path: str, beside: Path | None, folder: PurePosixPath) -> Path | None:
        """Return the content of a file of the image, for an installation.

        Args:
            path: as it is written.
            beside: a file that it is written in.
            folder: where the command runs.

        Returns:
            None where there is none. A folder where one was copied as it is.
        """
        target = self.at(path, folder)
        found = self.files.get(target)
        if found is not None:
            self.used.add(target)
            return found.source
        if folders := {self._base(target, path, file) for path, file in self.below(target)}:
            self.used.update(path for path, _ in self.below(target))
            return folders.pop() if len(folders) == 1 else None
        places = [beside.parent / path] if beside is not None else []
        if folder == self.workdir or folder in self.workdir.parents:
            # All of the archive lies in the WORKDIR.
            places.append(self.context / path)
        for place in places:
            real = Path(os.path.normpath(place))
            if real.is_relative_to(self.context) and real.exists():
                return real
        return None


def python_of(image: str) -> tuple[bool, str | None]:
    """Say what Python an image has.

    Args:
        image: its name, as in `python:3.11-slim`.

    Returns:
        Whether it is one of the images `python` (or none at all: then the function has what is here), and the version
        X.Y that it names.
    """
    name, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    if image == "scratch":
        return True, None
    match = re.fullmatch(r"(?:(\d+)(?:\.(\d+))?(?:\.\d+)?(?:(?:a|b|rc)\d+|-rc)?)?(?:-?[a-z][\w.-]*)?", tag)
    if name != "python" or match is None or "windows" in tag or (match[1] or "3") != "3":
        return False, None
    return True, f"3.{match[2]}" if match[2] else None


def own_python() -> str:
    """Return the version X.Y of the Python that runs this."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
