"""A transaction that meets a deadlock or a serialization failure is tried again, and its caller never knows."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from sqlalchemy import text

from orchestrator.compute import plans
from orchestrator.core.errors import ConflictError
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.store.database import UnavailableError
from orchestrator.trace import places
from tests.kit.database import deadlocks, names_of
from tests.kit.messages import new_key, new_plan


class Meeting:
    """Two transactions wait for each other once; one that runs a second time does not wait."""

    def __init__(self) -> None:
        self._barrier = Barrier(2)

    def attend(self) -> None:
        with suppress(BrokenBarrierError):
            self._barrier.wait(60)
        self._barrier.abort()


def test_the_victim_of_a_deadlock_is_tried_again(database: Database):
    first, second = new_key(), new_key()
    for key in (first, second):
        register(database, key)
    met = Meeting()

    def rename(keys: tuple[str, str], name: str) -> str:
        def use_case(transaction: Transaction) -> None:
            for index, key in enumerate(keys):
                plans.update(transaction, plans.pb.UpdateComputePlanParam(key=key, name=name))
                if index == 0:
                    met.attend()

        database.run("org-1", "ours", use_case)
        return name

    before = deadlocks(database)
    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(rename, keys, name) for keys, name in (((first, second), "a"), ((second, first), "b"))]
        assert [call.result(60) for call in calls] == ["a", "b"]
    assert deadlocks(database) > before, "the calls did not meet"
    # The winner's names were both overwritten by the one that was tried again, and each rename is told once.
    names = {plan.name for plan in (get(database, first), get(database, second))}
    assert len(names) == 1
    with database.engine.begin() as connection:
        places.place(connection, 100)
        told = names_of(places.read_after(connection, 0, 100))
    assert sorted(told) == sorted([first, second] * 3)


def test_the_same_keys_in_another_order_are_a_conflict(database: Database):
    keys = (new_key(), new_key())
    met = Meeting()

    def register_both(keys: tuple[str, ...]) -> str:
        def use_case(transaction: Transaction) -> None:
            for index, key in enumerate(keys):
                plans.register(transaction, new_plan(key=key))
                if index == 0:
                    met.attend()

        try:
            database.run("org-1", "ours", use_case)
        except ConflictError:
            return "OE0006"
        return "OK"

    with ThreadPoolExecutor() as threads:
        assert sorted(threads.map(register_both, (keys, keys[::-1]))) == ["OE0006", "OK"]


def test_what_never_ends_is_given_up_after_the_budget(database: Database):
    attempts = []

    def use_case(transaction: Transaction) -> None:
        attempts.append(transaction)
        transaction.connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    with pytest.raises(UnavailableError, match="try again"):
        database.run("org-1", "ours", use_case)
    assert len(attempts) > 5


def register(database: Database, key: str) -> None:
    database.run("org-1", "ours", lambda transaction: plans.register(transaction, new_plan(key=key)))


def get(database: Database, key: str) -> Any:
    request = plans.pb.GetComputePlanParam(key=key)
    return database.run("org-1", "ours", lambda transaction: plans.get(transaction, request))
