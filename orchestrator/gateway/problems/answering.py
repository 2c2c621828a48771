"""What all calls of problems have in common: who calls, what came, the use case in its transaction, and the wait."""

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator.calls.call import Calls, Operation
from orchestrator.calls.gate import Caller, Visit
from orchestrator.calls.refusals import Refusal
from orchestrator.calls.sizes import document_size
from orchestrator.core.errors import BadRequestError, PermissionDeniedError, UnavailableError
from orchestrator.engine.transaction import Transaction
from orchestrator.gateway.identity import Identity
from orchestrator.gateway.problems import documents
from orchestrator.gateway.problems.documents import Document, FormError
from orchestrator.gateway.problems.plain import JSON, body
from orchestrator.gateway.problems.refused import RefusedError, TooLargeError
from orchestrator.gateway.problems.waiting import Waiting

Form = TypeVar("Form")
Found = TypeVar("Found")

LARGEST_BODY = 4 * 1024 * 1024
_BODY_SECONDS = 30.0
_AT_ONCE = 64


class Answering:
    """Answers calls to one deployment.

    Args:
        calls: runs use cases.
        identity: says who calls.
        caller: for whom the deployment's own looks are made: its organization, in its channel.
        deployment: its name.
        waiting: who waits.
    """

    def __init__(self, calls: Calls, identity: Identity, caller: Caller, deployment: str, waiting: Waiting) -> None:
        self._calls = calls
        self._identity = identity
        self._caller = caller
        self.deployment = deployment
        self.waiting = waiting
        # Of any number that come together, no more are taken in hand than the organization may have.
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @property
    def challenge(self) -> str:
        """The value of WWW-Authenticate, for a caller that nobody knows."""
        return self._identity.challenge

    async def identify(self, request: Request) -> Caller:
        """Return who calls.

        Raises:
            OrchestratorError: it may not.
        """
        caller = await self._identity.identify(request)
        if (caller.organization, caller.channel) != (self._caller.organization, self._caller.channel):
            raise PermissionDeniedError(
                f"this address serves {self._caller.organization} in {self._caller.channel}, and the caller is "
                f"{caller.organization} in {caller.channel}"
            )
        return caller

    async def received(self, request: Request, *, needed: bool = False) -> Document:
        """Return the object that a request brings, from who may call.

        Args:
            request: of which a body that is empty counts as an empty object.
            needed: whether it is refused instead, as what it makes would be seen.

        Raises:
            OrchestratorError: the caller may not, or the body is no such object.
        """
        await self.identify(request)
        content = await _received(request)
        if needed and not content.strip():
            raise FormError("", "the request has no body, and an object of JSON is expected, as in {}")
        return await asyncio.to_thread(documents.parse, content) if len(content) > 65536 else documents.parse(content)

    async def done(self, request: Request, name: str, use: Callable[[Transaction], Found]) -> Found:
        """Return what a use case returns for the caller of a request.

        Args:
            request: whose caller.
            name: in metrics and logs.
            use: what is done, in a transaction.

        Raises:
            RefusedError: it was refused.
        """
        return await self._done(name, use, partial(self.identify, request))

    async def seen(self, name: str, use: Callable[[Transaction], Found]) -> Found:
        """Return what a use case returns for all those together that wait; see `done`."""

        async def identify() -> Caller:
            return self._caller

        return await self._done(name, use, identify)

    async def _done(self, name: str, use: Callable[[Transaction], Found], identify: Any) -> Found:
        kept: list[Found] = []

        def write(found: Found) -> bytes:
            kept.append(found)
            return b""

        operation = Operation(name, bytes, document_size, lambda transaction, _: use(transaction), write)
        async with self._turns:
            answered = await self._calls.answer(operation, identify, _nothing)
        if isinstance(answered, Refusal):
            raise RefusedError(answered)
        return kept[0]

    async def awaited(
        self,
        request: Request,
        key: Hashable,
        name: str,
        use: Callable[[Transaction], Found],
        take: Callable[[Found], Any],
        seconds: float,
    ) -> Any:
        """Return what is taken of what a use case sees, as soon as that is not None; None when the time is over.

        Args:
            request: who waits.
            key: of what is waited for: events name it.
            name: of the use case, in metrics and logs.
            use: reads, in a transaction.
            take: from what was read to the answer, None where there is none yet.
            seconds: to wait.

        Raises:
            OrchestratorError: the caller may not be told by now.
        """
        visit = Visit(self._caller, partial(self.identify, request))
        found = await self.waiting.wait(request, key, partial(self.seen, name, use), take, seconds)
        await visit.renew()
        return found


def answer(document: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(body(document), status, media_type=JSON)


async def _received(request: Request) -> bytes:
    content = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > LARGEST_BODY:
                    raise TooLargeError(f"the body is larger than {LARGEST_BODY} bytes, the most that is taken")
    except ClientDisconnect as error:
        raise BadRequestError("the call ended before its body did") from error
    except TimeoutError as error:
        raise UnavailableError(f"the body did not arrive within {_BODY_SECONDS:g} s; send it again") from error
    return bytes(content)


async def _nothing() -> bytes:
    return b""
