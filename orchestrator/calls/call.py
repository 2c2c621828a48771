"""What every call passes through, whichever edge it came by: it is let in, waits for its turn, and is answered.

An edge says who calls and hands over the bytes of the request; it is given the bytes of the answer, or a `Refusal`.
What the use case does happens in a thread, in one transaction.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from uuid import UUID

import structlog

from orchestrator.calls import metrics
from orchestrator.calls.access_log import Access
from orchestrator.calls.admission import Admission, Receive, ReceivePart
from orchestrator.calls.combining import Combiner
from orchestrator.calls.gate import Caller, Identify, Visit
from orchestrator.calls.loss import Loss
from orchestrator.calls.parts import Parts
from orchestrator.calls.refusals import Refusal, refusal
from orchestrator.calls.turns import Lane
from orchestrator.core import crash
from orchestrator.core.errors import BadRequestError, ClosedError
from orchestrator.engine import together
from orchestrator.engine.together import Together
from orchestrator.engine.transaction import NOBODY, Transaction
from orchestrator.telemetry import spans

Request = TypeVar("Request")
Part = TypeVar("Part")
Response = TypeVar("Response")
Result = TypeVar("Result")

log = structlog.get_logger()

_SMALL = 16 * 1024
"""Bytes of a request that may go together with others."""


class Transactions(Protocol):
    """Runs use cases, each in a transaction of its own."""

    def run(self, organization: str, channel: str, use_case: Callable[[Transaction], Result]) -> Result:
        """Run a use case for an organization in a channel."""


class Events(Protocol):
    """Follows the order of events."""

    def follow(
        self, channel: str, position: int, subscription: UUID, check: Callable[[], None]
    ) -> AsyncGenerator[bytes, None]:
        """Yield a channel's serialized events after a position, for ever, or until the check raises."""

    def follow_batches(
        self, channel: str, position: int, subscription: UUID, check: Callable[[], None]
    ) -> AsyncGenerator[list[bytes], None]:
        """Yield the same in lists."""

    async def changed(self, timeout: float) -> None:
        """Wait for new events, for some seconds at most."""


@dataclass(frozen=True)
class Operation(Generic[Request, Response]):
    """What a call does that is answered once.

    Args:
        name: in metrics, in the log and in crash points; the same for both edges.
        read: from the bytes of a request to the request; raises BadRequestError.
        size_of: from the bytes of a request to those of memory that it takes once it is read, at most.
        use_case: what is done, in a transaction.
        write: from the response to the bytes of the answer.
        lane: whom it shares the server with.
        large: whether it may take much memory, however small its request: such are worked on one after another.
        together: does many such calls in one transaction; None where each has its own.
    """

    name: str
    read: Callable[[bytes], Request]
    size_of: Callable[[bytes], int]
    use_case: Callable[[Transaction, Request], Response]
    write: Callable[[Response], bytes]
    lane: Lane = Lane.CALL
    large: bool = False
    together: Together[Request, Response] | None = None


@dataclass(frozen=True)
class Gathering(Generic[Part, Response]):
    """What a call does whose request comes in parts, and that is answered once.

    Args:
        name: in metrics, in the log and in crash points.
        read: from the bytes of a part to the part; raises BadRequestError.
        size_of: from the bytes of a part to those of memory that it takes once it is read, at most.
        use_case: what is done, in a transaction; it may iterate over the parts again and again.
        write: from the response to the bytes of the answer.
        lane: whom it shares the server with.
    """

    name: str
    read: Callable[[bytes], Part]
    size_of: Callable[[bytes], int]
    use_case: Callable[[Transaction, Iterable[Part]], Response]
    write: Callable[[Response], bytes]
    lane: Lane = Lane.CALL


_Done: TypeAlias = Operation[Any, Response] | Gathering[Any, Response]


@dataclass(frozen=True)
class _Small:
    """A call that may be done together with others."""

    operation: Operation[Any, Any]
    body: bytes
    visit: Visit
    context: Context = field(default_factory=copy_context)

    @property
    def caller(self) -> Caller:
        """Whose it is."""
        return self.visit.caller

    async def refusal(self) -> Exception | None:
        """Return why its caller may not be let in any more, None where it may."""
        try:
            await self.visit.renew()
        except Exception as error:
            return error
        return None

    def call(self) -> together.Call:
        """Return it as it is done.

        Raises:
            BadRequestError: it cannot be read.
        """
        if self.operation.together is None:
            raise BadRequestError(f"{self.operation.name} is never done together with others")
        return together.Call(
            self.caller.organization,
            self.caller.channel,
            self.operation.together,
            self.operation.read(self.body),
            partial(_begin, self.operation, self.caller, self.context.run(spans.current)),
        )


def _begin(done: _Done[Any], caller: Caller, traceparent: str | None, transaction: Transaction) -> None:
    transaction.certificate_ends = caller.certificate_ends
    transaction.traceparent = traceparent
    transaction.before_commit = partial(crash.point, f"server.before_commit.{done.name}")


class Flow:
    """A stream that was let in, as its source sees it.

    Args:
        caller: who asked for it.
        events: what it may follow.
        check: raises as soon as the caller may not go on.
        head: tells the caller a value by a name, before the first message.
        admission: whose turns its use cases wait for.
        database: where they run.
    """

    def __init__(
        self,
        caller: Caller,
        events: Events,
        check: Callable[[], None],
        head: Callable[[str, str], Awaitable[None]],
        admission: Admission,
        database: Transactions,
    ) -> None:
        self.caller = caller
        self.events = events
        self.check = check
        self.head = head
        self._admission = admission
        self._database = database

    async def run(self, use_case: Callable[[Transaction], Result]) -> Result:
        """Run a use case in a thread and a transaction of its own, when it is the caller's turn.

        Raises:
            OrchestratorError: the caller may not go on, or the use case raises it.
        """

        async def renew() -> None:
            self.check()

        organization, channel, _ = self.caller
        run = partial(self._database.run, organization, channel, use_case)
        return await self._admission.run(organization, Lane.CALL, run, renew)


@dataclass(frozen=True)
class Streaming(Generic[Request]):
    """What a call does that is answered by a stream.

    Args:
        name: in the log.
        read: from the bytes of a request to the request; raises BadRequestError.
        size_of: from the bytes of a request to those of memory that it takes once it is read, at most.
        source: yields the messages, serialized.
    """

    name: str
    read: Callable[[bytes], Request]
    size_of: Callable[[bytes], int]
    source: Callable[[Flow, Request], AsyncGenerator[bytes, None]]


class _Open:
    """Calls, each open as long as its block lasts."""

    def __init__(self) -> None:
        self._count = 0
        self.none = asyncio.Event()
        self.none.set()

    def __enter__(self) -> None:
        self._count += 1
        self.none.clear()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count:
            self.none.set()


class Calls:
    """Answers calls.

    Args:
        database: where use cases run.
        events: what streams follow.
        admission: shares the server between the organizations.
    """

    def __init__(self, database: Transactions, events: Events, admission: Admission) -> None:
        self._database = database
        self._events = events
        self._admission = admission
        self._combiners = {lane: Combiner[_Small, bytes](partial(self._together, lane)) for lane in Lane}
        self._loss = Loss()
        self._open = _Open()
        self._closed = False

    async def finish(self) -> None:
        """Refuse new calls from now on, and wait until none is open, and no stream."""
        self._closed = True
        await self._open.none.wait()

    async def answer(
        self, operation: Operation[Request, Response], identify: Identify, receive: Receive
    ) -> bytes | Refusal:
        """Answer a call once.

        Args:
            operation: what it does.
            identify: lets the caller in; asked first, and again where it took its time.
            receive: receives the request; asked when there is room for it.
        """

        async def work(visit: Visit) -> bytes:
            organization, lane = visit.caller.organization, operation.lane

            async def run(body: bytes) -> bytes:
                read = partial(operation.read, body)
                if operation.together is not None and len(body) <= _SMALL:
                    small, alone = _Small(operation, body, visit), partial(self._run, operation, read, visit)
                    return await self._combiners[operation.lane].run(organization, small, alone)
                if not operation.large:
                    return await self._run(operation, read, visit)
                async with self._admission.large(organization, lane):
                    return await self._run(operation, read, visit)

            return await self._admission.message(receive, organization, lane, operation.size_of, run)

        return await self._answered(operation, identify, work)

    async def gather(
        self, gathering: Gathering[Part, Response], identify: Identify, receive: ReceivePart
    ) -> bytes | Refusal:
        """Answer a call once whose request comes in parts.

        Args:
            gathering: what it does.
            identify: lets the caller in; asked first, and again with parts that took their time.
            receive: receives the next part; asked when there is room for it.
        """

        async def work(visit: Visit) -> bytes:
            async def receive_one() -> bytes | None:
                part = await receive()
                await visit.renew()
                return part

            receiving = self._admission.parts(receive_one, visit.caller.organization, gathering.lane, gathering.size_of)
            async with receiving as kept:
                return await self._run(gathering, lambda: Parts(kept, gathering.read), visit)

        return await self._answered(gathering, identify, work)

    async def _answered(
        self, done: _Done[Response], identify: Identify, work: Callable[[Visit], Awaitable[bytes]]
    ) -> bytes | Refusal:
        with Access(done.name) as access:
            try:
                with self._open:
                    answered = await self._admitted(done, identify, work, access)
                access.answered(answered)
                return answered
            finally:
                metrics.observe(done.name, access.outcome, access.seconds)

    async def _admitted(
        self,
        done: _Done[Response],
        identify: Identify,
        work: Callable[[Visit], Awaitable[bytes]],
        access: Access,
    ) -> bytes | Refusal:
        try:
            caller = access.caller = await self._let_in(identify)
            visit = Visit(caller, identify)
            with self._admission.call(caller.organization, done.lane):
                return await work(visit)
        except Exception as error:
            return refusal(done.name, error)

    async def _run(self, done: _Done[Response], request: Callable[[], Any], visit: Visit) -> bytes:
        perform = partial(self._perform, done, request, visit.caller)
        return await self._admission.run(visit.caller.organization, done.lane, perform, visit.renew)

    def _perform(self, done: _Done[Response], read: Callable[[], Any], caller: Caller) -> bytes:
        request, waits = read(), list[float]()

        def use(transaction: Transaction) -> Response:
            nonlocal waits
            _begin(done, caller, spans.current(), transaction)
            answered = done.use_case(transaction, request)
            waits = transaction.waits
            return answered

        response = self._database.run(caller.organization, caller.channel, use)
        return self._settled(done, caller, response, waits)

    def _settled(self, done: _Done[Response], caller: Caller, response: Response, waits: Iterable[float]) -> bytes:
        for waited in waits:
            metrics.started(caller.organization, waited)
        crash.point(f"server.after_commit.{done.name}")
        self._loss.strike(done.name)
        return done.write(response)

    async def _together(self, lane: Lane, small: Sequence[_Small]) -> Sequence[bytes | Exception | None]:
        refused: list[Exception | None] = []

        async def renew() -> None:
            refused[:] = [await each.refusal() for each in small]

        def perform() -> Sequence[bytes | Exception | None]:
            return self._perform_together([each for each, error in zip(small, refused, strict=True) if error is None])

        answers = iter(await self._admission.run(NOBODY, lane, perform, renew))
        return [next(answers) if error is None else error for error in refused]

    def _perform_together(self, small: Sequence[_Small]) -> Sequence[bytes | Exception | None]:
        calls: dict[int, together.Call] = {}
        for number, each in enumerate(small):
            # One that cannot be read is told so by itself.
            with suppress(BadRequestError):
                calls[number] = each.call()
        places = list(calls)
        done = {places[place]: each for place, each in together.run(self._database.run, list(calls.values())).items()}

        def answer(number: int) -> bytes | Exception | None:
            if number not in done:
                return None
            each, its = small[number], done[number]
            try:
                return each.context.run(self._settled, each.operation, each.caller, its.response, its.waits)
            except Exception as error:
                return error

        return [answer(number) for number in range(len(small))]

    async def look_up(self, function: Callable[[], Result]) -> Result:
        """Run a function in a thread for a caller that is not known yet: all of them share the turns of one."""
        with self._admission.call(NOBODY, Lane.CALL):
            # A call that is held up may wait for it: it waits for none of those.
            return await self._admission.once(NOBODY, Lane.CALL, function)

    async def stream(
        self,
        streaming: Streaming[Request],
        identify: Identify,
        receive: Receive,
        check: Callable[[], None],
        head: Callable[[str, str], Awaitable[None]],
    ) -> AsyncGenerator[bytes | Refusal, None]:
        """Answer a call with a stream of messages; a `Refusal` is its last.

        Args:
            streaming: what it does.
            identify: lets the caller in; asked first.
            receive: receives the request.
            check: raises as soon as the caller may not go on.
            head: tells the caller a value by a name, before the first message.
        """
        with Access(streaming.name) as access, self._open:
            try:
                caller = access.caller = await self._let_in(identify)
                organization = caller.organization
                log.info("stream.opened", method=streaming.name, organization=organization, channel=caller.channel)
                with self._admission.subscription(organization):

                    async def read(body: bytes) -> Request:
                        return streaming.read(body)

                    request = await self._admission.message(receive, organization, Lane.CALL, streaming.size_of, read)
                    flow = Flow(caller, self._events, check, head, self._admission, self._database)
                    async with aclosing(streaming.source(flow, request)) as messages:
                        async for message in messages:
                            yield message
                access.answered(None)
                return
            except Exception as error:
                refused = refusal(streaming.name, error)
            access.answered(refused)
            yield refused

    async def _let_in(self, identify: Identify) -> Caller:
        if self._closed:
            raise ClosedError
        return await identify()
