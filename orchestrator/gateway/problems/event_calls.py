"""The stream of events: Server-Sent Events that resume after the last one that a client had."""

import time
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from orchestrator.calls.call import Calls, Flow, Streaming
from orchestrator.calls.refusals import Refusal
from orchestrator.core import kinds
from orchestrator.gateway.problems import forms, native_shapes, plain
from orchestrator.gateway.problems.answering import Answering
from orchestrator.gateway.problems.documents import FormError
from orchestrator.gateway.problems.refused import RefusedError
from orchestrator.gateway.problems.watch import BEAT_SECONDS, Told, Watch
from orchestrator.problems import outputs

_MEDIA = "text/event-stream"
_COMMENT = b":\n\n"
_MOST_DIGITS = 18


@dataclass(frozen=True)
class Filter:
    """Which events a client wants.

    Args:
        problem: of this problem alone; None for all.
        iteration: of iterations of this number alone; None for all.
        types: of these types alone; none for all.
    """

    problem: int | None
    iteration: int | None
    types: Collection[str]

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Filter":
        """Return what a query asks for.

        Raises:
            FormError: it says what cannot be.
        """
        types = [each.strip() for each in query.get("type", "").split(",") if each.strip()]
        known = native_shapes.TYPES.values()
        if unknown := [each for each in types if each not in known]:
            raise FormError("type", f"{unknown[0][:100]!r} is none of {', '.join(known)}")
        return cls(forms.positive(query, "problem_id"), forms.positive(query, "iteration_id"), types)

    def wants(self, event: Told) -> bool:
        """Say whether the client is told of an event."""
        name = native_shapes.TYPES.get(event.kind)
        if name is None or (self.types and name not in self.types):
            return False
        task = getattr(event.message, "task_id", None)
        return all(
            wanted is None or (task is not None and getattr(task, field) == wanted)
            for field, wanted in (("problem_id", self.problem), ("iteration_id", self.iteration))
        )


class EventCalls:
    """Answers it.

    Args:
        answering: what all calls have in common.
        calls: let streams in.
        watch: follows the events.
    """

    def __init__(self, answering: Answering, calls: Calls, watch: Watch) -> None:
        self._answering = answering
        self._calls = calls
        self._watch = watch

    async def events(self, request: Request) -> Response:
        """Stream events, from where the client was."""
        wanted, position = Filter.of(request.query_params), _last_event(request)
        if request.method == "HEAD":
            await self._answering.identify(request)
            return Response(None, media_type=_MEDIA)

        async def identify() -> object:
            return await self._answering.identify(request)

        async def receive() -> bytes:
            return b""

        async def head(_: str, __: str) -> None:
            """Tell nothing before the first event."""

        def source(flow: Flow, _: bytes) -> AsyncGenerator[bytes, None]:
            return self._told(request, flow, wanted, position)

        streaming = Streaming("FollowProblems", bytes, len, source)
        stream = self._calls.stream(streaming, identify, receive, lambda: None, head)  # type: ignore[arg-type]
        # The first says whether it was let in.
        first = await anext(stream)
        if isinstance(first, Refusal):
            await stream.aclose()
            raise RefusedError(first)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_whole(first, stream), headers=headers, media_type=_MEDIA)

    async def _told(
        self, request: Request, flow: Flow, wanted: Filter, position: int | None
    ) -> AsyncGenerator[bytes, None]:
        begun = await self._watch.begin(position)
        yield _COMMENT
        said = checked = time.monotonic()
        async for batch in self._watch.follow(begun):
            now = time.monotonic()
            if now - checked >= BEAT_SECONDS:
                # Who was let in may not be any more.
                await self._answering.identify(request)
                checked = now
            events = [event for event in batch if wanted.wants(event)]
            for event in events:
                # One output after another: each may take megabytes.
                yield _written(event, await self._made(flow, event))
            if events:
                said = now
            elif now - said >= BEAT_SECONDS - 1:
                yield _COMMENT
                said = now

    async def _made(self, flow: Flow, event: Told) -> Message | None:
        """Return the output that an event stands for, None where it stands for none."""
        if event.kind != kinds.STAGE_OUTPUT:
            return None
        said = event.message
        return await flow.run(
            lambda transaction: outputs.of_run(
                transaction, self._answering.deployment, said.task_id, said.kind, said.run
            )
        )


async def _whole(first: bytes, stream: AsyncGenerator[bytes | Refusal, None]) -> AsyncGenerator[bytes, None]:
    """Yield a stream to its end; a refusal in its midst ends it, and the client resumes."""
    try:
        yield first
        async for message in stream:
            if isinstance(message, Refusal):
                return
            yield message
    finally:
        await stream.aclose()


def _written(event: Told, output: Message | None) -> bytes:
    data = plain.body(native_shapes.event(event, output))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.position, native_shapes.TYPES[event.kind].encode(), data)


def _last_event(request: Request) -> int | None:
    given = request.headers.get("last-event-id")
    if not given:
        return None
    if not (given.isascii() and given.isdecimal() and len(given) <= _MOST_DIGITS):
        raise FormError(
            "Last-Event-ID", f"the id of an event is expected, or 0 for the beginning, {given[:100]!r} given"
        )
    return int(given)
