"""One organization's connection to an orchestrator, in one channel."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import grpc
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.client import keys, registration, submission
from orchestrator.client.assets import Assets
from orchestrator.client.catalogue import Catalogue
from orchestrator.client.certificates import Certificates, RenewedChannel
from orchestrator.client.errors import CallError
from orchestrator.client.event import Event
from orchestrator.client.interceptors import Interceptor
from orchestrator.client.live import is_shown, sending, settle
from orchestrator.client.outcome import outcome, overdue
from orchestrator.client.plan import BATCH, Known, Plan, load, new_plan, of
from orchestrator.client.plans import Plans
from orchestrator.client.registration import New
from orchestrator.client.services import Services
from orchestrator.client.steps import Call, Result, Steps, Work
from orchestrator.client.stores import Stores
from orchestrator.client.transport import options
from orchestrator.client.watching import PATIENCE, Watch, live, new_watch

_HEALTH = "/grpc.health.v1.Health/Check"


class Client(Services, Assets, Plans):
    """Typed stubs of every service, called as one organization in one channel, and what is made of several calls.

    Calls raise `CallError`, which is a `grpc.RpcError`; those that change nothing when repeated are sent again a few
    times while the server is unavailable. Any other is sent once, and where its answer is lost nobody knows if it was
    done; `register`, `submit`, `cancel` and `watch` find out.

    Where a method takes the key of what is there, it takes as much of its beginning as no other of the channel has, and
    raises `ValueError` where several have it, or none.

    Args:
        address: host:port of the orchestrator; where the name has several addresses, as of several servers, one is
            taken by chance, and another when it is gone.
        organization: who calls (`mspid`).
        channel: the consortium whose assets are meant.
        certificates: for mutual TLS; None speaks plain gRPC.
        timeout: deadline of each unary call, in seconds.
        proxy_from_environment: whether to connect by the proxy that `https_proxy`, `http_proxy` and `no_proxy` name.

    Raises:
        OSError: a certificate file cannot be read.
        ValueError: one is none, the key is another certificate's, or the address is none.
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
        self._timeout = timeout
        self._catalogue = Catalogue()
        self._stores = Stores(certificates, proxy_from_environment)
        how = options(proxy_from_environment)
        if certificates is None:
            self._transport: grpc.Channel = grpc.insecure_channel(address, how)
        else:
            certificates.check()
            self._transport = RenewedChannel(address, certificates, how)
        calls = grpc.intercept_channel(self._transport, Interceptor(organization, channel, timeout, address))
        super().__init__(organization, channel, address, calls)

    def ping(self) -> None:
        """Find out at once whether the server can be reached; other calls try for some seconds.

        Raises:
            CallError: it cannot; UNAVAILABLE.
        """
        check: Any = self._transport.unary_unary(_HEALTH)
        try:
            check(b"", timeout=self._timeout)
        except grpc.RpcError as error:
            # Whatever else it answers, it is there.
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise CallError.of(error) from None

    def plan(
        self, name: str, *, tag: str = "", metadata: Mapping[str, str] | None = None, key: str | None = None
    ) -> Plan[None]:
        """Begin to build a compute plan; nothing is registered before its `submit`.

        Args:
            name: for people.
            tag: to find it again.
            metadata: anything, for people.
            key: a UUID; a random one by default.

        Raises:
            ValueError: the key is no UUID.
        """
        new = new_plan(name, key, tag, metadata)
        return Plan(new, self._declared, self._expect, self.submit, self.scores, self)

    def load(self, path: Path | str) -> Plan[None]:
        """Return a plan that `Plan.save` wrote; it has the key that it had.

        Raises:
            OSError: the file cannot be read.
            PlanError: it holds no plan.
        """
        plan = self.plan("")
        load(plan, path)
        return plan

    def function(self, key: str) -> pb.Function:
        """Return a function; each is asked for once.

        Raises:
            ValueError: the key is no UUID.
            CallError: there is none, or the orchestrator does not answer.
        """
        return self._run(self._catalogue.named(key))

    @overload
    def register(self, new: pb.NewFunction) -> pb.Function: ...
    @overload
    def register(self, new: pb.NewDataManager) -> pb.DataManager: ...
    @overload
    def register(self, new: pb.NewDataSample) -> pb.DataSample: ...
    @overload
    def register(self, new: pb.RegisterOrganizationParam) -> pb.Organization: ...
    def register(self, new: New) -> Message:
        """Register an asset, once: where the answer is lost it is looked for before it is sent again.

        Args:
            new: a function, a data manager, a data sample, or this organization itself.

        Returns:
            The asset as the orchestrator has it.

        Raises:
            CallError: it is refused, as when another has its key (OE0006), or the orchestrator does not answer.
        """
        asset: Message = self._run(registration.register(new, self.organization))
        return asset

    def submit(self, plan: Plan[Any], batch: int = BATCH, bar: bool = True) -> None:
        """Register a compute plan, and those of its tasks that are not registered yet; see `Plan.submit`."""
        before = plan.live
        with sending(plan, bar) as told:
            self._run(submission.submit(plan, batch, told))
        if plan.live and plan.live is not before:
            watch = new_watch(plan)
            plan.live.follow(watch, self.follow(watch))

    def cancel(self, plan: Known) -> None:
        """Cancel a compute plan of ours, given itself or its key.

        One whose tasks are all Done is Cancelled then, too, and takes no more; its results stay.

        Raises:
            ValueError: the key is no UUID.
            CallError: it is not ours, has failed or was cancelled before (OE0109), or the orchestrator does not answer.
        """
        self._run(of(plan, submission.cancel))

    def watch(self, plan: Known, patience: float = PATIENCE) -> Iterator[Event]:
        """Yield what happened to a compute plan from its registration on, then what happens, until it has ended.

        It has ended when it is Done, was cancelled, or has failed. A lost connection is made again, and the events
        go on after the last one, without gap or repeat.

        Args:
            plan: the plan, or its key. A plan that was built here is not Done before all its tasks are; of one
                whose tasks are still being registered, only the key is known, and it may seem Done too early.
            patience: seconds to try when the connection is lost.

        Raises:
            ValueError: the key is no UUID.
            CallError: there is no such plan, or the orchestrator does not answer any more.
        """
        return self.follow(new_watch(plan, patience))

    def wait(self, plan: Known, timeout: float | None = None, bar: bool = True) -> str:
        """Return the word Done once a compute plan, given itself or its key, is; see `Plan.wait`."""
        watch = new_watch(plan, PATIENCE, timeout)
        try:
            with live(watch, bar and not is_shown(plan)) as update:
                for event in self.follow(watch):
                    update(event)
            settle(plan, watch.progress)
        except TimeoutError as error:
            raise self._run(overdue(watch.progress, error)) from None
        return self._run(outcome(self._stores, watch.key, watch.progress))

    def follow(self, watch: Watch) -> Iterator[Event]:
        """Yield events as `watch` does; the watch tells the plan's progress at any time."""
        yield from self._run(watch.begin())
        while not watch.ended:
            lost: grpc.RpcError | None = None
            began = self._connection()
            stream = self.events.SubscribeToEvents(watch.request, timeout=watch.left)
            try:
                for event in stream:
                    yield from watch.take(event)
                    if watch.ended:
                        return
            except grpc.RpcError as error:
                # A certificate that has ended, ends its streams; with a new one they may go on.
                lost = error if self._connection() is began else None
            finally:
                stream.cancel()
            self._run(watch.resume(lost))

    def _declared(self, key: str) -> pb.Function:
        return self._run(self._catalogue.function(key))

    def _expect(self, kind: "pb.AssetKind.ValueType", given: Iterable[str]) -> Mapping[str, str]:
        return self._run(self._catalogue.expect(kind, given))

    def _connection(self) -> grpc.Channel:
        return self._transport.current() if isinstance(self._transport, RenewedChannel) else self._transport

    def _run(self, steps: Steps[Result]) -> Result:
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._perform(step)
                except CallError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    def _perform(self, step: Call | float | Work) -> Any:
        if isinstance(step, float):
            time.sleep(step)
            return None
        return step.do() if isinstance(step, Work) else step(self)

    def close(self) -> None:
        """End the connection; calls that are under way fail with CANCELLED."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            # gRPC would wait for ever for a call that Ctrl-C caught half made.
            threading.Thread(target=self.close, daemon=True).start()
        else:
            self.close()
