"""What an agent reports of its module, again and again, and what it is told then."""

import threading
import time
from collections.abc import Callable, Sequence

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import CallError, Client
from orchestrator_modules import frames
from orchestrator_modules.agent.held import Held, job_of
from orchestrator_modules.agent.module import Module
from orchestrator_modules.kinds import KIND_OF

log = structlog.get_logger()

_FIRST_SECONDS = 1.0
_LOOK_SECONDS = 0.25
_SHORTEST_SECONDS = 0.05
_LAST_SECONDS = 3.0
_UNKNOWN = "OE0002"


class Reports(threading.Thread):
    """Makes the module known, and reports until the last report.

    Args:
        client: the connection to the orchestrator.
        module: of which it reports.

    Attributes:
        registered: set once the orchestrator knows the module.
        node: what it calls itself when it claims.
        queue: which it reads.
        largest: most bytes of an output.
    """

    def __init__(self, client: Client, module: Module) -> None:
        super().__init__(name="reports", daemon=True)
        self._client = client
        self._module = module
        self._kind = KIND_OF[module.hello.kind].number
        self._period = _FIRST_SECONDS
        self._due = threading.Event()
        self._calling = threading.Lock()
        self._over = False
        self._known = False
        self._complaint = ""
        self._requests: dict[int, int] = {}
        self._answers: list[pb.ConfigurationAnswer] = []
        self.registered = threading.Event()
        self.node = self.queue = ""
        self.largest = 1 << 26

    def beat_now(self) -> None:
        """Do not wait for the period."""
        self._due.set()

    def answer(self, response: frames.Response) -> None:
        """Report the answer to a configuration request."""
        members = response.response
        self._requests.pop(response.number, None)
        self._answers.append(
            pb.ConfigurationAnswer(
                transaction_id=response.number,
                success=members["success"],
                err_code=members["err_code"],
                configuration=members["configuration"],
            )
        )
        self.beat_now()

    def run(self) -> None:
        """Report until the last one."""
        due = 0.0
        while not self._over:
            if self._due.is_set() or time.monotonic() >= due:
                self._due.clear()
                self._unfailing(self._call)
                due = time.monotonic() + (self._period if self._known else _FIRST_SECONDS)
                self._due.wait(_SHORTEST_SECONDS)
            self._unfailing(self._module.look)
            if self._module.outcomes():
                self._due.set()
            self._due.wait(max(0.0, min(_LOOK_SECONDS, due - time.monotonic())))

    def _unfailing(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception:
            # The next may do better, and nobody else keeps the module's leases.
            log.exception("report.failed")

    def last(self, phase: "pb.ModulePhase.ValueType") -> None:
        """Report for the last time.

        Args:
            phase: in which the module ends.
        """
        with self._calling:
            if self._over:
                return
            self._over = True
            if self._known:
                try:
                    self._report(phase, _LAST_SECONDS, is_last=True)
                except grpc.RpcError as error:
                    log.warning("module.end_not_told", reason=error.details())

    def _call(self) -> None:
        with self._calling:
            if self._over:
                return
            try:
                if not self._known:
                    self._register()
                self._report(self._module.phase, max(_FIRST_SECONDS, self._period))
            except grpc.RpcError as error:
                if CallError.of(error).oe_code == _UNKNOWN:
                    self._known = False
                reason = error.details() or error.code().name
                if reason != self._complaint:
                    log.warning("orchestrator.not_heard", reason=reason)
                self._complaint = reason
            else:
                if self._complaint:
                    # As loud as the complaint: else who reads it would not know that it is over.
                    log.warning("orchestrator.heard_again")
                self._complaint = ""

    def _register(self) -> None:
        hello = self._module.hello
        answer = self._client.modules.RegisterModule(
            pb.RegisterModuleParam(
                deployment=hello.deployment,
                kind=self._kind,
                name=hello.name,
                process_id=hello.process,
                slots=hello.slots,
            )
        )
        self.node, self.queue, self.largest = answer.node, answer.queue, answer.largest_output
        self._period = answer.period.ToTimedelta().total_seconds()
        self._module.grace = answer.grace.ToTimedelta().total_seconds()
        self._module.drain = answer.drain.ToTimedelta().total_seconds()
        self._known = True
        self._module.accept(answer.accepting)
        self.registered.set()

    def _report(self, phase: "pb.ModulePhase.ValueType", timeout: float, is_last: bool = False) -> None:
        module, hello = self._module, self._module.hello
        held, receipts = module.attempts.all(), module.attempts.receipts()
        outcomes, answers = module.outcomes(), list(self._answers)
        if is_last:
            # What did not stop has ended with its process.
            receipts, held = [*receipts, *(each for each in held if each.told)], []
        answer = self._client.modules.ReportModule(
            pb.ReportModuleParam(
                deployment=hello.deployment,
                kind=self._kind,
                name=hello.name,
                process_id=hello.process,
                phase=phase,
                reason=module.reason,
                attempts=[each.attempt for each in held if each.told or not each.refused],
                stopped=[each.attempt for each in receipts],
                outcomes=[pb.CommandOutcome(command_id=id, error=error) for id, error in outcomes.items()],
                answers=answers,
                slots=hello.slots,
            ),
            timeout=timeout,
        )
        module.attempts.receipted(receipts)
        module.reported(outcomes)
        del self._answers[: len(answers)]
        if is_last:
            return
        self._stop(answer, held)
        module.accept(answer.accepting)
        module.command(answer.commands)
        for request in answer.requests:
            self._ask(request)

    def _stop(self, answer: pb.ReportModuleResponse, held: Sequence[Held]) -> None:
        named = {each.job for each in held}
        for stop in answer.stops:
            job = job_of(pb.Attempt(compute_task_key=stop.compute_task_key, number=stop.number))
            if job in named:
                self._module.stop(job, stop.grace.ToTimedelta().total_seconds(), stop.reason)

    def _ask(self, request: pb.ConfigurationRequest) -> None:
        number = request.transaction_id
        if number in self._requests or any(answer.transaction_id == number for answer in self._answers):
            return
        self._requests[number] = number
        members = {"node_id": self._kind, "transaction_id": number, "configuration": request.configuration}
        self._module.script.tell(frames.Request(number, members))
