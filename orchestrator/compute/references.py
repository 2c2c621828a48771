"""What the tasks of one call refer to, told by one look at each of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from orchestrator import protos as pb
from orchestrator.core.errors import ConflictError

Graph: TypeAlias = Mapping[str, tuple[str, ...]]
"""The tasks of a call by their keys, each with the keys of its parents, each once, in the order of its inputs."""


class References:
    """Keys of what tasks refer to.

    Args:
        tasks: valid by themselves, keys in lower case; each is looked at once.

    Raises:
        ConflictError: two have the same key.

    Attributes:
        graph: of the tasks.
        functions: that they run.
        plans: that they belong to.
        assets: by function and input, what is given by its key; each key once, in the order in which they came.
    """

    def __init__(self, tasks: Iterable[pb.NewComputeTask]) -> None:
        self.functions: dict[str, None] = {}
        self.plans: dict[str, None] = {}
        self.assets: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        graph: dict[str, tuple[str, ...]] = {}
        # Each access to a field makes a string of its own.
        same: dict[str, str] = {}
        for new in tasks:
            key, function = new.key, new.function_key
            if key in graph:
                raise ConflictError(f"task {key} is given twice")
            self.functions[function] = None
            self.plans[new.compute_plan_key] = None
            above: dict[str, None] = {}
            for given in new.inputs:
                if given.HasField("parent_task_output"):
                    parent = given.parent_task_output.parent_task_key
                    above[same.setdefault(parent, parent)] = None
                else:
                    self.assets[function, given.identifier][given.asset_key] = None
            graph[same.setdefault(key, key)] = tuple(above)
        self.graph: Graph = graph
