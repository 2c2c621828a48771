"""How a function runs without an image: its command, its Python, its packages, the files of its folder."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workers.errors import BuildFault
from workers.functions.packages import Install
from workers.functions.stage import File


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


def lay_out(recipe: Recipe, folder: Path) -> None:
    """Put what a recipe says into a function's folder.

    Args:
        recipe: of the function.
        folder: its unpacked archive, in which the recipe's files lie as they were read.

    Raises:
        OSError: it cannot be written.
    """
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
