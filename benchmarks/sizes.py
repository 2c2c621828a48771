"""How much of everything is measured: in full, in two minutes, or just to see that the bench starts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The counts of one kind of run.

    Args:
        name: of the kind.
        repeats: how often each row is measured, of which the median is shown.
        seconds: after which a row of closed loops ends, whatever is left.
        echoes: calls of an echo.
        lives: lives of a task, for each number of clients.
        clients: numbers of clients.
        clients_tls: numbers of those with mutual TLS.
        registered: sizes of graphs that are registered in one call.
        registered_in_calls: tasks that are registered in calls of a thousand.
        registered_alone: tasks that are registered one a call.
        children: of the one parent that ends.
        parents: of one child, that end one after another.
        latencies: tasks whose way to their start is timed.
        end_to_end: tasks of a graph that workers run.
        replayed: tasks whose events are replayed.
        subscribers: numbers of them in the live fan-out.
        page: tasks of a page.
        progress: tasks of the plan whose progress is asked.
        plans: that are listed.
        queries: how often each is asked.
        executions: that are created, and of which is reported, for each number of clients.
        listed: executions of the schema whose pages are listed.
        pages: how often one is.
        problems: that are submitted for each number of clients, and that modules work through.
        stored: how many tasks are stored for the rows of growth.
        steady: minutes of steady load; none is measured without.
    """

    name: str
    repeats: int
    seconds: float
    echoes: int
    lives: int
    clients: tuple[int, ...]
    clients_tls: tuple[int, ...]
    registered: tuple[int, ...]
    registered_in_calls: int
    registered_alone: int
    children: int
    parents: int
    latencies: int
    end_to_end: int
    replayed: int
    subscribers: tuple[int, ...]
    page: int
    progress: int
    plans: int
    queries: int
    executions: int
    listed: int
    pages: int
    problems: int
    stored: tuple[int, ...]
    steady: float = 0.0


FULL = Sizes(
    name="full",
    repeats=3,
    seconds=15.0,
    echoes=5_000,
    lives=1_500,
    clients=(1, 8, 32),
    clients_tls=(1, 8, 32),
    registered=(1_000, 10_000, 100_000),
    registered_in_calls=10_000,
    registered_alone=1_000,
    children=10_000,
    parents=10_000,
    latencies=200,
    end_to_end=5_000,
    replayed=100_000,
    subscribers=(1, 10, 100),
    page=5_000,
    progress=100_000,
    plans=1_000,
    queries=10,
    executions=1_000,
    listed=1_000,
    pages=500,
    problems=200,
    stored=(10_000, 100_000),
)

QUICK = Sizes(
    name="quick",
    repeats=1,
    seconds=2.0,
    echoes=1_000,
    lives=250,
    clients=(1, 8, 32),
    clients_tls=(8,),
    registered=(1_000, 5_000),
    registered_in_calls=5_000,
    registered_alone=150,
    children=2_500,
    parents=300,
    latencies=20,
    end_to_end=60,
    replayed=10_000,
    subscribers=(1, 10),
    page=5_000,
    progress=5_000,
    plans=200,
    queries=5,
    executions=150,
    listed=1_000,
    pages=100,
    problems=40,
    stored=(10_000,),
)

TINY = Sizes(
    name="tiny",
    repeats=1,
    seconds=1.0,
    echoes=20,
    lives=8,
    clients=(1, 2),
    clients_tls=(2,),
    registered=(22,),
    registered_in_calls=22,
    registered_alone=4,
    children=10,
    parents=4,
    latencies=2,
    end_to_end=8,
    replayed=30,
    subscribers=(1, 2),
    page=20,
    progress=22,
    plans=3,
    queries=2,
    executions=3,
    listed=22,
    pages=2,
    problems=2,
    stored=(200,),
)

GROWN = 1_000_000
"""The tasks that `GROWTH=1` stores besides."""
