"""Compute plans that go on with others: a retry of what is not Done, a rerun of what has changed."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.json_format import MessageToDict

from orchestrator import protos as pb
from orchestrator.client import keys
from orchestrator.client.errors import CallError
from orchestrator.client.shown import Shown, table
from orchestrator.client.steps import PLAN_SECONDS, Steps, repeat

Replacements: TypeAlias = Mapping[str, str | pb.Function | pb.DataManager | pb.DataSample | pb.Model]
"""Keys of functions and inputs of a plan -> what stands in their place in the one that continues it."""

_REPLACED = (pb.ASSET_FUNCTION, pb.ASSET_DATA_MANAGER, pb.ASSET_DATA_SAMPLE, pb.ASSET_MODEL)
_WORDS: Mapping[int, str] = {pb.CONTINUATION_RETRY: "a retry", pb.CONTINUATION_RERUN: "a rerun"}


@dataclass(frozen=True, repr=False)
class Continuation(Shown):
    """A compute plan that continues another.

    Args:
        plan: the new plan.
        origin: the key of the first.
        kind: `a retry` or `a rerun`.
        again: the tasks of the first that run again -> the new ones in their places.
        reused: the tasks whose results stand.
        runs: how many tasks the new plan brings.
    """

    plan: pb.ComputePlan
    origin: str
    kind: str
    again: Mapping[str, str]
    reused: list[str]
    runs: int

    @property
    def key(self) -> str:
        """The key of the new plan."""
        return self.plan.key

    @property
    def summary(self) -> str:
        """How much of it runs."""
        runs = "1 task runs" if self.runs == 1 else f"{self.runs} tasks run"
        return f"{runs}, {len(self.reused)} {'is' if len(self.reused) == 1 else 'are'} reused"

    def facts(self) -> Mapping[str, object]:
        """Return what is shown."""
        return {"name": self.plan.name, "key": self.key, "is": f"{self.kind} of {self.origin}", "tasks": self.summary}

    def __str__(self) -> str:
        return f"compute plan {self.key} is {self.kind} of {self.origin}: {self.summary}"

    __repr__ = __str__

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        plan = MessageToDict(self.plan, preserving_proto_field_name=True)
        return {
            "plan": plan,
            "origin": self.origin,
            "kind": self.kind.split()[-1],
            "again": dict(self.again),
            "reused": self.reused,
            "runs": self.runs,
        }


@dataclass(frozen=True, repr=False)
class Continuations:
    """How a compute plan is linked to others.

    Args:
        continues: how it continues another; None where it does not.
        continued_by: those that continue it, the oldest first.
    """

    continues: Continuation | None
    continued_by: list[pb.PlanLink]

    def __repr__(self) -> str:
        return (
            "\n".join(f"{word}: {which}" for word, which in self.facts()) or "it continues none, and none continues it"
        )

    def _repr_html_(self) -> str:
        return table(["Continuations", ""], self.facts(), "left")

    def facts(self) -> list[tuple[str, str]]:
        """Return them for people: a word, and which plan; none where there are none."""
        found = []
        if self.continues:
            first = self.continues
            found.append((f"{first.kind} of".removeprefix("a "), f"{first.origin}: {first.summary}"))
        later = ", ".join(f"{link.compute_plan_key} ({link_word(link.kind)})" for link in self.continued_by)
        return [*found, ("continued by", later)] if later else found

    def document(self) -> dict[str, Any]:
        """Return them for JSON."""
        return {
            "continues": self.continues.document() if self.continues else None,
            "continued_by": [
                {"plan": link.compute_plan_key, "kind": link_word(link.kind).split()[-1]} for link in self.continued_by
            ],
        }


def link_word(kind: int) -> str:
    """Return what people call a way to continue, as in `a retry`."""
    return _WORDS.get(kind, "a continuation")


def of(message: pb.Continuation) -> Continuation:
    """Return what the orchestrator answers."""
    return Continuation(
        message.plan,
        message.origin_key,
        link_word(message.kind),
        {task.origin_task_key: task.compute_task_key for task in message.tasks if not task.reused},
        [task.origin_task_key for task in message.tasks if task.reused],
        message.runs,
    )


def retry(plan: str, name: str, replacements: Replacements | None, key: str | None) -> Steps[Continuation]:
    """Register a plan of what is not Done of another; see `Client.retry`."""
    asked = pb.RetryPlanParam(compute_plan_key=plan, key=key or str(uuid.uuid4()), name=name)
    asked.replacements.update((yield from _keys(replacements)))
    answer = yield from repeat(lambda client: client.submissions.RetryPlan(asked, timeout=PLAN_SECONDS))
    return of(answer)


def rerun(plan: str, name: str, replacements: Replacements | None, key: str | None) -> Steps[Continuation]:
    """Register a plan like another, of what has changed; see `Client.rerun`."""
    asked = pb.RerunPlanParam(compute_plan_key=plan, key=key or str(uuid.uuid4()), name=name)
    asked.replacements.update((yield from _keys(replacements)))
    answer = yield from repeat(lambda client: client.submissions.RerunPlan(asked, timeout=PLAN_SECONDS))
    return of(answer)


def continuations(plan: str) -> Steps[Continuations]:
    """Ask how a plan is linked to others; see `Client.continuations`."""
    asked = pb.GetContinuationsParam(compute_plan_key=plan)
    answer = yield lambda client: client.submissions.GetContinuations(asked)
    continues = of(answer.continues) if answer.HasField("continues") else None
    return Continuations(continues, list(answer.continued_by))


def links_of(plan: str) -> Steps[Continuations]:
    """Ask the same of an orchestrator that may be of before: one that knows of no links has none."""
    try:
        return (yield from continuations(plan))
    except CallError as error:
        if error.code().name != "UNIMPLEMENTED":
            raise
        return Continuations(None, [])


def _keys(replacements: Replacements | None) -> Steps[dict[str, str]]:
    found = {}
    for old, new in (replacements or {}).items():
        first = yield from keys.whole(keys.spelled(old, "what is replaced"), *_REPLACED)
        replacing = new if isinstance(new, str) else new.key
        found[first] = yield from keys.whole(keys.spelled(replacing, "what replaces it"), *_REPLACED)
    return found
