"""What Postgres says when something is wrong (its manual, appendix A), and what it means for a call.

One table for all: what may pass is answered UNAVAILABLE, and the same call may succeed later; what lasts is not, or
callers would repeat it for ever.
"""

from collections.abc import Mapping
from enum import Enum

import psycopg

from orchestrator.core.errors import BadRequestError, ConflictError, OrchestratorError


class Verdict(Enum):
    """What a fault means for the call that met it."""

    PASSES = "passes"
    """The database is at fault, and may not be for long: a failover, a restart, a full disk."""
    REPEAT = "repeat"
    """Two transactions met: the same one, begun anew, succeeds."""
    CONFLICT = "conflict"
    """There is one already."""
    VALUE = "value"
    """The caller's: a value that cannot be kept."""
    LASTS = "lasts"
    """Ours: a statement that is wrong, a right or a table that is missing."""


CLASSES: Mapping[str, Verdict] = {
    "00": Verdict.LASTS,  # successful completion
    "01": Verdict.LASTS,  # warning
    "02": Verdict.LASTS,  # no data
    "03": Verdict.LASTS,  # SQL statement not yet complete
    "08": Verdict.PASSES,  # connection exception
    "09": Verdict.LASTS,  # triggered action exception
    "0A": Verdict.LASTS,  # feature not supported
    "0B": Verdict.LASTS,  # invalid transaction initiation
    "0F": Verdict.LASTS,  # locator exception
    "0L": Verdict.LASTS,  # invalid grantor
    "0P": Verdict.LASTS,  # invalid role specification
    "0Z": Verdict.LASTS,  # diagnostics exception
    "10": Verdict.LASTS,  # XQuery error
    "20": Verdict.LASTS,  # case not found
    "21": Verdict.LASTS,  # cardinality violation
    "22": Verdict.VALUE,  # data exception
    "23": Verdict.LASTS,  # integrity constraint violation
    "24": Verdict.LASTS,  # invalid cursor state
    "25": Verdict.LASTS,  # invalid transaction state
    "26": Verdict.PASSES,  # invalid SQL statement name: a pooler gave us another's session
    "27": Verdict.LASTS,  # triggered data change violation
    "28": Verdict.PASSES,  # invalid authorization: while passwords or rights of access are renewed
    "2B": Verdict.LASTS,  # dependent privilege descriptors still exist
    "2D": Verdict.LASTS,  # invalid transaction termination
    "2F": Verdict.LASTS,  # SQL routine exception
    "34": Verdict.LASTS,  # invalid cursor name
    "38": Verdict.LASTS,  # external routine exception
    "39": Verdict.LASTS,  # external routine invocation exception
    "3B": Verdict.LASTS,  # savepoint exception
    "3D": Verdict.PASSES,  # invalid catalog name: while a database is restored
    "3F": Verdict.LASTS,  # invalid schema name
    "40": Verdict.PASSES,  # transaction rollback
    "42": Verdict.LASTS,  # syntax error or access rule violation
    "44": Verdict.LASTS,  # WITH CHECK OPTION violation
    "53": Verdict.PASSES,  # insufficient resources
    "54": Verdict.VALUE,  # program limit exceeded: too large, too many
    "55": Verdict.LASTS,  # object not in prerequisite state
    "57": Verdict.PASSES,  # operator intervention
    "58": Verdict.PASSES,  # system error, outside Postgres
    "72": Verdict.PASSES,  # snapshot failure
    "F0": Verdict.PASSES,  # configuration file error
    "HV": Verdict.LASTS,  # foreign data wrapper error
    "P0": Verdict.LASTS,  # PL/pgSQL error
    "XX": Verdict.LASTS,  # internal error
}
"""By the first two characters of SQLSTATE."""

CODES: Mapping[str, Verdict] = {
    "23505": Verdict.CONFLICT,  # unique violation
    "25006": Verdict.PASSES,  # read-only transaction: after a failover the old primary still answers
    "25P03": Verdict.PASSES,  # idle-in-transaction timeout
    "25P04": Verdict.PASSES,  # transaction timeout
    "40001": Verdict.REPEAT,  # serialization failure
    "40002": Verdict.LASTS,  # integrity constraint violated at the commit
    "40P01": Verdict.REPEAT,  # deadlock
    "42P05": Verdict.PASSES,  # a prepared statement exists already: a pooler gave us another's session
    "55006": Verdict.PASSES,  # object in use
    "55P03": Verdict.PASSES,  # lock not available: a migration is under way
}
"""Those that are not like their class, by SQLSTATE."""

# The server behind the connection is not the one to talk to, or the session is not ours: a new one may be right.
_DROPPED = frozenset({"25006", "25P03", "25P04", "42P05"})
_DROPPED_CLASSES = frozenset({"08", "26", "57"})
_KEPT = frozenset({"57014"})  # a statement that was cancelled says nothing about its session


def verdict(error: BaseException | None) -> Verdict:
    """Return what an error of psycopg means for the call that met it.

    Args:
        error: as in `DBAPIError.orig`.
    """
    if not isinstance(error, psycopg.Error):
        return Verdict.LASTS
    if error.sqlstate:
        if _stale_plan(error):
            return Verdict.PASSES
        return CODES.get(error.sqlstate, CLASSES.get(error.sqlstate[:2], Verdict.LASTS))
    # Nothing came from Postgres: the driver speaks.
    if isinstance(error, psycopg.DataError):
        return Verdict.VALUE
    return Verdict.PASSES if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) else Verdict.LASTS


def refusal(error: psycopg.Error) -> OrchestratorError | None:
    """Return what a caller is told whose values are at fault; None where something else is."""
    match verdict(error):
        case Verdict.CONFLICT:
            # No detail: what is there already may be another channel's.
            return ConflictError("it exists already")
        case Verdict.VALUE:
            return BadRequestError(f"a value cannot be kept: {str(error).partition(chr(10))[0]}")
    return None


def drops(error: psycopg.Error) -> bool:
    """Say whether the connection that met an error is to be closed, and the next one made anew."""
    state = error.sqlstate or ""
    if state in _KEPT:
        return False
    return state in _DROPPED or state[:2] in _DROPPED_CLASSES or _stale_plan(error)


def state(error: BaseException | None) -> str:
    """Return the SQLSTATE of an error; empty when Postgres did not give one."""
    return (error.sqlstate or "") if isinstance(error, psycopg.Error) else ""


def locked(error: BaseException | None) -> bool:
    """Say whether an error is that a lock was waited for, and not for longer."""
    return isinstance(error, psycopg.errors.LockNotAvailable)


def _stale_plan(error: psycopg.Error) -> bool:
    # A migration changed a table under a prepared statement; feature not supported is all that Postgres calls it.
    return error.sqlstate == "0A000" and "cached plan" in str(error)
