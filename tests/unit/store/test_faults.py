"""What each SQLSTATE means: every class is in the table, and every error of psycopg gets a verdict."""

import psycopg
import pytest
from psycopg import errors

from orchestrator.store.faults import CLASSES, CODES, Verdict, drops, verdict

KNOWN = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, psycopg.Error) and kind.sqlstate
]


def test_psycopg_knows_the_codes():
    assert len(KNOWN) > 200


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: f"{kind.sqlstate}-{kind.__name__}")
def test_every_class_is_in_the_table(kind):
    assert kind.sqlstate[:2] in CLASSES
    assert verdict(kind("words")) is CODES.get(kind.sqlstate, CLASSES[kind.sqlstate[:2]])


@pytest.mark.parametrize(
    ("kind", "expected", "dropped"),
    [
        (errors.ReadOnlySqlTransaction, Verdict.PASSES, True),
        (errors.AdminShutdown, Verdict.PASSES, True),
        (errors.CrashShutdown, Verdict.PASSES, True),
        (errors.CannotConnectNow, Verdict.PASSES, True),
        (errors.IdleSessionTimeout, Verdict.PASSES, True),
        (errors.IdleInTransactionSessionTimeout, Verdict.PASSES, True),
        (errors.ConnectionFailure, Verdict.PASSES, True),
        (errors.ProtocolViolation, Verdict.PASSES, True),
        (errors.InvalidSqlStatementName, Verdict.PASSES, True),
        (errors.DuplicatePreparedStatement, Verdict.PASSES, True),
        (errors.QueryCanceled, Verdict.PASSES, False),
        (errors.TooManyConnections, Verdict.PASSES, False),
        (errors.DiskFull, Verdict.PASSES, False),
        (errors.OutOfMemory, Verdict.PASSES, False),
        (errors.LockNotAvailable, Verdict.PASSES, False),
        (errors.IoError, Verdict.PASSES, False),
        (errors.InvalidPassword, Verdict.PASSES, False),
        (errors.SerializationFailure, Verdict.REPEAT, False),
        (errors.DeadlockDetected, Verdict.REPEAT, False),
        (errors.UniqueViolation, Verdict.CONFLICT, False),
        (errors.CharacterNotInRepertoire, Verdict.VALUE, False),
        (errors.NumericValueOutOfRange, Verdict.VALUE, False),
        (errors.ProgramLimitExceeded, Verdict.VALUE, False),
        (errors.UndefinedTable, Verdict.LASTS, False),
        (errors.InsufficientPrivilege, Verdict.LASTS, False),
        (errors.SyntaxError, Verdict.LASTS, False),
        (errors.CheckViolation, Verdict.LASTS, False),
        (errors.InFailedSqlTransaction, Verdict.LASTS, False),
        (errors.DataCorrupted, Verdict.LASTS, False),
        (errors.FeatureNotSupported, Verdict.LASTS, False),
    ],
)
def test_the_verdict(kind, expected, dropped):
    assert verdict(kind("words")) is expected
    assert drops(kind("words")) is dropped


def test_a_plan_that_a_migration_made_stale_passes():
    error = errors.FeatureNotSupported("cached plan must not change result type")
    assert verdict(error) is Verdict.PASSES
    assert drops(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.OperationalError("consuming input failed: server closed the connection"), Verdict.PASSES),
        (errors.ConnectionTimeout("connection timeout expired"), Verdict.PASSES),
        (psycopg.InterfaceError("the connection is closed"), Verdict.PASSES),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), Verdict.VALUE),
        (psycopg.ProgrammingError("the query has 1 placeholders but 2 parameters were passed"), Verdict.LASTS),
        (ValueError("not of the database"), Verdict.LASTS),
        (None, Verdict.LASTS),
    ],
)
def test_the_verdict_on_what_the_driver_says(error, expected):
    assert verdict(error) is expected
