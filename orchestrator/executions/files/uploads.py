"""Uploads: the files of a request, which lie on the disk until it is known whether they are kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.executions.forms.form import InvalidError

LONGEST_NAME = 300


@dataclass(frozen=True)
class Upload:
    """A file of a request.

    Args:
        name: as its uploader calls it.
        size: in bytes.
        path: where it lies meanwhile.
    """

    name: str
    size: int
    path: Path


Uploads: TypeAlias = Mapping[str, Upload]
"""Name of the part -> file."""


def required(uploads: Uploads, data: Any, part: str) -> Upload:
    """Return a file that is a field of its own.

    Args:
        uploads: of the request.
        data: the object that came with them.
        part: the name of the file's part.

    Raises:
        InvalidError: it is missing, empty, no file, or its name is too long.
    """
    upload = uploads.get(part)
    if upload is None:
        if isinstance(data, dict) and part in data:
            raise InvalidError(["The submitted data was not a file. Check the encoding type on the form."])
        raise InvalidError(["No file was submitted."])
    check(upload)
    return upload


def check(upload: Upload) -> None:
    """Check that a file has a content, and a name of a length that is kept.

    Raises:
        InvalidError: it has not.
    """
    if not upload.size:
        raise InvalidError(["The submitted file is empty."])
    if len(upload.name) > LONGEST_NAME:
        raise InvalidError([f"Ensure this filename has at most {LONGEST_NAME} characters (it has {len(upload.name)})."])
