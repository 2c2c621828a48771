from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine import graph


@st.composite
def acyclic(draw):
    """Nodes in a random order, each with parents that come before it in another order."""
    size = draw(st.integers(0, 30))
    parents = {node: draw(st.sets(st.integers(0, node - 1))) if node else set() for node in range(size)}
    return {node: parents[node] for node in draw(st.permutations(range(size)))}


@given(acyclic())
def test_parents_come_before_their_children(parents):
    order = graph.sort(parents)
    assert sorted(order) == sorted(parents)
    place = {node: index for index, node in enumerate(order)}
    assert all(place[parent] < place[node] for node, above in parents.items() for parent in above)


@given(acyclic(), st.data())
def test_a_cycle_and_all_below_it_are_left_out(parents, data):
    looped = dict(parents)
    looped["a"], looped["b"], looped["below"] = {"b"}, {"a"}, {"a"}
    assert set(graph.sort(looped)) == set(parents)


def test_nodes_that_nothing_orders_keep_their_order():
    assert graph.sort({"c": (), "a": (), "b": ()}) == ["c", "a", "b"]


def test_parents_from_elsewhere_are_ignored():
    assert graph.sort({"a": ("elsewhere",)}) == ["a"]


def test_a_task_that_is_its_own_parent_is_a_cycle():
    assert graph.sort({"a": ("a",)}) == []
