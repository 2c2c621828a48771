"""What somebody wants to upload to an asset store, and why it is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from workers.assets.store import KEY

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(
    rf"functions/{KEY}/(?:archive|description)|data_managers/{KEY}/(?:opener|description)|data_samples/{KEY}"
)


class RefusedError(Exception):
    """An upload is refused.

    Args:
        status: of HTTP.
        message: what happened, to what, and what to do.
        headers: more for a program.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True)
class Wanted:
    """What is to be uploaded.

    Args:
        name: in the store.
        checksum: SHA-256 of a file; of a data sample the checksum of its folder.
    """

    name: str
    checksum: str

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.checksum) or not _NAME.fullmatch(self.name):
            raise RefusedError(
                404,
                "uploads are at /uploads/<SHA-256 in hex>/ and then functions/<key>/archive or …/description, "
                "data_managers/<key>/opener or …/description, or data_samples/<key>",
            )

    @property
    def is_folder(self) -> bool:
        """Whether a tar archive is sent of it."""
        return self.name.startswith("data_samples/")
