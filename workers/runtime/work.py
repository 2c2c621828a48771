"""What a runtime does for each step: what it is told, done, and what it says then."""

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.core import crash
from workers.runtime.errors import ExistsError, RefusedError
from workers.runtime.topics import Topics
from workers.runtime.workflows import LABEL, Workflows

_LONGEST_NAME = 63
"""Of a workflow: its pods bear it as a label."""


class Work:
    """Does steps.

    Args:
        workflows: where workflows are placed.
        topics: makes what reaches the broker of federated executions, when it is first needed; raises RefusedError.
    """

    def __init__(self, workflows: Workflows, topics: Callable[[], Topics]) -> None:
        self.workflows = workflows
        self._make_topics = topics
        self._known: Mapping[type[Message], Callable[[Any, bool], Message]] = {
            pb.StartWork: self._start,
            pb.EndWork: self._end,
            pb.CleanWork: self._clean,
        }

    @cached_property
    def topics(self) -> Topics:
        """The broker of federated executions."""
        return self._make_topics()

    def do(self, told: Packed, again: bool) -> Message:
        """Do a step; return what is to be reported.

        Args:
            told: what it is.
            again: whether it was tried before: then it may be done.

        Raises:
            RefusedError: it cannot be done.
            UnreachableError: it may be tried again.
        """
        for kind, do in self._known.items():
            work = kind()
            if told.Unpack(work):
                return do(work, again)
        raise RefusedError(f"this runtime does not know what {told.TypeName()} is: update it")

    def _start(self, work: pb.StartWork, again: bool) -> pb.Started:
        if work.communication_adapter and not work.over:
            self.topics.make(work.communication_adapter)
            crash.point("runtime.topics_made")
        if not work.manifest:
            # Its containers are steps of ours.
            return pb.Started()
        name = self._placed(work.label) if again or work.over else ""
        if not name and not work.over:
            name = self._create(work)
            crash.point("runtime.created")
        return pb.Started(workflow=name)

    def _create(self, work: pb.StartWork) -> str:
        try:
            return self.workflows.create(labelled(json.loads(work.manifest), work.label))
        except ExistsError:
            # An earlier attempt's request may have come late.
            if name := self._placed(work.label):
                return name
            raise

    def _placed(self, label: str) -> str:
        """Return the name of the workflow that bears a label, empty without one."""
        return min((each.name for each in self.workflows.find(label)), default="")

    def _end(self, work: pb.EndWork, _: bool) -> pb.Ended:
        named = {work.workflow} if work.workflow else set()
        names = sorted(named | {each.name for each in self.workflows.find(work.label)})
        for name in names:
            self.workflows.end(name)
        return pb.Ended(workflows=names)

    def _clean(self, work: pb.CleanWork, _: bool) -> pb.Cleaned:
        return pb.Cleaned(
            topics=[name for adapter in work.communication_adapters for name in self.topics.remove(adapter)]
        )


def labelled(manifest: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    """Return a manifest by whose label its workflow is found, and by whose name there is but one.

    Args:
        manifest: of a workflow, with a name of its own or without.
        label: the value of `LABEL`.

    Raises:
        RefusedError: what it says of itself is no mapping.
    """
    metadata = manifest.get("metadata") or {}
    labels = metadata.get("labels") or {} if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(labels, dict):
        raise RefusedError("the template's metadata, or its labels, are no mapping")
    prefix = str(metadata.get("generateName") or "execution-")[: _LONGEST_NAME - len(label)]
    name = metadata.get("name") or f"{prefix}{label}"
    return {**manifest, "metadata": {**metadata, "name": name, "labels": {**labels, LABEL: label}}}
