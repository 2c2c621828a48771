"""SQL alone: the statements of a call as Postgres logged them, sent again by psycopg without gRPC around them.

What was logged is known for any checkout, whatever its code looks like. A life is captured once; for another task its
keys are put in the place of the captured ones, and ids that the server made are made anew.
"""

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import RawCursor

from benchmarks.errors import BenchError

UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENTRY = re.compile(r"^@@(?P<database>[^@]*)@@(?P<process>\d+)@@", re.MULTILINE)
_STATEMENT = re.compile(r"LOG:  (?:execute [^:]*|statement): (?P<text>.*)", re.DOTALL)
_PARAMETERS = re.compile(r"DETAIL:  [Pp]arameters: (?P<text>.*)", re.DOTALL)
_PARAMETER = re.compile(r"\$\d+ = (?:(?P<null>NULL)|'(?P<value>(?:[^']|'')*)')")
_SETTLE_SECONDS = 0.3
# Sessions report what they did once they have been idle for a second.
_REPORT_SECONDS = 1.2


@dataclass
class Statement:
    """A statement that a server sent.

    Args:
        text: with `$1` for its parameters.
        parameters: as text.
    """

    text: str
    parameters: tuple[str | None, ...] = ()


Transaction = list[Statement]


@dataclass(frozen=True)
class Captured:
    """What a side sent while something ran.

    Args:
        transactions: in the order of their ends, a statement outside of any counted as one.
    """

    transactions: Sequence[Transaction]

    @property
    def statements(self) -> int:
        """How many statements there were, without BEGIN and COMMIT."""
        return sum(len(_inner(transaction)) for transaction in self.transactions)

    def about(self, key: str) -> list[Transaction]:
        """Return the transactions whose parameters name a key: those of its calls, and none of the pumps."""
        return [
            transaction
            for transaction in self.transactions
            if any(key in (value or "") for statement in transaction for value in statement.parameters)
        ]

    def naming(self, text: str) -> list[Transaction]:
        """Return the transactions one of whose parameters is a text: that of a key which may stand in other numbers."""
        return [
            transaction
            for transaction in self.transactions
            if any(text == value for statement in transaction for value in statement.parameters)
        ]


def _inner(transaction: Transaction) -> Transaction:
    return [statement for statement in transaction if statement.text not in ("BEGIN", "COMMIT", "ROLLBACK")]


@contextmanager
def capturing(connection: "psycopg.Connection[Any]", log: Path) -> Iterator[Callable[[], Captured]]:
    """Have Postgres log all statements meanwhile; call what is given to learn those of the connection's database.

    Args:
        connection: of a superuser, in autocommit, whose own statements do not count.
        log: of Postgres.
    """
    start = log.stat().st_size
    database, own = connection.info.dbname, connection.info.backend_pid

    def captured() -> Captured:
        time.sleep(_SETTLE_SECONDS)  # the pumps' last round
        with log.open("rb") as file:
            file.seek(start)
            return _parse(file.read().decode(errors="replace"), database, own)

    connection.execute("ALTER SYSTEM SET log_statement = 'all'")
    connection.execute("SELECT pg_reload_conf()")
    time.sleep(_SETTLE_SECONDS)  # until all sessions have heard it
    start = log.stat().st_size
    try:
        yield captured
    finally:
        connection.execute("ALTER SYSTEM RESET log_statement")
        connection.execute("SELECT pg_reload_conf()")


def _parse(text: str, database: str, own: int) -> Captured:
    entries = list(_ENTRY.finditer(text))
    bounds = [*(entry.start() for entry in entries[1:]), len(text)]
    opened: dict[str, Transaction] = {}
    last: dict[str, Statement] = {}
    done: list[Transaction] = []
    for entry, bound in zip(entries, bounds, strict=True):
        process = entry["process"]
        if entry["database"] != database or process == str(own):
            continue
        body = text[entry.end() : bound].rstrip("\n").replace("\n\t", "\n").lstrip()
        if found := _PARAMETERS.match(body):
            if process in last:
                last[process].parameters = tuple(
                    None if each["null"] else each["value"].replace("''", "'")
                    for each in _PARAMETER.finditer(found["text"])
                )
            continue
        if not (found := _STATEMENT.match(body)):
            continue
        statement = last[process] = Statement(found["text"].strip())
        word = statement.text.upper()
        if word.startswith("BEGIN"):
            statement.text = "BEGIN"
            opened[process] = [statement]
        elif process in opened:
            opened[process].append(statement)
            if word in ("COMMIT", "ROLLBACK"):
                done.append(opened.pop(process))
        else:
            done.append([statement])
    return Captured(done)


@dataclass(frozen=True)
class Script:
    """A captured life, to be lived by other tasks.

    Args:
        transactions: of its calls.
        keys: those that belong to the life: the one that is given first, a task's or a number; then those of what it
            makes.
        kept: keys that stay as they are.
    """

    transactions: Sequence[Transaction]
    keys: Sequence[str]
    kept: frozenset[str]

    def of(self, key: str) -> list[Statement]:
        """Return the statements of the life of another task, or of whatever else has such a key."""
        fresh: dict[str, str] = {self.keys[0]: key}
        return [
            Statement(statement.text, tuple(self._renewed(value, fresh) for value in statement.parameters))
            for transaction in self.transactions
            for statement in transaction
        ]

    def _renewed(self, value: str | None, fresh: dict[str, str]) -> str | None:
        if value is None:
            return None
        if value in fresh:
            return fresh[value]

        def renew(found: re.Match[str]) -> str:
            key = found[0]
            return key if key in self.kept else fresh.setdefault(key, _another(key))

        value = UUID_TEXT.sub(renew, value)
        for key in filter(UUID_TEXT.fullmatch, self.keys):
            # In serialized messages, which Postgres writes in hexadecimal digits; those of a number may be anything.
            value = value.replace(key.encode().hex(), fresh.setdefault(key, _another(key)).encode().hex())
        return value


def _another(key: str) -> str:
    """Return a fresh id; one that begins with its time (version 7) keeps the time."""
    old, chance = uuid.UUID(key), uuid.uuid4().int
    if old.version != 7:
        return str(uuid.UUID(int=chance))
    return str(uuid.UUID(int=old.int & ~((1 << 42) - 1) | chance & ((1 << 42) - 1)))


def replay(url: str, lives: Sequence[Sequence[Statement]], threads: int, seconds: float) -> tuple[int, float]:
    """Send lives from so many threads, each on a connection of its own; return how many, and the seconds.

    Args:
        url: of the database.
        lives: to send.
        threads: how many.
        seconds: after which no new life is begun.

    Raises:
        BenchError: a statement is refused.
    """
    errors: list[psycopg.Error] = []
    lived: list[None] = []
    begun = 0.0
    ready = threading.Barrier(threads + 1)

    def work(own: Sequence[Sequence[Statement]]) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.prepare_threshold = 1
            cursor: Any = RawCursor(connection)
            ready.wait()
            try:
                for life in own:
                    if time.perf_counter() > begun + seconds:
                        break
                    for statement in life:
                        cursor.execute(statement.text, statement.parameters or None)
                    lived.append(None)
            except psycopg.Error as error:
                errors.append(error)

    workers = [threading.Thread(target=work, args=(lives[number::threads],)) for number in range(threads)]
    for worker in workers:
        worker.start()
    begun = time.perf_counter()
    ready.wait()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - begun
    if errors:
        raise BenchError(f"the captured statements cannot be sent again: {errors[0]}")
    return len(lived), took


@contextmanager
def counting(connection: "psycopg.Connection[Any]") -> Iterator[dict[str, float]]:
    """Count what Postgres writes meanwhile; filled when the block ends.

    The counts: `wal` bytes, `multixacts` (members), `updates` and `hot` ones of all tables. Whole pages, which Postgres
    writes after each of its checkpoints, are left out: how many there are is a matter of their pace.
    """
    connection.execute("ALTER SYSTEM SET full_page_writes = off")
    connection.execute("SELECT pg_reload_conf()")
    counts: dict[str, float] = {}
    try:
        multixacts = _multixacts(connection)
        before = _counters(connection)
        yield counts
        after = _counters(connection)
        counts |= {name: after[name] - before[name] for name in after}
        counts["multixacts"] = _multixacts(connection) - multixacts
    finally:
        connection.execute("ALTER SYSTEM RESET full_page_writes")
        connection.execute("SELECT pg_reload_conf()")


def _counters(connection: "psycopg.Connection[Any]") -> Mapping[str, float]:
    time.sleep(_REPORT_SECONDS)
    updates, hot, wal = connection.execute("""
        SELECT sum(n_tup_upd)::float8, sum(n_tup_hot_upd)::float8, (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8
        FROM pg_stat_user_tables
    """).fetchone() or (0.0, 0.0, 0.0)
    return {"updates": updates, "hot": hot, "wal": wal}


def _multixacts(connection: "psycopg.Connection[Any]") -> float:
    connection.execute("CHECKPOINT")
    query = "SELECT next_multi_offset::text::float8 FROM pg_control_checkpoint()"
    (offset,) = connection.execute(query).fetchone() or (0.0,)
    return float(offset)
