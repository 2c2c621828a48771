"""Every call: pages, their tokens and their order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.messages import SCORE, new_data_sample, new_key, new_performance, new_plan, new_task, samples, tasks
from tests.kit.organization import Organization


@dataclass(frozen=True)
class Listing:
    """A query, and how to add rows to it.

    Args:
        request: makes the query from page_token and page_size.
        add: adds a number of rows, on every call after all that exist.
    """

    request: Callable[..., Any]
    add: Callable[[Organization, int], None]


def add_plans(org: Organization, count: int) -> None:
    for _ in range(count):
        org.register_plan()


def add_functions(org: Organization, count: int) -> None:
    for _ in range(count):
        org.register_function(pb.FUNCTION_STATUS_WAITING)


def add_data_managers(org: Organization, count: int) -> None:
    for _ in range(count):
        org.register_data_manager()


def add_data_samples(org: Organization, count: int) -> None:
    manager = org.register_data_manager()
    org.send(samples(*(new_data_sample(manager) for _ in range(count))))


def add_tasks(org: Organization, count: int) -> None:
    function, plan = org.register_function(), org.register_plan()
    org.send(tasks(*(new_task(function, plan) for _ in range(count))))


def add_performances(org: Organization, count: int) -> None:
    function = org.register_function(outputs={f"score {number}": SCORE for number in range(count)})
    task = org.register_task(function, org.register_plan())
    org.start(task)
    for number in range(count):
        org.send(new_performance(task, compute_task_output_identifier=f"score {number}"))


LISTINGS = {
    "plans": Listing(pb.QueryPlansParam, add_plans),
    "functions": Listing(pb.QueryFunctionsParam, add_functions),
    "data managers": Listing(pb.QueryDataManagersParam, add_data_managers),
    "data samples": Listing(pb.QueryDataSamplesParam, add_data_samples),
    "tasks": Listing(pb.QueryTasksParam, add_tasks),
    "performances": Listing(pb.QueryPerformancesParam, add_performances),
    "events": Listing(pb.QueryEventsParam, add_plans),
    "events, descending": Listing(lambda **paging: pb.QueryEventsParam(sort=pb.DESCENDING, **paging), add_plans),
}
every_listing = pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)


def everything(org: Organization, listing: Listing) -> list[Any]:
    (rows,) = org.pages(listing.request(page_size=1000))
    return rows


@every_listing
def test_page_size_0_means_50(org: Organization, listing: Listing):
    listing.add(org, 51)
    pages = list(org.pages(listing.request()))
    assert len(pages) == 2
    assert len(pages[0]) == 50
    assert pages[0] + pages[1] == everything(org, listing)


@every_listing
def test_pages_make_the_whole(org: Organization, listing: Listing):
    listing.add(org, 5)
    whole = everything(org, listing)
    assert len(whole) >= 5
    for page_size in range(1, len(whole) + 1):
        pages = list(org.pages(listing.request(page_size=page_size)))
        assert [row for page in pages for row in page] == whole
        assert {len(page) for page in pages[:-1]} <= {page_size}
        assert pages[-1], "the token of the last row's page must be empty"


@every_listing
def test_a_huge_page_size_gives_what_there_is(org: Organization, listing: Listing):
    listing.add(org, 2)
    (rows,) = org.pages(listing.request(page_size=2**32 - 1))
    assert rows == everything(org, listing)


@every_listing
def test_pages_stay_stable_while_rows_are_added(org: Organization, listing: Listing):
    listing.add(org, 5)
    before = everything(org, listing)
    pages = org.pages(listing.request(page_size=2))
    seen = next(pages)
    listing.add(org, 3)
    seen += next(pages)
    listing.add(org, 3)
    for page in pages:
        seen += page
    assert seen[: len(before)] == before
    identities = [row.SerializeToString(deterministic=True) for row in seen]
    assert len(set(identities)) == len(identities)


def large(text: str) -> dict[str, str]:
    """Metadata of about a MiB."""
    return {f"{text} {number}": "x" * 100 for number in range(9_000)}


LARGE = {
    "plans": (pb.QueryPlansParam, lambda org, text: org.register_plan(metadata=large(text))),
    "functions": (
        pb.QueryFunctionsParam,
        lambda org, text: org.register_function(pb.FUNCTION_STATUS_WAITING, metadata=large(text)),
    ),
    "tasks": (
        pb.QueryTasksParam,
        lambda org, text: org.register_task(org.register_function(), org.register_plan(), metadata=large(text)),
    ),
    "events": (pb.QueryEventsParam, lambda org, text: org.register_plan(metadata=large(text))),
}


@pytest.mark.parametrize(("request_", "add"), LARGE.values(), ids=LARGE)
def test_a_page_is_never_too_large_to_be_read(org: Organization, request_: Callable[..., Any], add: Any):
    """Clients of gRPC accept 4 MiB by themselves; what is larger stands alone."""
    keys = [add(org, f"text {number}").key for number in range(6)]
    pages = list(org.pages(request_(page_size=1000)))
    assert len(pages) > 1
    for page in pages:
        assert sum(row.ByteSize() for row in page) < 4 * 1024 * 1024
    whole = [row for page in pages for row in page]
    named = [row.asset_key if isinstance(row, pb.Event) else row.key for row in whole]
    assert [key for key in named if key in keys] == keys
    assert len({row.SerializeToString(deterministic=True) for row in whole}) == len(whole)
    if request_ is pb.QueryEventsParam:
        assert org.all(pb.QueryEventsParam(page_size=1000, sort=pb.DESCENDING)) == whole[::-1]


@every_listing
@pytest.mark.parametrize(
    "token", ["?", "x" * 40, "MTIz", "bm9uc2Vuc2U=", "\0", "é" * 10, "10", "-1", "{}", "a" * 100_000]
)
def test_a_malformed_token_is_refused(org: Organization, listing: Listing, token: str):
    org.refused(listing.request(page_token=token), "OE0003")


@every_listing
def test_a_damaged_token_is_refused(org: Organization, listing: Listing):
    listing.add(org, 2)
    token = org.send(listing.request(page_size=1)).next_page_token
    assert token
    org.refused(listing.request(page_token=token[: len(token) // 2]), "OE0003")
    org.refused(listing.request(page_token=f"{token}?"), "OE0003")


@pytest.mark.parametrize("name", ["plans", "functions", "data managers", "data samples", "tasks", "performances"])
def test_rows_are_in_order_of_creation(org: Organization, name: str):
    listing = LISTINGS[name]
    seen: list[Any] = []
    for _ in range(3):
        listing.add(org, 1)
        rows = everything(org, listing)
        assert rows[:-1] == seen
        seen = rows
    dates = [row.creation_date.ToNanoseconds() for row in seen]
    assert dates == sorted(dates)


@pytest.mark.parametrize("name", ["data samples", "tasks"])
def test_rows_of_one_moment_are_in_order_of_their_keys(org: Organization, name: str):
    listing = LISTINGS[name]
    listing.add(org, 20)
    keys = [row.key for row in everything(org, listing)]
    assert keys == sorted(keys)


def test_events_are_ascending_by_timestamp_and_id_unless_asked_otherwise(org: Organization):
    add_tasks(org, 20)
    whole = org.all(pb.QueryEventsParam(page_size=1000))
    order = [(event.timestamp.ToNanoseconds(), event.id) for event in whole]
    assert order == sorted(order)
    assert org.all(pb.QueryEventsParam(page_size=7, sort=pb.ASCENDING)) == whole
    assert org.all(pb.QueryEventsParam(page_size=7, sort=pb.DESCENDING)) == whole[::-1]


def test_plans_of_an_owner(org: Organization, other: Organization):
    own, theirs = org.register_plan(), other.register_plan()
    for owner, found in (("org-1", [own]), ("org-2", [theirs]), ("org-3", []), ("", [own, theirs])):
        assert org.all(pb.QueryPlansParam(filter=pb.PlanQueryFilter(owner=owner))) == found


def test_data_samples_by_key(org: Organization):
    manager = org.register_data_manager()
    first, second, _ = (org.register_data_sample(manager) for _ in range(3))
    keys = [second.key, first.key, new_key()]
    assert org.all(pb.QueryDataSamplesParam(filter=pb.DataSampleQueryFilter(keys=keys))) == [first, second]


def test_tasks_by_worker_status_plan_and_function(org: Organization, other: Organization):
    function, plan = org.register_function(), org.register_plan()
    mine = org.register_task(function, plan)
    theirs = org.register_task(function, plan, worker="org-2")
    elsewhere = org.register_task(org.register_function(), org.send(new_plan()))
    org.start(mine)
    mine = org.task(mine)

    def found(**filters: Any) -> list[pb.ComputeTask]:
        return other.all(pb.QueryTasksParam(filter=pb.TaskQueryFilter(**filters)))

    assert found() == [mine, theirs, elsewhere]
    assert found(worker="org-2") == [theirs]
    assert found(status=pb.STATUS_EXECUTING) == [mine]
    assert found(status=pb.STATUS_DONE) == []
    assert found(compute_plan_key=plan.key) == [mine, theirs]
    assert found(function_key=elsewhere.function_key) == [elsewhere]
    assert found(worker="org-1", compute_plan_key=plan.key, status=pb.STATUS_EXECUTING) == [mine]
    assert found(worker="org-1", status=pb.STATUS_EXECUTING, function_key=elsewhere.function_key) == []
    assert found(worker="nobody") == []


def test_performances_of_a_task_and_of_an_output(org: Organization):
    function = org.register_function(outputs={"score": SCORE, "loss": SCORE})
    plan = org.register_plan()
    first, second = (org.register_task(function, plan) for _ in range(2))
    made = []
    for task in (first, second):
        org.start(task)
        for identifier in ("score", "loss"):
            made.append(org.send(new_performance(task, compute_task_output_identifier=identifier)))

    def found(**filters: Any) -> list[pb.Performance]:
        return org.all(pb.QueryPerformancesParam(filter=pb.PerformanceQueryFilter(**filters)))

    assert found() == made
    assert found(compute_task_key=first.key) == made[:2]
    assert found(compute_task_output_identifier="loss") == made[1::2]
    assert found(compute_task_key=second.key, compute_task_output_identifier="score") == [made[2]]
    assert found(compute_task_key=new_key()) == []
