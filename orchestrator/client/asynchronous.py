"""The connection for programs that use asyncio."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import grpc
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.client import check as checking
from orchestrator.client import continuation, keys, registration, submission
from orchestrator.client.asynchronous_assets import AsyncAssets
from orchestrator.client.catalogue import Catalogue
from orchestrator.client.certificates import Certificates, RenewedAsyncChannel
from orchestrator.client.check import Check
from orchestrator.client.continuation import Continuation, Continuations, Replacements
from orchestrator.client.errors import CallError, PlanError
from orchestrator.client.event import Event
from orchestrator.client.interceptors import AsyncPartsInterceptor, AsyncStreamInterceptor, AsyncUnaryInterceptor
from orchestrator.client.live import is_shown, sending, settle
from orchestrator.client.outcome import outcome, overdue
from orchestrator.client.plan import BATCH, Known, Plan, load, new_plan, of
from orchestrator.client.registration import New
from orchestrator.client.services import AsyncServices
from orchestrator.client.steps import Call, Result, Steps, Work
from orchestrator.client.stores import Stores
from orchestrator.client.transport import options
from orchestrator.client.watching import PATIENCE, Watch, live, new_watch


class AsyncClient(AsyncServices, AsyncAssets):
    """What `Client` is, for asyncio: calls and most methods are awaited, `watch` is an async iterator.

    Make it inside the event loop that will use it. Its arguments and errors are those of `Client`.
    """

    def __init__(
        self,
        address: str,
        organization: str,
        channel: str,
        certificates: Certificates | None = None,
        timeout: float = 30.0,
        proxy_from_environment: bool = False,
    ) -> None:
        address = keys.checked_address(address)
        self._catalogue = Catalogue()
        self._stores = Stores(certificates, proxy_from_environment)
        identity = (organization, channel, timeout, address)
        kinds = (AsyncUnaryInterceptor, AsyncStreamInterceptor, AsyncPartsInterceptor)
        interceptors: list[Any] = [kind(*identity) for kind in kinds]
        how = options(proxy_from_environment)
        self._transport: Any
        if certificates is None:
            self._transport = grpc.aio.insecure_channel(address, how, interceptors=interceptors)
        else:
            certificates.check()
            self._transport = RenewedAsyncChannel(
                lambda credentials: grpc.aio.secure_channel(address, credentials, how, interceptors=interceptors),
                certificates,
            )
        super().__init__(organization, channel, address, self._transport)

    def plan(
        self, name: str, *, tag: str = "", metadata: Mapping[str, str] | None = None, key: str | None = None
    ) -> Plan[Awaitable[None]]:
        """Begin to build a compute plan; its `submit` is awaited.

        Its functions are given as `await client.function(key)` returns them, or by the key once that was done. Other
        keys are looked up by `submit`, before anything is sent.
        """
        new = new_plan(name, key, tag, metadata)
        return Plan(new, self._known, _look_later, self.submit, self.scores, self)

    def load(self, path: Path | str) -> Plan[Awaitable[None]]:
        """Return a plan that `Plan.save` wrote; see `Client.load`."""
        plan = self.plan("")
        load(plan, path)
        return plan

    async def function(self, key: str) -> pb.Function:
        """Return a function; each is asked for once."""
        return await self._run(self._catalogue.named(key))

    @overload
    async def register(self, new: pb.NewFunction) -> pb.Function: ...
    @overload
    async def register(self, new: pb.NewDataManager) -> pb.DataManager: ...
    @overload
    async def register(self, new: pb.NewDataSample) -> pb.DataSample: ...
    @overload
    async def register(self, new: pb.RegisterOrganizationParam) -> pb.Organization: ...
    async def register(self, new: New) -> Message:
        """Register an asset, once, and return it; see `Client.register`."""
        asset: Message = await self._run(registration.register(new, self.organization))
        return asset

    async def submit(self, plan: Plan[Any], batch: int = BATCH, bar: bool = True) -> None:
        """Register what is not registered yet of a compute plan; see `Plan.submit`."""
        await self._run(self._catalogue.expect_of(plan.tasks[plan.submitted :]))
        before = plan.live
        with sending(plan, bar) as told:
            await self._run(submission.submit(plan, batch, told))
        if plan.live and plan.live is not before:
            watch = new_watch(plan)
            plan.live.follow_by_asyncio(watch, self.follow(watch))

    async def check(self, plan: Plan[Any]) -> Check:
        """Return what is wrong with a plan, and what it would wait for; see `Client.check`."""
        await self._run(self._catalogue.complete(plan.tasks))
        return await self._run(checking.check(plan.message, [task.message for task in plan.tasks]))

    async def retry(
        self,
        plan: Known,
        *,
        name: str = "",
        replacements: Replacements | None = None,
        key: str | None = None,
    ) -> Continuation:
        """Register a new plan of what is not Done of another; see `Client.retry`."""
        return await self._run(of(plan, lambda first: continuation.retry(first, name, replacements, key)))

    async def rerun(
        self,
        plan: Known,
        *,
        edited: Plan[Any] | None = None,
        name: str = "",
        replacements: Replacements | None = None,
        key: str | None = None,
    ) -> Continuation:
        """Register a new plan like another, of what has changed; see `Client.rerun`."""
        return await self._run(of(plan, lambda first: submission.rerun(first, edited, name, replacements, key)))

    async def continuations(self, plan: Known) -> Continuations:
        """Return how a plan is linked to others; see `Client.continuations`."""
        return await self._run(of(plan, continuation.continuations))

    async def cancel(self, plan: Known) -> None:
        """Cancel a compute plan of ours; see `Client.cancel`."""
        await self._run(of(plan, submission.cancel))

    def watch(self, plan: Known, patience: float = PATIENCE) -> AsyncIterator[Event]:
        """Yield what happened and happens to a compute plan until it has ended; see `Client.watch`."""
        return self.follow(new_watch(plan, patience))

    async def wait(self, plan: Known, timeout: float | None = None, bar: bool = True) -> str:
        """Return the word Done once a compute plan, given itself or its key, is; see `Plan.wait`."""
        watch = new_watch(plan, PATIENCE, timeout)
        try:
            with live(watch, bar and not is_shown(plan)) as update:
                async for event in self.follow(watch):
                    update(event)
            settle(plan, watch.progress)
        except TimeoutError as error:
            raise await self._run(overdue(watch.progress, error)) from None
        return await self._run(outcome(self._stores, watch.key, watch.progress))

    async def follow(self, watch: Watch) -> AsyncIterator[Event]:
        """Yield events as `watch` does; the watch tells the plan's progress at any time."""
        for event in await self._run(watch.begin()):
            yield event
        while not watch.ended:
            lost: grpc.RpcError | None = None
            began = self._connection()
            stream = self.events.SubscribeToEvents(watch.request, timeout=watch.left)
            try:
                async for raw in stream:
                    for event in watch.take(raw):
                        yield event
                    if watch.ended:
                        return
            except grpc.aio.AioRpcError as error:
                lost = error if self._connection() is began else None
            finally:
                stream.cancel()
            await self._run(watch.resume(lost))

    def _connection(self) -> object:
        return self._transport.current() if isinstance(self._transport, RenewedAsyncChannel) else self._transport

    async def _run(self, steps: Steps[Result]) -> Result:
        try:
            step = next(steps)
            while True:
                try:
                    answer = await self._perform(step)
                except CallError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    async def _perform(self, step: Call | float | Work) -> Any:
        if isinstance(step, float):
            return await asyncio.sleep(step)
        if isinstance(step, Work):
            return await asyncio.to_thread(step.do)
        try:
            return await step(self)
        except grpc.aio.AioRpcError as error:
            raise CallError.of(error) from None

    def _known(self, key: str) -> pb.Function:
        known = [found for whole, found in self._catalogue.functions.items() if whole.startswith(key)]
        if len(known) != 1:
            raise PlanError(f"function {key} is not known yet; give what `await client.function(key)` returns")
        return known[0]

    async def close(self) -> None:
        """End the connection; calls that are under way fail with CANCELLED."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _look_later(_: object, given: Iterable[str]) -> Mapping[str, str]:
    """Leave keys to `submit`: who builds a plan awaits nothing."""
    return {key: key for key in given}
