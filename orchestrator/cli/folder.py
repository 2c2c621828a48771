"""Where a federation of this machine lives, and how it is found again."""

import secrets
from pathlib import Path

import click

DEFAULT = ".orchestrator"

_FRESH = "demo-"

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT,
    envvar="ORCHESTRATOR_DATA",
    show_default=True,
    show_envvar=True,
    metavar="DIR",
    help="Folder of the federation; one at a time uses it.",
)


def fresh(folder: Path) -> Path:
    """Return a name for the data of one demo in a folder."""
    return folder / f"{_FRESH}{secrets.token_hex(4)}"


def of_demos(folder: Path) -> list[Path]:
    """Return where demos have left their data in a folder."""
    return sorted(path for path in folder.glob(f"{_FRESH}*") if path.is_dir())


def command(words: str, folder: Path) -> str:
    """Return a command line of ours for a federation in a folder, for people to copy."""
    option = "" if folder == Path(DEFAULT) else f" --data {folder}"
    return f"orchestrator {words}{option}"
