"""What the tasks of one call are checked against, in a form that costs little each time that it is asked."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from orchestrator import protos as pb
from orchestrator.core import permissions


class Input(NamedTuple):
    """One input that a function declares."""

    kind: "pb.AssetKind.ValueType"
    multiple: bool
    optional: bool


class Output(NamedTuple):
    """One output that a function declares."""

    kind: "pb.AssetKind.ValueType"
    multiple: bool


class Declared:
    """What a function declares, as tasks are checked against it.

    Args:
        function: as it is registered.
    """

    def __init__(self, function: pb.Function) -> None:
        self.inputs = {name: Input(spec.kind, spec.multiple, spec.optional) for name, spec in function.inputs.items()}
        self.outputs = {name: Output(spec.kind, spec.multiple) for name, spec in function.outputs.items()}
        self.needed = [name for name, spec in self.inputs.items() if not spec.optional]


class Outputs:
    """The outputs of tasks, of which many have the same.

    Args:
        messages: by their identifiers, as they are stored.
    """

    def __init__(self, messages: Mapping[str, pb.ComputeTaskOutput]) -> None:
        self.messages = messages
        self._allowed: dict[tuple[str, str], bool] = {}

    def allow(self, identifier: str, organization: str) -> bool:
        """Tell whether an organization may use what a task makes under an identifier."""
        allowed = self._allowed.get((identifier, organization))
        if allowed is None:
            allowed = permissions.allows(self.messages[identifier].permissions.process, organization)
            self._allowed[identifier, organization] = allowed
        return allowed


class Granted:
    """The permissions that tasks get, which are the same for most tasks of a call.

    Args:
        caller: the owner of the tasks.
        organizations: the members registered in the channel.

    Attributes:
        own: the caller's alone, serialized.
    """

    def __init__(self, caller: str, organizations: Collection[str]) -> None:
        self._caller = caller
        self._organizations = organizations
        self.own = pb.Permission(authorized_ids=[caller]).SerializeToString()
        self._known: dict[bytes, pb.ComputeTaskOutput] = {}
        self._outputs: dict[tuple[object, ...], Outputs] = {}
        self._unions: dict[tuple[bytes, bytes], bytes] = {}

    def union(self, first: bytes, second: bytes) -> bytes:
        """Return the permission that covers everyone that one of both covers; all are serialized."""
        found = self._unions.get((first, second))
        if found is None:
            both = pb.Permission.FromString(first), pb.Permission.FromString(second)
            found = self._unions[first, second] = permissions.union(*both).SerializeToString()
        return found

    def outputs(self, new: pb.NewComputeTask, function: str, find: Callable[[], Outputs]) -> Outputs:
        """Return the outputs of a task as they are to be stored: the same for tasks of a function that ask the same.

        Args:
            new: the task.
            function: the key of its function.
            find: checks and returns them, where none before it has asked the same.
        """
        given = new.outputs
        asked = function, *[(name, given[name].SerializeToString()) for name in given]
        found = self._outputs.get(asked)
        if found is None:
            found = self._outputs[asked] = find()
        return found

    def of(self, new: pb.NewComputeTaskOutput) -> pb.ComputeTaskOutput:
        """Return an output as it is to be stored.

        Raises:
            BadRequestError: its permissions name an organization that is not registered.
        """
        asked = new.SerializeToString()
        found = self._known.get(asked)
        if found is None:
            granted = permissions.grant_both(new.permissions, self._caller, self._organizations)
            found = self._known[asked] = pb.ComputeTaskOutput(permissions=granted, transient=new.transient)
        return found
