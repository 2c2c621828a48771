"""The native calls about problems and their iterations."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.engine.transaction import Transaction
from orchestrator.gateway.problems import documents, forms, input_form, made, native_shapes, results
from orchestrator.gateway.problems.answering import Answering, answer
from orchestrator.gateway.problems.documents import Document, FormError
from orchestrator.gateway.problems.made import Made
from orchestrator.problems import deletion, graph, iterations, listing, outputs, submitting
from orchestrator.problems.submitting import NewTask, Submitted

IDEMPOTENCY = "idempotency-key"
"""The header by which a call that is sent again makes the same task."""

_OWN = ("start", "priority", "from")
_LONGEST_KEY = 200
_CHUNK = 256 * 1024


class ProblemCalls:
    """Answers them.

    Args:
        answering: what all calls have in common.
    """

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def submit(self, request: Request) -> Response:
        """Store a task, and start it unless it is only prepared."""
        document = await self._answering.received(request, needed=True)
        new = _asked(request, document, input_form.read(document, _OWN[:2]))
        deployment = self._answering.deployment
        return _stored(
            await self._answering.done(request, "SubmitProblem", lambda tx: submitting.submit(tx, deployment, new))
        )

    async def iterate(self, request: Request) -> Response:
        """Store an iteration of a problem, and start it unless it is only prepared."""
        problem = forms.problem_in(request.path_params)
        document = await self._answering.received(request)
        new = _asked(request, document, input_form.read(document, _OWN, iterates=True))
        parent = pb.TaskId(problem_id=problem, iteration_id=forms.parent(document))
        deployment = self._answering.deployment
        return _stored(
            await self._answering.done(
                request, "IterateProblem", lambda tx: submitting.iterate(tx, deployment, parent, new)
            )
        )

    async def start(self, request: Request) -> Response:
        """Start a prepared task, with what was filled in since; one that was started goes on."""
        task, deployment = forms.task_in(request.path_params), self._answering.deployment
        document = await self._answering.received(request)
        new = input_form.read(document, _OWN[:2], iterates=True) if document else None
        started = await self._answering.done(
            request, "StartProblem", lambda tx: submitting.start(tx, deployment, task, new)
        )
        return answer({"task_id": results.task_id(started.task_id), "status": results.state(started.state)})

    async def problems(self, request: Request) -> Response:
        """List problems, the newest first."""
        query, deployment = request.query_params, self._answering.deployment
        limit, after = forms.limit(query), forms.after(query, int)
        before = after[0] if after else None
        found, is_more = await self._answering.done(
            request, "ListProblems", lambda tx: listing.problems(tx, deployment, limit, before)
        )
        following = forms.mark(found[-1].problem_id) if is_more else None
        return answer({"problems": [*map(native_shapes.problem, found)], "next": following})

    async def problem(self, request: Request) -> Response:
        """Show a problem with its iterations."""
        number, deployment = forms.problem_in(request.path_params), self._answering.deployment

        def use(transaction: Transaction) -> tuple[pb.Problem, list[pb.Iteration]]:
            shown = listing.problem(transaction, deployment, number)
            return shown, [*listing.iterations(transaction, deployment, number)]

        found, all_ = await self._answering.done(request, "GetProblem", use)
        return answer(native_shapes.problem(found, [native_shapes.brief(each) for each in all_]))

    async def iteration(self, request: Request) -> Response:
        """Show an iteration with its stages and what they have made."""
        task, deployment = forms.task_in(request.path_params), self._answering.deployment

        def use(transaction: Transaction) -> tuple[pb.Iteration, Made]:
            found = iterations.get(transaction, deployment, task)
            all_ = made.read(transaction, deployment, found, [*graph.KINDS])
            return found, made.diagnosed(transaction, deployment, found, all_)

        return answer(native_shapes.iteration(*await self._answering.done(request, "GetIteration", use)))

    async def raw_model(self, request: Request) -> Response:
        """Send the bytes of the model of an iteration."""
        task, deployment = forms.task_in(request.path_params), self._answering.deployment
        content = await self._answering.done(request, "GetRawModel", lambda tx: outputs.raw_model(tx, deployment, task))
        if content is None:
            raise NotFoundError(
                f"task {{{task.problem_id}, {task.iteration_id}}} has no model yet, or its model has no bytes"
            )
        return StreamingResponse(
            _chunks(content),
            headers={
                "Content-Length": str(len(content)),
                "Content-Disposition": f'attachment; filename="model-{task.problem_id}-{task.iteration_id}"',
                "X-Content-Type-Options": "nosniff",
            },
            media_type="application/octet-stream",
        )

    async def delete_problem(self, request: Request) -> Response:
        """Delete a problem that has ended."""
        number, deployment = forms.problem_in(request.path_params), self._answering.deployment
        await self._answering.done(request, "DeleteProblem", lambda tx: deletion.problem(tx, deployment, number))
        return Response(None, 204)

    async def delete_iteration(self, request: Request) -> Response:
        """Delete an iteration that has ended."""
        task, deployment = forms.task_in(request.path_params), self._answering.deployment
        await self._answering.done(request, "DeleteIteration", lambda tx: deletion.iteration(tx, deployment, task))
        return Response(None, 204)


def _asked(request: Request, document: Document, new: NewTask) -> NewTask:
    """Return a task with what native calls say of it besides its input."""
    start = documents.flag(document, "start")
    return replace(new, start=start is not False, priority=forms.priority(document), idempotency_key=_key(request))


def _stored(made: Submitted) -> Response:
    return answer({"task_id": results.task_id(made.task_id), "status": results.state(made.state)}, 201)


def _key(request: Request) -> str:
    given = request.headers.get(IDEMPOTENCY)
    if given is None:
        return ""
    if not (given and len(given) <= _LONGEST_KEY and given.isascii() and given.isprintable()):
        raise FormError("Idempotency-Key", f"1 to {_LONGEST_KEY} printable ASCII characters are expected")
    return given


async def _chunks(content: bytes) -> AsyncGenerator[bytes, None]:
    for begin in range(0, len(content), _CHUNK):
        yield content[begin : begin + _CHUNK]
