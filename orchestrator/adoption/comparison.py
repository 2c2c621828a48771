"""Whether both servers answer the same: every list of the contract, there and here."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.lists import pages
from orchestrator.compute import (
    data_managers,
    data_samples,
    functions,
    organizations,
    performances,
    plans,
    tasks,
)
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.trace import reading

_SHOWN = 5


@dataclass(frozen=True)
class _List:
    noun: str
    stub: str
    method: str
    asked: type[Any]
    field: str
    key: Callable[[Any], str]
    here: Callable[[Transaction, Any], Any]


def _own(asset: Any) -> str:
    return str(asset.key)


_LISTS = (
    _List("functions", "functions", "QueryFunctions", pb.QueryFunctionsParam, "Functions", _own, functions.query),
    _List(
        "data managers",
        "data_managers",
        "QueryDataManagers",
        pb.QueryDataManagersParam,
        "data_managers",
        _own,
        data_managers.query,
    ),
    _List(
        "data samples",
        "data_samples",
        "QueryDataSamples",
        pb.QueryDataSamplesParam,
        "data_samples",
        _own,
        data_samples.query,
    ),
    _List("compute plans", "plans", "QueryPlans", pb.QueryPlansParam, "plans", _own, plans.query),
    _List("tasks", "tasks", "QueryTasks", pb.QueryTasksParam, "tasks", _own, tasks.query),
    _List(
        "performances",
        "performances",
        "QueryPerformances",
        pb.QueryPerformancesParam,
        "Performances",
        lambda asset: f"{asset.compute_task_key}|{asset.compute_task_output_identifier}",
        performances.query,
    ),
    _List("events", "events", "QueryEvents", pb.QueryEventsParam, "events", lambda event: event.id, reading.query),
)


@dataclass(frozen=True)
class Compared:
    """A list on both sides.

    Args:
        noun: of its items.
        there: how many the other server has.
        here: how many there are here.
        differ: the keys of those that one side alone has, or that are not the same; the first few.
        differing: how many these are in all.
    """

    noun: str
    there: int
    here: int
    differ: tuple[str, ...]
    differing: int


def compare(client: Client, database: Database) -> Iterator[Compared]:
    """Yield each list of the contract as both sides answer it.

    Args:
        client: of the other server; its organization and channel are those here too.
        database: of this one.

    Raises:
        CallError: the other server does not answer.
    """

    functions_there: set[str] = set()

    def shown(asset: Any) -> bool:
        # Clients of ours stop at the profiling step of what is no function: it is kept here, and not shown.
        profiled = isinstance(asset, pb.Event) and asset.asset_kind == pb.ASSET_PROFILING_STEP
        return not profiled or asset.asset_key in functions_there

    def run(use_case: Callable[[Transaction, Any], Any], asked: Any) -> Any:
        return database.run(client.organization, client.channel, lambda transaction: use_case(transaction, asked))

    everybody = pb.GetAllOrganizationsParam()
    yield _compared(
        "organizations",
        _told(client.organizations.GetAllOrganizations(everybody).organizations, lambda asset: asset.id),
        _told(run(organizations.get_all, everybody).organizations, lambda asset: asset.id),
    )
    for each in _LISTS:
        call = getattr(getattr(client, each.stub), each.method)
        there = _told(filter(shown, pages(call, each.asked(), each.field)), each.key)
        if each.asked is pb.QueryFunctionsParam:
            functions_there.update(there)
        use_case = each.here
        here = _told(
            pages(lambda asked, use_case=use_case: run(use_case, asked), each.asked(), each.field),  # type: ignore[misc]
            each.key,
        )
        yield _compared(each.noun, there, here)


def _told(assets: Iterable[Any], key: Callable[[Any], str]) -> dict[str, bytes]:
    return {key(asset): _digest(asset) for asset in assets}


def _digest(asset: Message) -> bytes:
    # Bytes, not messages: a performance that is not a number is like itself, and long lists take little memory.
    return hashlib.sha256(asset.SerializeToString(deterministic=True)).digest()


def _compared(noun: str, there: dict[str, bytes], here: dict[str, bytes]) -> Compared:
    differ = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
    return Compared(noun, len(there), len(here), tuple(differ[:_SHOWN]), len(differ))
