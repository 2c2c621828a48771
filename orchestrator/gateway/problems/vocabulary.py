"""Which kind of node a configuration request is for, by the first word of its text."""

from collections.abc import Mapping

from orchestrator.core.errors import PermissionDeniedError

DATASET_PATH = "dataset_path"
"""The word of requests that name a file on the module's machine."""

KINDS: Mapping[str, int] = {
    "hardwares": 3,
    "modality": 4,
    "in_out_modalities": 4,
    "metrics": 4,
    "problem_from_modality": 4,
    "model_info": 4,
    "mode_info": 4,
    DATASET_PATH: 4,
    "goal": 5,
    "model_from_goal": 5,
    "hf_search": 5,
}
"""The number of the kind, by the word."""


def first_word(configuration: str) -> str:
    """Return what a text says before its first comma, without space around it, in lower case."""
    return configuration.partition(",")[0].strip().lower()


def check(configuration: str, folders: tuple[str, ...]) -> None:
    """Check that a text names no file on the module's machine but those that the operator allows.

    Modules read texts in ways of their own: wherever the word of such requests stands, a file may be meant.

    Args:
        configuration: the text.
        folders: in which files may be named.

    Raises:
        PermissionDeniedError: it names another, or may do so.
    """
    if DATASET_PATH not in configuration.lower():
        return
    file = configuration.partition(",")[2].strip() if first_word(configuration) == DATASET_PATH else ""
    if not _is_within(file, folders):
        raise PermissionDeniedError(
            f"a configuration request may not name the file {file[:200]!r}: only absolute paths are forwarded, in "
            "folders that the operator allows by ORCHESTRATOR_PROBLEMS_DATASET_FOLDERS"
        )


def _is_within(file: str, folders: tuple[str, ...]) -> bool:
    parts = file.split("/")
    if not file.startswith("/") or ".." in parts or "\\" in file or "\n" in file:
        return False
    inside = [part for part in parts if part not in ("", ".")]
    for folder in folders:
        above = [part for part in folder.split("/") if part not in ("", ".")]
        if len(inside) > len(above) and inside[: len(above)] == above:
            return True
    return False
