"""The graph of kinds, and when a stage is ready."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.problems import graph

APP, CARBON, CONSTRAINTS, RESOURCES, METADATA, MODEL = range(6)
KIND = st.sampled_from(sorted(graph.KINDS))


def test_what_each_kind_needs():
    needs = {kind.name: [(need.source, need.baseline) for need in kind.needs] for kind in graph.KINDS.values()}
    user = (graph.USER_INPUT, False)
    assert needs == {
        "APP_REQUIREMENTS": [user],
        "CARBON_FOOTPRINT": [(MODEL, False), user, (RESOURCES, False)],
        "HW_CONSTRAINTS": [user],
        "HW_RESOURCES": [(MODEL, False), (APP, False), (CONSTRAINTS, False)],
        "ML_MODEL_METADATA": [user],
        "ML_MODEL": [
            (METADATA, False),
            (APP, False),
            (CONSTRAINTS, False),
            (MODEL, True),
            (RESOURCES, True),
            (CARBON, True),
        ],
    }
    assert graph.below(MODEL) == {MODEL, RESOURCES, CARBON}
    assert graph.below(METADATA) == {METADATA, MODEL, RESOURCES, CARBON}
    assert graph.ranks() == {APP: 0, CONSTRAINTS: 0, METADATA: 0, MODEL: 1, RESOURCES: 2, CARBON: 3}


@given(st.permutations(sorted(graph.KINDS)))
def test_each_kind_is_ready_once_whatever_the_order_of_arrival(arriving: list[int]):
    there: set[int] = set()
    ran: list[int] = []
    waiting = list(arriving)
    while waiting:
        ready = [kind for kind in waiting if not graph.missing(kind, there)]
        assert ready, "nothing can run"
        ran.append(ready[-1])
        there.add(ready[-1])
        waiting.remove(ready[-1])
    assert sorted(ran) == sorted(graph.KINDS)
    for kind in ran:
        assert all(ran.index(parent) < ran.index(kind) for parent in graph.KINDS[kind].parents)


@given(KIND, st.lists(KIND))
def test_what_comes_twice_changes_nothing(kind: int, arrived: list[int]):
    assert graph.missing(kind, arrived) == graph.missing(kind, set(arrived))
    assert graph.missing(kind, [*arrived, *arrived]) == graph.missing(kind, arrived)


def test_names():
    for name in ("ML_MODEL", "ML_MODEL_NODE", "5"):
        assert graph.named(name) is graph.KINDS[MODEL]
    for name in ("", "6", "7", "8", "9", "ml_model", "ORCHESTRATOR"):
        assert graph.named(name) is None
