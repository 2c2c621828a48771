"""The history of the database's tables (Alembic), and which releases a database serves.

A release that changes a table brings two halves. The expanding half adds what the new code needs and keeps what the old
code uses: from then on the database serves both. The contracting half takes away what only the old code used. A
revision says so in two names of its module:

- `half`: `"expand"` (also when it is left out) or `"contract"`;
- `serves_from`: the code of this revision and of all later ones runs on the database from then on; the revision's own
  when it is left out. The revision of a release's code is that of its last expanding half.

The database keeps the last `serves_from` in the table `compatibility`, so that a server knows of a revision that is
newer than itself whether it may run on it.

Alembic is imported where a database is changed alone: it takes a fifth of the time that a server needs to start, and a
server only asks how the database fits. So the names of a revision are read off the lines of its module, which is
neither run nor parsed; they are literals.
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from sqlalchemy import text

from orchestrator.store.connecting import make_engine

if TYPE_CHECKING:
    from alembic.config import Config

Half = Literal["expand", "contract"]

VERSIONS = [Path(__file__).parent / "versions"]
"""The folders with the revisions; a test of upgrades adds one."""

_NAMES = re.compile(r"^(revision|half|serves_from) = (.+)$", re.MULTILINE)


class PendingContractionError(Exception):
    """An expanding half can only follow when the contracting half of the release before has been applied."""


class NoWayBackError(Exception):
    """A revision is not taken back: what was stored since would be lost, or taken for something else."""


@dataclass(frozen=True)
class Revision:
    """A step of the history.

    Args:
        revision: its number; they ascend.
        half: which half of a release it is.
        serves_from: the oldest revision of code that runs on a database at this one.
    """

    revision: str
    half: Half
    serves_from: str

    @classmethod
    def of(cls, file: Path) -> Self:
        """Return the revision of a module.

        Raises:
            ValueError: one of its names is no literal.
        """
        said = {name: ast.literal_eval(value) for name, value in _NAMES.findall(file.read_text())}
        revision = str(said["revision"])
        half: Half = "contract" if said.get("half") == "contract" else "expand"
        return cls(revision, half, str(said.get("serves_from", revision)))


@dataclass(frozen=True)
class State:
    """How a database and this release's code fit.

    Args:
        revision: the database's; None for one without tables.
        serves_from: the oldest revision of code that runs on it; None where the database does not say.
        needed: the revision of this release's code.
        newest: the last revision that this release knows, a contracting half perhaps.
    """

    revision: str | None
    serves_from: str | None
    needed: str
    newest: str

    @property
    def serves(self) -> bool:
        """Whether this release's code runs on the database."""
        if self.revision is None or self.revision < self.needed:
            return False
        if self.revision <= self.newest:
            return True
        return self.serves_from is not None and self.serves_from <= self.needed

    @property
    def left_behind(self) -> bool:
        """Whether the database has gone on to where this release cannot follow: none of its migrations helps."""
        return not self.serves and self.revision is not None and self.revision >= self.needed

    @property
    def complaint(self) -> str:
        """Why this release's code does not run on the database, and what to do; empty if it does."""
        if self.serves:
            return ""
        if self.revision is None or self.revision < self.needed:
            now = "has no tables" if self.revision is None else f"is at revision {self.revision}"
            return f"the database {now}, and this release needs {self.needed}: run `orchestrator migrate`"
        serves = f"serves releases from {self.serves_from} on" if self.serves_from else "does not say whom it serves"
        return (
            f"the database is at revision {self.revision}, which {serves}, and this release is {self.needed}: "
            "start a newer release"
        )

    @property
    def contraction_pending(self) -> bool:
        """Whether the contracting half of this release is still to be applied."""
        return self.revision == self.needed != self.newest

    @property
    def words(self) -> str:
        """How the database is, in a few words; the complaint where this release's code does not run on it."""
        contraction = ", not contracted yet" if self.contraction_pending else ""
        return self.complaint or f"revision {self.revision}, serves releases from {self.serves_from} on{contraction}"


def state(url: str) -> State:
    """Return how a database and this release's code fit.

    Args:
        url: `postgresql://…`.
    """
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            migrated = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is not None
            current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if migrated else None
            known = connection.execute(text("SELECT to_regclass('compatibility')")).scalar() is not None
            said = connection.execute(text("SELECT serves_from FROM compatibility")).scalar() if known else None
    finally:
        engine.dispose()
    return State(current, said, *release())


def release() -> tuple[str, str]:
    """Return the revision of this release's code, and the last that it knows: the last two of a `State`."""
    known_here = history()
    return [step.revision for step in known_here if step.half == "expand"][-1], known_here[-1].revision


def history() -> list[Revision]:
    """Return the revisions that this release knows, the first one first."""
    files = (file for folder in VERSIONS for file in folder.glob("[0-9]*.py"))
    return sorted(map(Revision.of, files), key=lambda step: step.revision)


def upgrade(url: str, half: Half | None = None, tell: Callable[[str], None] = lambda _: None) -> None:
    """Apply the revisions that a database lacks, each in a transaction of its own: to be interrupted and repeated.

    Several processes may do so at once; one waits for the other. A database that a newer release has migrated stays as
    it is.

    Args:
        url: `postgresql://…`.
        half: `expand` stops before the contracting half of this release; `contract`, as None, applies all.
        tell: called with a line for each revision that was applied.

    Raises:
        PendingContractionError: `expand` was asked for, and the release before was never contracted.
    """
    from alembic import command

    now = state(url)
    if now.revision is not None and now.revision > now.newest:
        return
    if half == "expand":
        _check_contracted(now)
    target = now.needed if half == "expand" else now.newest
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            config = _config()
            config.attributes["connection"] = connection
            config.attributes["tell"] = tell
            command.upgrade(config, target)
    finally:
        engine.dispose()


def _check_contracted(now: State) -> None:
    """Check that no contracting half lies between a database with tables and the expanding half to come."""
    if now.revision is None or now.revision >= now.needed:
        return
    for step in history():
        if now.revision < step.revision < now.needed and step.half == "contract":
            raise PendingContractionError(
                f"revision {step.revision} takes away what code older than {step.serves_from} uses, and comes "
                "first: end that code, and run `orchestrator migrate --contract`"
            )


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _escaped(Path(__file__).parent))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(map(_escaped, VERSIONS)))
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")
