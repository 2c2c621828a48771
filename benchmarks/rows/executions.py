"""Executions over HTTP: their creation, the reports of their pods, and the pages of their list.

The yardstick is the floor: as many answers of the same server with nothing behind them, and the statements alone, sent
by psycopg from as many threads.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks import portal, sql
from benchmarks.clients import Driven
from benchmarks.errors import BenchError
from benchmarks.exchanges import ROOT, Exchange, drive
from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import metered, once, replayed
from benchmarks.requests import new_key
from benchmarks.side import Side
from benchmarks.sizes import Sizes
from benchmarks.sql import UUID_TEXT, Captured, Script, Transaction
from benchmarks.stage import Stage

_PAGE = 100
_FEW = 10
_CAPTURED = 3
_MOST_CLIENTS = 8


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows: creations and reports for each number of clients, and a page of a list."""
    clients = [each for each in sizes.clients if each <= _MOST_CLIENTS]
    return [
        *(
            Row(
                f"executions create {count}",
                f"executions with a file of variables, each a multipart POST: {count} clients",
                partial(_creations, count),
                needs="executions",
            )
            for count in clients
        ),
        *(
            Row(
                f"executions report {count}",
                f"that an execution runs, and that it has succeeded: {count} clients",
                partial(_reports, count),
                needs="executions",
            )
            for count in clients
        ),
        Row(
            "executions list",
            f"a page of {_PAGE} of the {sizes.listed:,} executions of a schema",
            _pages,
            needs="executions",
        ),
    ]


def _creations(clients: int, stage: Stage, side: Side) -> Numbers:
    create = portal.creation(portal.schema(side))
    done = _driven(stage, side, clients, [[create]] * stage.sizes.executions)

    def alone() -> tuple[float, float]:
        name = portal.schema(side)
        # Several, so that the last is made as all but the first are.
        captured = _captured(stage, side, [[portal.creation(name)]] * _CAPTURED)
        transaction = _expected(captured.naming(name), _CAPTURED)[-1]
        made = UUID_TEXT.findall(" ".join(value or "" for each in transaction for value in each.parameters))
        script = Script([transaction], list(dict.fromkeys(made)), frozenset())
        lives = [script.of(new_key()) for _ in range(stage.sizes.executions)]
        return replayed(stage, side, lives, clients)

    return _numbers(stage, side, clients, done, ("creations", "creation"), alone)


def _reports(clients: int, stage: Stage, side: Side) -> Numbers:
    count = stage.sizes.executions
    done = _driven(stage, side, clients, [portal.reports(each) for each in portal.pending(stage, side, count)])

    def alone() -> tuple[float, float]:
        # Some, so that the number of the last is none of those that stand for states.
        id_ = portal.pending(stage, side, _FEW)[0]
        captured = _captured(stage, side, [portal.reports(id_)])
        script = Script(_expected(captured.naming(id_), len(portal.reports(id_))), [id_], frozenset())
        ids = portal.pending(stage, side, count)
        rate, processor = replayed(stage, side, [script.of(each) for each in ids], clients)
        if (state := portal.state(side, ids[0])) != "succeeded":
            raise BenchError(f"the captured statements, sent again, left an execution {state}: SQL alone says nothing")
        return rate * len(script.transactions), processor / len(script.transactions)

    return _numbers(stage, side, clients, done, ("reports", "report"), alone)


def _pages(stage: Stage, side: Side) -> Numbers:
    few, many = (
        str(once(side, ("executions", count), partial(portal.store, stage, side, count)))
        for count in (_FEW, stage.sizes.listed)
    )
    done = _driven(stage, side, 1, [[portal.page(many, _PAGE)]] * stage.sizes.pages)
    of_few, of_many = (_page_script(stage, side, name) for name in (few, many))

    def alone() -> tuple[float, float]:
        statements = [statement for transaction in of_many for statement in transaction]
        return replayed(stage, side, [statements] * stage.sizes.pages, 1)

    least, most = (float(Captured(each).statements) for each in (of_few, of_many))
    return {
        **_numbers(stage, side, 1, done, ("pages", "page"), alone),
        "page, p50": Number(statistics.median(done.latencies) * 1000, "ms"),
        f"statements, {_FEW} stored": Number(least, "statements"),
        f"statements, {stage.sizes.listed:,} stored": Number(most, "statements", least, f"with {_FEW} stored"),
    }


def _page_script(stage: Stage, side: Side, schema: str) -> Sequence[Transaction]:
    captured = _captured(stage, side, [[portal.page(schema, _PAGE)]])
    found = captured.naming(schema)
    if not found:
        raise BenchError(f"no statement of a page of {side.name} names its schema")
    return found


def _numbers(
    stage: Stage,
    side: Side,
    clients: int,
    done: Driven,
    nouns: tuple[str, str],
    alone: Callable[[], tuple[float, float]],
) -> Numbers:
    """Return what is said of calls.

    Args:
        stage: of the run.
        side: that answered.
        clients: how many made them.
        done: what they did.
        nouns: many of what a call does, and one.
        alone: finds how many calls' statements alone are done in a second, and Postgres' seconds of processor for each.
    """
    answers, processor = _answers(stage, side, clients)
    many, one = nouns
    floor, sql_processor = None, None
    try:
        statements, sql_processor = stage.once((many, side.name, clients), alone)
        floor = 1 / (1 / answers + 1 / statements)
        beside = f"an answer {answers:,.0f} and SQL {statements:,.0f}"
    except BenchError as error:
        # The calls themselves were measured all the same.
        beside = f"no floor: {error}"
    unit = f"µs a {one}"
    return {
        many: Number(done.calls / done.seconds, f"{many}/s", floor, beside),
        "server's processor": Number(done.server / done.calls * 1e6, unit, processor * 1e6, "an answer's"),
        "Postgres' processor": Number(
            done.database / done.calls * 1e6, unit, sql_processor and sql_processor * 1e6, "SQL alone"
        ),
    }


def _answers(stage: Stage, side: Side, clients: int) -> tuple[float, float]:
    """Return how many answers a second the server gives with nothing behind them, and its seconds of processor each."""

    def find() -> tuple[float, float]:
        done = _driven(stage, side, clients, [[ROOT]] * stage.sizes.echoes)
        return done.calls / done.seconds, done.server / done.calls

    return stage.once(("answers", side.name, clients), find)


def _driven(stage: Stage, side: Side, clients: int, lives: Sequence[Sequence[Exchange]]) -> Driven:
    return metered(stage, side, lambda: stage.run(drive, side.http, clients, lives, stage.sizes.seconds))


def _captured(stage: Stage, side: Side, lives: Sequence[Sequence[Exchange]]) -> Captured:
    """Have one client live while Postgres logs; return what it logged."""
    with stage.connect(side) as connection, sql.capturing(connection, stage.postgres_log) as captured:
        _driven(stage, side, 1, lives)
        return captured()


def _expected(transactions: list[Transaction], count: int) -> list[Transaction]:
    if len(transactions) != count:
        raise BenchError(f"{len(transactions)} transactions were logged of {count} calls")
    return transactions
