"""How a function runs without an image: its command, its Python, its packages, the files of its folder."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from workers.errors import BuildFault
from workers.functions.packages import Install
from workers.functions.stage import File, Stage

_TEMPORARY = "/tmp"  # noqa: S108 - of the image
# Folders of an image that no function misses.
_NEEDLESS = (_TEMPORARY, "/root", "/home", "/var", "/etc/apt", "/usr/share/man", "/run")


@dataclass(frozen=True)
class Recipe:
    """How a function runs without an image.

    Args:
        command: of its ENTRYPOINT; paths of its folder are relative to it.
        python: the version X.Y that it needs; None for any.
        base: the line that says so, for people.
        variables: of its environment; `HERE` stands for its folder.
        path: folders of programs in its folder, relative to it.
        installs: what is to be installed, in this order.
        files: what else is to lie in its folder, by path.
        folders: that are to be there, too.
        notes: lines of the build's log.
    """

    command: list[str]
    python: str | None = None
    base: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    installs: tuple[Install, ...] = ()
    files: Mapping[str, File] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def laid_out(stage: Stage) -> tuple[dict[str, File], tuple[str, ...]]:
    """Return the files and folders that a function's folder needs besides its archive.

    Args:
        stage: the function's image, as far as it is here.

    Raises:
        BuildFault: the function would miss one that lies outside of its folder.
    """
    files: dict[str, File] = {}
    for path, file in stage.files.items():
        if path.is_relative_to(stage.workdir):
            inside = str(path.relative_to(stage.workdir))
            same = file.source == stage.context / inside
            if not same or file.executable != bool(file.source.stat().st_mode & 0o100):
                files[inside] = file
        elif path not in stage.used and not path.is_relative_to(_TEMPORARY):
            raise _outside(stage, path, file.line)
    folders = []
    for path, line in stage.wanted:
        if path.is_relative_to(stage.workdir):
            folders.append(str(path.relative_to(stage.workdir)))
        elif not (path in stage.workdir.parents or _is_needless(stage, path)):
            raise _outside(stage, path, line)
    return files, tuple(folders)


def _is_needless(stage: Stage, path: PurePosixPath) -> bool:
    needless = (*map(PurePosixPath, _NEEDLESS), *stage.environments)
    return any(path.is_relative_to(place) for place in needless)


def _outside(stage: Stage, path: PurePosixPath, line: int) -> BuildFault:
    stage.begin(line, stage.lines[line])
    return stage.refuse(f"{path} lies outside of the function's folder, its last WORKDIR {stage.workdir}")


def lay_out(recipe: Recipe, folder: Path, size_limit: int) -> None:
    """Put what a recipe says into a function's folder.

    Args:
        recipe: of the function.
        folder: its unpacked archive, in which the recipe's files lie as they were read.
        size_limit: bytes that all these files may have together.

    Raises:
        BuildFault: something else is where one is to lie; they are too large.
        OSError: they cannot be written.
    """
    if sum(file.source.stat().st_size for file in recipe.files.values()) > size_limit:
        raise BuildFault(f"what the function's Dockerfile copies has more than {size_limit} bytes")
    # All are read before one is written over.
    draft = folder.with_name(f"{folder.name}.draft")
    try:
        for number, file in enumerate(recipe.files.values()):
            draft.mkdir(exist_ok=True)
            shutil.copyfile(file.source, draft / str(number))
            (draft / str(number)).chmod(0o755 if file.executable else 0o644)
        for number, path in enumerate(recipe.files):
            target = folder / path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                (draft / str(number)).replace(target)
            except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
                raise BuildFault(f"the function's Dockerfile puts {path} where something else is") from error
        for path in recipe.folders:
            (folder / path).mkdir(parents=True, exist_ok=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
