"""What a person does with whole compute plans: look at them beforehand, and go on with them afterwards."""

from typing import TYPE_CHECKING, Any

from orchestrator.client import check as checking
from orchestrator.client import continuation, submission
from orchestrator.client.check import Check
from orchestrator.client.continuation import Continuation, Continuations, Replacements
from orchestrator.client.plan import Known, Plan, of
from orchestrator.client.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable


class Plans:
    """The part of `Client` that is about whole compute plans."""

    if TYPE_CHECKING:
        _run: Callable[[Steps[Any]], Any]

    def check(self, plan: Plan[Any]) -> Check:
        """Return what is wrong with a plan that is not submitted yet, and what its tasks would wait for now.

        Nothing is registered.

        Raises:
            CallError: the orchestrator does not answer, or cannot do it (OE0010 or UNIMPLEMENTED: it is of before).
        """
        found: Check = self._run(checking.check(plan.message, [task.message for task in plan.tasks]))
        return found

    def retry(
        self,
        plan: Known,
        *,
        name: str = "",
        replacements: Replacements | None = None,
        key: str | None = None,
    ) -> Continuation:
        """Register a new plan of what is not Done of one of ours that has ended; what is Done is reused.

        The first stays as it ended. What still runs of one that has failed is waited for. A task whose output is gone
        and needed runs again.

        Args:
            plan: the first, or its key.
            name: of the new plan; that of the first where empty.
            replacements: keys of functions and data of the first -> what stands in their place, as a function that was
                mended; where a task runs again.
            key: of the new plan, a UUID; a random one by default. The same again registers nothing more.

        Raises:
            CallError: the plan is not ours, still runs or is all Done (OE0003), or the orchestrator does not answer.
        """
        made: Continuation = self._run(of(plan, lambda first: continuation.retry(first, name, replacements, key)))
        return made

    def rerun(
        self,
        plan: Known,
        *,
        edited: Plan[Any] | None = None,
        name: str = "",
        replacements: Replacements | None = None,
        key: str | None = None,
    ) -> Continuation:
        """Register a new plan like one of ours; what is Done there and has not changed is reused.

        Whether something has changed is told by content: the checksums of functions and inputs, metadata, workers and
        permissions, and those of all parents.

        Args:
            plan: the first, or its key.
            edited: the plan as it was written anew, not submitted yet; without it that is like the first. Those of its
                tasks that need not run are then those of the first (`Task.reused`).
            name: of the new plan; that of the first where empty.
            replacements: keys of functions, data and models of the first -> what stands in their place.
            key: of the new plan, a UUID; a random one by default. The same again registers nothing more.

        Raises:
            PlanError: the edited plan is submitted already, or something else is given beside it.
            CallError: the plan is not ours, nothing of it has changed (OE0003), or the orchestrator does not answer.
        """
        steps = of(plan, lambda first: submission.rerun(first, edited, name, replacements, key))
        made: Continuation = self._run(steps)
        return made

    def continuations(self, plan: Known) -> Continuations:
        """Return which plan a plan continues, and which continue it.

        Raises:
            CallError: there is no such plan, or the orchestrator does not answer.
        """
        found: Continuations = self._run(of(plan, continuation.continuations))
        return found
