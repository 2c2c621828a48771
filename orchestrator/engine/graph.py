"""Order in a graph of tasks: parents before children."""

from collections import deque
from collections.abc import Collection, Mapping
from typing import TypeVar

Node = TypeVar("Node")


def sort(parents: Mapping[Node, Collection[Node]]) -> list[Node]:
    """Sort nodes so that parents come before their children (Kahn's algorithm, O(V+E)).

    Args:
        parents: node -> its distinct parents; parents that are no key are ignored. Nodes that nothing orders
            keep the order of the mapping.

    Returns:
        The nodes that are in no cycle and below none; fewer than given where there is a cycle.
    """
    children: dict[Node, list[Node]] = {}
    missing: dict[Node, int] = {}
    ready: deque[Node] = deque()
    for node, above in parents.items():
        count = 0
        for parent in above:
            if parent in parents:
                children.setdefault(parent, []).append(node)
                count += 1
        if count:
            missing[node] = count
        else:
            ready.append(node)
    ordered = []
    while ready:
        node = ready.popleft()
        ordered.append(node)
        for child in children.get(node, ()):
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    return ordered
