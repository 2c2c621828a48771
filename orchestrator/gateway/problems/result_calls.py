"""The calls of front ends that exist for states and results, and to stop a task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from orchestrator import protos as pb
from orchestrator.calls.refusals import refusal
from orchestrator.core.errors import NotFoundError
from orchestrator.engine.transaction import Transaction
from orchestrator.gateway.problems import documents, forms, made, native_shapes, refused, results
from orchestrator.gateway.problems.answering import Answering, answer
from orchestrator.gateway.problems.documents import Document, FormError
from orchestrator.gateway.problems.watch import result_key
from orchestrator.problems import cancelling, graph, iterations, listing, modules

_NODES = (*graph.KINDS, graph.USER_INPUT, graph.ALL)


@dataclass(frozen=True)
class _Seen:
    """What a result is at a time.

    Args:
        iteration: whose.
        shown: the answer; None where there is none yet.
    """

    iteration: pb.Iteration
    shown: Mapping[str, Any] | None


class ResultCalls:
    """Answers them.

    Args:
        answering: what all calls have in common.
        longest: seconds that a request waits for a result at most.
    """

    def __init__(self, answering: Answering, longest: float) -> None:
        self._answering = answering
        self._longest = longest

    async def greet(self, _: Request) -> Response:
        """Say that this is the address."""
        return answer(
            {"message": "The orchestrator's problems are served here; /openapi/problems.json describes them."}
        )

    async def status(self, request: Request) -> Response:
        """Tell the state of all kinds of nodes, or of one."""
        document = await self._answering.received(request)
        node = documents.whole(document, "node_id", 0, len(graph.KINDS) - 1)
        deployment = self._answering.deployment
        states = await self._answering.done(
            request, "GetModuleStates", lambda tx: modules.states_of_kinds(tx, deployment)
        )
        shown = {graph.KINDS[kind].name: native_shapes.node_state(state) for kind, state in states.items()}
        return answer({"status": shown if node is None else shown[graph.KINDS[node].name]})

    async def latest(self, request: Request) -> Response:
        """Answer with all results of the latest task, once they are there."""
        await self._answering.received(request)
        task = await self._latest(request)
        if task is None:
            return answer({"message": "There is no task yet; POST /user_input makes one."})
        return await self._result(request, task, graph.ALL, self._longest)

    async def result(self, request: Request) -> Response:
        """Answer with a result of a task, once it is there."""
        document = await self._answering.received(request)
        node = _node(document)
        seconds = forms.seconds(document, "wait", self._longest, self._longest)
        task = forms.task(document) or await self._latest(request)
        if task is None:
            raise NotFoundError("there is no task yet; POST /user_input makes one")
        return await self._result(request, task, node, seconds)

    async def _latest(self, request: Request) -> pb.TaskId | None:
        deployment = self._answering.deployment
        return await self._answering.done(request, "GetLatestTask", lambda tx: iterations.latest(tx, deployment))

    async def _result(self, request: Request, task: pb.TaskId, node: int, seconds: float) -> Response:
        def use(transaction: Transaction) -> _Seen:
            return self._see(transaction, task, node)

        seen = await self._answering.done(request, "GetResult", use)
        if seen.shown is None and seconds:
            key = result_key(task, node)
            shown = await self._answering.awaited(request, key, "AwaitResult", use, lambda seen: seen.shown, seconds)
            if shown is None:
                # What it is by now.
                seen = await self._answering.done(request, "GetResult", use)
            else:
                return answer(shown)
        if seen.shown is not None:
            return answer(seen.shown)
        what = "its stages" if node == graph.ALL else graph.KINDS[node].name
        state = seen.iteration.state if node == graph.ALL else seen.iteration.stages[node].state
        name = f"task {{{task.problem_id}, {task.iteration_id}}}"
        text = f"{name}: {what} had not ended after {seconds:g} s; ask again, or stop it by POST /cancel"
        return refused.error(504, text, status=results.state(state))

    def _see(self, transaction: Transaction, task: pb.TaskId, node: int) -> _Seen:
        iteration = iterations.get(transaction, self._answering.deployment, task)
        if node == graph.USER_INPUT:
            return _Seen(iteration, results.user_input(iteration))
        if not results.has_ended(iteration, node):
            return _Seen(iteration, None)
        kinds = [*graph.KINDS] if node == graph.ALL else [node]
        found = made.read(transaction, self._answering.deployment, iteration, kinds)
        return _Seen(iteration, results.result(iteration, node, found))

    async def cancel(self, request: Request) -> Response:
        """Stop a task, the newest that has not ended where none is named."""
        document = await self._answering.received(request)
        try:
            task = forms.task_of(document) if document else None
        except NotFoundError as error:
            return refused.error(404, refusal("problems", error).message, status="not_found")
        deployment = self._answering.deployment
        stopped = await self._answering.done(
            request, "CancelProblem", lambda tx: cancelling.cancel(tx, deployment, task)
        )
        if stopped is None:
            what = "no task has not ended" if task is None else "the task has ended, or does not exist"
            return refused.error(404, f"there is nothing to cancel: {what}", status="not_found")
        return answer(
            {
                "status": "cancelled",
                "command_id": stopped.command_id,
                "task_id": results.task_id(stopped.command.task_id),
            }
        )

    async def tasks(self, request: Request) -> Response:
        """List the ids of all tasks."""
        await self._answering.received(request)
        deployment = self._answering.deployment
        found = await self._answering.done(request, "ListTasks", lambda tx: listing.task_ids(tx, deployment))
        return answer({"task_ids": [results.task_id(task) for task in found], "count": len(found)})

    async def stays(self, request: Request) -> Response:
        """Refuse to end the server."""
        return refused.error(
            403, f"{request.url.path} stops nothing: any page could call it; the server's operator ends it by a signal"
        )


def _node(document: Document) -> int:
    node = documents.whole(document, "node_id", 0, graph.ALL)
    if node is None or node not in _NODES:
        raise FormError("node_id", "a kind from 0 to 5, 7 for the user input, or 9 for all is expected")
    return node
