"""The start of a job of the cluster, in the attempt's folder: by it others know that there may be one, and which."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from workers.executors.moment import Moment
from workers.folder import write

_FILE = "job"


@dataclass(frozen=True)
class JobStart:
    """A start.

    Args:
        name: by which this start is known from others of the same job.
        moment: from which on the job's deadline counts.
    """

    name: str
    moment: Moment

    def keep(self, folder: Path) -> None:
        """Write it into an attempt's folder.

        Raises:
            OSError: it cannot be written.
        """
        write(folder / _FILE, json.dumps(asdict(self)))

    @classmethod
    def kept(cls, folder: Path) -> "JobStart | None":
        """Return what is in an attempt's folder; None where no job was started."""
        try:
            told = json.loads((folder / _FILE).read_text())
            return cls(str(told["name"]), Moment(**told["moment"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def was_tried(folder: Path) -> bool:
    """Say whether there may be a job of an attempt."""
    return (folder / _FILE).exists()
