"""The load generator: an asyncio gRPC client of raw bytes, in a process of its own.

The functions here are what that process is told to do; each runs to its end and returns what it saw. Times are those
of `time.perf_counter` unless said otherwise.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import grpc

from benchmarks.clients import Driven, work
from orchestrator import protos as pb
from orchestrator.client import Certificates

Unary: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
Stream: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_CALL_SECONDS = 300.0
_POLL_SECONDS = 0.02
_SUBSCRIBE = "/orchestrator.EventService/SubscribeToEvents"
_SUBSCRIBE_TO_BATCHES = "/orchestrator.WorkerService/SubscribeToEventBatches"


@dataclass(frozen=True)
class Target:
    """Who calls whom.

    Args:
        address: host:port of the server.
        organization: the caller.
        channel: in which.
        certificates: for mutual TLS; None speaks plain gRPC.
    """

    address: str
    organization: str
    channel: str
    certificates: Certificates | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each call bears."""
        return (("mspid", self.organization), ("channel", self.channel))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[grpc.aio.Channel]:
        """Open a connection, ready to be used."""
        credentials = self.certificates.credentials() if self.certificates else None
        if credentials is None:
            channel = grpc.aio.insecure_channel(self.address, _UNLIMITED)
        else:
            channel = grpc.aio.secure_channel(self.address, credentials, _UNLIMITED)
        async with channel:
            await channel.channel_ready()
            yield channel


@dataclass(frozen=True)
class Step:
    """One call.

    Args:
        method: as in `/orchestrator.ComputeTaskService/RegisterTasks`.
        body: the serialized request.
        attempt: whether the attempt that the step before was answered goes in front: the first field of both.
        reports: of a CompleteTasks, whose body they are: each with the attempt in front that the ClaimTasks before was
            answered in its place.
    """

    method: str
    body: bytes
    attempt: bool = False
    reports: Sequence[bytes] = ()


Life = Sequence[Step]
"""Calls of one client, one after another."""


def drive(target: Target, clients: int, lives: Sequence[Life], seconds: float) -> Driven:
    """Let clients of gRPC work through lives; see `work`.

    Args:
        target: of the calls.
        clients: how many at once.
        lives: each is taken by one client.
        seconds: after which no new one is begun.
    """
    return asyncio.run(work(clients, lives, seconds, target.connect, partial(_live, target)))


async def _live(target: Target, channel: grpc.aio.Channel, life: Life, driven: Driven) -> None:
    answer = b""
    for step in life:
        body = _reported(answer, step.reports) if step.reports else step.body
        body = _first_field(answer) + body if step.attempt else body
        call: Unary = channel.unary_unary(step.method)
        begun = time.perf_counter()
        try:
            answer = await call(body, metadata=target.metadata, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            driven.failures += 1
            driven.reason = driven.reason or f"{step.method}: {error.code()} {error.details()}"
            return
        driven.latencies.append(time.perf_counter() - begun)
        driven.calls += 1
    driven.lives += len(life[-1].reports) or 1


def _reported(answer: bytes, reports: Sequence[bytes]) -> bytes:
    """Return a CompleteTasks of reports for the attempts of a ClaimTasks; one that was refused gets none."""
    param = pb.CompleteTasksParam(reports=[pb.CompleteTaskParam.FromString(report) for report in reports])
    for report, result in zip(param.reports, pb.ClaimTasksResponse.FromString(answer).results, strict=True):
        report.attempt.CopyFrom(result.claimed.attempt)
    return param.SerializeToString()


def _first_field(message: bytes) -> bytes:
    """Return field 1 of a message, which is a message itself, with its tag and length."""
    size, shift, place = 0, 0, 1
    while True:
        byte = message[place]
        size |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if not byte & 0x80:
            return message[: place + size]


@dataclass
class Streamed:
    """What a subscriber got.

    Args:
        events: how many.
        size: bytes of all.
        seconds: from the subscription to the last event.
        first: seconds from the subscription to the first event.
        busy: seconds from the first event to the last.
        lags: seconds from the time that an event bears to its arrival, by the clock of the day, of some events.
    """

    events: int = 0
    size: int = 0
    seconds: float = 0.0
    first: float = 0.0
    busy: float = 0.0
    lags: list[float] = field(default_factory=list)


def follow(
    target: Target, after: str, marker: bytes, seconds: float, subscribers: int = 1, *, batches: bool = False
) -> list[Streamed]:
    """Subscribe, and count events until one holds a marker.

    Args:
        target: whose events.
        after: the id of the event to begin after; empty for all.
        marker: bytes of the last event.
        seconds: to wait for it.
        subscribers: how many do the same at once.
        batches: whether to ask for many events in a message.
    """
    return asyncio.run(_follow(target, after, marker, seconds, subscribers, batches))


async def _follow(
    target: Target, after: str, marker: bytes, seconds: float, subscribers: int, batches: bool
) -> list[Streamed]:
    # The one parameter of both is the same field.
    request = pb.SubscribeToEventsParam(start_event_id=after).SerializeToString()

    async def subscriber(streamed: Streamed) -> None:
        async with target.connect() as channel:
            begun = time.perf_counter()
            method: Stream = channel.unary_stream(_SUBSCRIBE_TO_BATCHES if batches else _SUBSCRIBE)
            call = method(request, metadata=target.metadata)
            # Read when the time is taken: a subscriber that has much to do would be what is measured.
            kept: list[bytes] = []
            async for message in call:
                if not streamed.size:
                    streamed.first = time.perf_counter() - begun
                if batches:
                    kept.append(message)
                else:
                    streamed.events += 1
                streamed.size += len(message)
                if streamed is streams[0] and not batches and streamed.events % 16 == 0:
                    moment = pb.Event.FromString(message).timestamp
                    streamed.lags.append(time.time() - moment.seconds - moment.nanos / 1e9)
                if marker in message:
                    break
            streamed.seconds = time.perf_counter() - begun
            streamed.busy = streamed.seconds - streamed.first
            call.cancel()
            streamed.events += sum(len(pb.EventBatch.FromString(message).events) for message in kept)

    streams = [Streamed() for _ in range(subscribers)]
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        for streamed in streams:
            group.create_task(subscriber(streamed))
    return streams


def stream(target: Target, count: int, size: int) -> float:
    """Take a bare stream of the echo server; return its seconds.

    Args:
        target: the echo server.
        count: messages.
        size: bytes of each.
    """

    async def take() -> float:
        request = pb.SubscribeToEventsParam(start_event_id=f"{count}:{size}").SerializeToString()
        async with target.connect() as channel:
            method: Stream = channel.unary_stream(_SUBSCRIBE)
            begun = time.perf_counter()
            async for _ in method(request, metadata=target.metadata):
                pass
            return time.perf_counter() - begun

    return asyncio.run(take())


def lag(target: Target, after: str, plans: Sequence[bytes]) -> list[float]:
    """Return the seconds from each call's answer to its event, on a server that does nothing else.

    Args:
        target: whose events, and who registers.
        after: the id of the newest event.
        plans: requests of RegisterPlan.
    """

    async def take() -> list[float]:
        request = pb.SubscribeToEventsParam(start_event_id=after).SerializeToString()
        lags = []
        async with target.connect() as channel:
            method: Stream = channel.unary_stream(_SUBSCRIBE)
            events = aiter(method(request, metadata=target.metadata))
            for plan in plans:
                register: Unary = channel.unary_unary("/orchestrator.ComputePlanService/RegisterPlan")
                arrival = asyncio.ensure_future(_arrival(events))
                await register(plan, metadata=target.metadata, timeout=_CALL_SECONDS)
                answered = time.perf_counter()
                async with asyncio.timeout(_CALL_SECONDS):
                    lags.append(max(0.0, await arrival - answered))
        return lags

    return asyncio.run(take())


async def _arrival(events: AsyncIterator[bytes]) -> float:
    await anext(events)
    return time.perf_counter()


def until_idle(target: Target, plan: str, seconds: float) -> float:
    """Wait until no task of a plan can run any more; return the seconds that it took.

    Args:
        target: who asks.
        plan: its key.
        seconds: to wait at most.
    """

    async def wait() -> float:
        request = pb.IsPlanRunningParam(key=plan).SerializeToString()
        begun = time.perf_counter()
        async with target.connect() as channel, asyncio.timeout(seconds):
            ask: Unary = channel.unary_unary("/orchestrator.ComputePlanService/IsPlanRunning")
            while True:
                asked = time.perf_counter()
                answer = await ask(request, metadata=target.metadata)
                if not pb.IsPlanRunningResponse.FromString(answer).is_running:
                    return asked - begun
                # However long it takes to count the tasks, the server does little else than run them.
                await asyncio.sleep(max(_POLL_SECONDS, 20 * (time.perf_counter() - asked)))

    return asyncio.run(wait())
