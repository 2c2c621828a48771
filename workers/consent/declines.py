"""What the consent policy does not cover is not claimed: the orchestrator is told why, and when that is over.

The orchestrator's word counts for nothing here: what it says before the claim is compared with what the claim hands
over (see `attempt`), and the function's archive with the checksum that was consented to (see `program`).
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.insistence import insist
from workers.channels import Channels
from workers.consent.policy import Asked, Consent, Missing

log = structlog.get_logger()

_CALL_SECONDS = 60.0
# For a name that people read, nobody waits.
_NAME_SECONDS = 2.0
_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 5.0
_AT_ONCE = 1000
_MOST_FUNCTIONS = 1024
_MOST_AGREED = 32

Answer = TypeVar("Answer")


class Send(Protocol):
    """Makes a call again and again until it is answered."""

    def __call__(self, call: Callable[[], Answer], /) -> Answer:
        """Return its answer."""


class Asking:
    """Asks what a task wants, and whether that is consented to; one for each process.

    Args:
        channels: the organization's connections.
        consent: its consent policy.
    """

    def __init__(self, channels: Channels, consent: Consent) -> None:
        self.channels = channels
        self.consent = consent
        # A function's archive and owner never change.
        self._functions: dict[tuple[str, str], pb.Function] = {}
        self._plans: dict[tuple[str, str], str] = {}
        self._met: dict[Client, dict[tuple[str, str], Asked]] = {}
        self._older: set[Client] = set()

    def claim(self, param: pb.ClaimTaskParam, send: Send) -> tuple[Client, Asked | None, pb.ClaimTaskResponse] | None:
        """Claim a task if all that it asks is consented to; else decline it, and return None.

        What was consented to before, and still is, is said with the claim; of anything else it is asked first.

        Args:
            param: of the claim.
            send: makes a call that claims, again and again until it is answered.

        Returns:
            The channel of the task; what was consented to, None where something else was claimed; and what was claimed.

        Raises:
            grpc.RpcError: no channel knows the task, it is refused, or the orchestrator does not answer.
        """
        client, answer = self.channels.find(lambda client: self._ask(client, param, send))
        if answer.HasField("claimed"):
            task = answer.claimed.task
            met = self._met[client].get((task.function_key, task.owner))
            return client, met and replace(met, plan=task.compute_plan_key), answer.claimed
        asked = Asked.of(answer.asked.task, answer.asked.function)
        missing = self.consent.judge(asked)
        if missing is not None:
            decline(client, param.compute_task_key, missing)
            # Who has approved it in between has not found it declined.
            missing = self.consent.judge(asked)
        if missing is not None:
            return None
        met_here = self._met.setdefault(client, {})
        while len(met_here) >= _MOST_AGREED:
            del met_here[next(iter(met_here))]
        met_here[asked.function, asked.plan_owner] = asked
        return client, asked, send(lambda: client.worker.ClaimTask(param))

    def _ask(self, client: Client, param: pb.ClaimTaskParam, send: Send) -> pb.ClaimAgreedResponse:
        """Claim a task by what was consented to before, or return what it asks."""
        if client not in self._older:
            covered = self.consent.covered(self._met.get(client, {}).values())
            agreed = [pb.Agreed(function_key=each.function, plan_owner=each.plan_owner) for each in covered]
            try:
                return send(lambda: client.worker.ClaimAgreed(pb.ClaimAgreedParam(claim=param, agreed=agreed)))
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    raise
                self._older.add(client)
        wanted = pb.GetTaskParam(key=param.compute_task_key)
        task = insist(partial(client.tasks.GetTask, wanted), _CALL_SECONDS)
        asked = pb.AskedTask(task=task, function=self._function(client, task.function_key))
        return pb.ClaimAgreedResponse(asked=asked)

    def holds(self, client: Client, asked: Asked | None, claim: pb.ClaimTaskResponse) -> bool:
        """Say whether a claim hands over what was consented to, and that still is; else give it back, and decline it.

        Args:
            client: the connection, in the task's channel.
            asked: what was consented to; None where that is something else.
            claim: what the orchestrator answered.
        """
        given = Asked.of(claim.task, claim.function)
        missing = self.consent.judge(given)
        if given != asked or claim.task.function_key.lower() != claim.function.key.lower():
            log.error("task.another_claimed", task=claim.task.key, asked=str(asked), given=str(given))
            reason = f"{claim.task.worker} was handed another function or compute plan than it had consented to"
            missing = missing or Missing(function=True, plan=True, refused=False, reason=reason)
        if missing is None:
            return True
        back = pb.ReleaseTaskParam(attempt=claim.attempt, reason=missing.reason)
        try:
            insist(lambda: client.worker.ReleaseTask(back), _CALL_SECONDS)
            decline(client, claim.attempt.compute_task_key, missing)
        except grpc.RpcError as error:
            # Its lease ends unrenewed.
            log.warning("task.not_declined", task=claim.attempt.compute_task_key, reason=error.details())
        return False

    def plan_name(self, client: Client, key: str) -> str:
        """Return the name of a compute plan, for people; empty where it cannot be told now.

        Args:
            client: the connection, in its channel.
            key: its key.
        """
        known = self._plans.get((client.channel, key))
        if known is None:
            try:
                known = client.plans.GetPlan(pb.GetComputePlanParam(key=key), timeout=_NAME_SECONDS).name
            except grpc.RpcError:
                return ""
            while len(self._plans) >= _MOST_FUNCTIONS:
                del self._plans[next(iter(self._plans))]
            self._plans[client.channel, key] = known
        return known

    def _function(self, client: Client, key: str) -> pb.Function:
        known = self._functions.get((client.channel, key))
        if known is None:
            known = insist(partial(client.functions.GetFunction, pb.GetFunctionParam(key=key)), _CALL_SECONDS)
            while len(self._functions) >= _MOST_FUNCTIONS:
                del self._functions[next(iter(self._functions))]
            self._functions[client.channel, key] = known
        return known


def decline(client: Client, task: str, missing: Missing) -> None:
    """Tell the orchestrator, and everybody, why a task does not run here.

    Raises:
        grpc.RpcError: it is not To do any more, or the orchestrator does not answer.
    """
    param = pb.DeclineTaskParam(
        compute_task_key=task,
        reason=missing.reason,
        function=missing.function,
        plan=missing.plan,
        refused=missing.refused,
    )
    insist(lambda: client.worker.DeclineTask(param), _CALL_SECONDS)
    log.info("task.declined", task=task, reason=missing.reason)


def waiting(client: Client, worker: str) -> Iterator[pb.Decline]:
    """Yield what a worker has declined in a channel.

    Raises:
        grpc.RpcError: the orchestrator does not answer.
    """
    wanted = pb.GetDeclinesParam(worker=worker, page_size=_AT_ONCE)
    while True:
        page = client.worker.GetDeclines(wanted)
        yield from page.declines
        if not page.next_page_token:
            return
        wanted.page_token = page.next_page_token


def reconsider(client: Client, worker: str, consent: Consent) -> int:
    """Decide again on all that a worker has declined in a channel: what is covered now is poked for.

    Args:
        client: the worker's connection, in the channel.
        worker: its organization.
        consent: its consent policy.

    Returns:
        How many tasks are poked for.

    Raises:
        grpc.RpcError: the orchestrator does not answer.
    """
    covered = []
    for declined in list(waiting(client, worker)):
        missing = consent.judge(Asked.of_decline(declined))
        if missing is None:
            covered.append(declined.compute_task_key)
        elif missing.reason != declined.reason:
            _say_anew(client, declined.compute_task_key, missing)
    count = 0
    for first in range(0, len(covered), _AT_ONCE):
        param = pb.ReconsiderTasksParam(compute_task_keys=covered[first : first + _AT_ONCE])
        count += client.worker.ReconsiderTasks(param).count
    return count


def _say_anew(client: Client, task: str, missing: Missing) -> None:
    try:
        decline(client, task, missing)
    except grpc.RpcError as error:
        # Ordinary: it is not To do any more.
        log.info("task.not_declined", task=task, reason=error.details())


class Reconsideration(threading.Thread):
    """Decides again on what was declined: at the start, and when the consent policy or the decisions change.

    Args:
        channels: the organization's connections.
        organization: whose worker it is.
        consent: its consent policy.
    """

    def __init__(self, channels: Channels, organization: str, consent: Consent) -> None:
        super().__init__(name="reconsideration", daemon=True)
        self._organization = organization
        self._consent = consent
        self._due: list[Client] = []
        self._later = 0.0
        self._clients = channels.clients
        self._ended = threading.Event()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def run(self) -> None:
        """Look until the end."""
        known: object = None
        while not self._ended.wait(_LOOK_SECONDS if known else 0):
            now = (self._consent.policy, self._consent.decisions)
            if now != known:
                known, self._later = now, 0.0
                self._due = list(self._clients)
            if time.monotonic() >= self._later:
                self._due = [client for client in self._due if not self._reconsider(client)]

    def _reconsider(self, client: Client) -> bool:
        try:
            count = reconsider(client, self._organization, self._consent)
        except grpc.RpcError as error:
            # The heartbeat says that the orchestrator is away, or the channel closed.
            log.debug("declines.not_reconsidered", channel=client.channel, error=error.details())
            self._later = time.monotonic() + _AGAIN_SECONDS
            return False
        if count:
            log.info("declines.reconsidered", channel=client.channel, poked=count)
        return True
