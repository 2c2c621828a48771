"""A job of the cluster that this process looks after: within its lease, on its way, to its end."""

import shutil
import time
from math import ceil, floor
from pathlib import Path
from typing import Any

import structlog

from workers.executors import pods
from workers.executors.cluster import Cluster, ClusterError, Object
from workers.executors.executor import Ending, Job, Outcome
from workers.executors.follower import Follower
from workers.executors.job_start import JobStart
from workers.executors.lasting import LostRunError
from workers.executors.lease import clock, left
from workers.executors.manifest import run_name
from workers.executors.moment import Moment
from workers.executors.quota import Quota

log = structlog.get_logger()

_LOOK_SECONDS = 5.0
_HEAR_SECONDS = 30.0
_PATIENCE_SECONDS = 5.0
# What a cluster's deadline is behind a lease at most: it has whole seconds, and needs some to act.
_LEAST_SECONDS = 5


class JobRun:
    """A job that was made, by this process or by one that has gone.

    Args:
        cluster: that has it.
        job: what it runs.
        start: of it.
        deadline: seconds after that start to which the cluster lets it run; None for no end.
        patience: seconds that its container may wait to begin.
        suspended: whether it was suspended, and is to begin anew.
    """

    def __init__(
        self,
        cluster: Cluster,
        job: Job,
        start: JobStart,
        deadline: int | None,
        patience: float,
        *,
        suspended: bool = False,
    ) -> None:
        self._cluster = cluster
        self._job = job
        self._name = run_name(job.folder)
        self._start = start.name
        self._patience = patience
        # By `clock`.
        self._begun = clock() - start.moment.ago
        self._until = None if deadline is None else self._begun + deadline
        self._suspended, self._told = False, not suspended
        self._looked = self._waited = time.monotonic()
        self._follower = Follower(cluster, self._name, job.log, job.limits.log_size)
        self._quota = Quota((job.folder / each for each in ("function", "home", "outputs")), job.limits)

    @property
    def is_over(self) -> bool:
        """Whether its lease is."""
        return left(self._job.lease) <= 0

    def suspend(self, suspended: bool) -> None:
        """Have it suspended, or begin anew; tried again, while the cluster cannot be told.

        Args:
            suspended: whether it is to have no pod.
        """
        self._suspended, self._told = suspended, False
        self._agree()

    def outcome(self, seconds: float) -> Outcome | None:
        """Wait for the end of its container, and look after its lease and what it keeps.

        Args:
            seconds: to wait at most.

        Raises:
            OSError: it cannot run, or has ended without a code.
        """
        follower = self._follower
        follower.wait(seconds, lambda: pods.ended(follower.pod))
        pod = follower.pod
        if pod is not None and pods.ended(pod):
            return self._concluded(pod)
        if not self._told:
            self._agree()
        elif not self._suspended:
            self._renew()
            self._look(pod)
        excess = self._quota.look(None)
        return Outcome(Ending.EXCEEDED, reason=excess) if excess else None

    def close(self) -> None:
        """Follow it no more."""
        self._follower.close()

    def _agree(self) -> None:
        """Tell the cluster whether it is to run."""
        try:
            if self._suspended:
                self._cluster.change("jobs", self._name, {"spec": {"suspend": True}}, _PATIENCE_SECONDS)
                for pod in pods.of(self._cluster, self._name):
                    if pods.goes_on(pod):
                        self._cluster.delete("pods", pod["metadata"]["name"], grace=1)
                self._told = not any(pods.goes_on(pod) for pod in pods.of(self._cluster, self._name))
                return
            if pods.of(self._cluster, self._name):
                return
            _empty(self._job.folder)
            start = JobStart(self._start, Moment.now())
            start.keep(self._job.folder)
            self._begun = start.moment.clock
            seconds = deadline(self._job.lease, 0.0)
            spec: dict[str, Any] = {"suspend": False}
            if seconds is not None:
                spec["activeDeadlineSeconds"] = seconds
            self._cluster.change("jobs", self._name, {"spec": spec}, _PATIENCE_SECONDS)
            self._until = None if seconds is None else self._begun + seconds
            self._told, self._waited = True, time.monotonic()
            self._follower.say("[it was suspended, since its lease was over, and begins anew]")
        except ClusterError as error:
            log.warning("job.not_told", job=self._name, suspended=self._suspended, reason=str(error))

    def _renew(self) -> None:
        """Move its deadline with its lease."""
        seconds = left(self._job.lease)
        if self._until is None or seconds <= 0 or clock() + seconds < self._until + max(1.0, seconds / 4):
            return
        moved = deadline(self._job.lease, clock() - self._begun)
        try:
            self._cluster.change("jobs", self._name, {"spec": {"activeDeadlineSeconds": moved}}, _PATIENCE_SECONDS)
            self._until = self._begun + (moved or 0)
        except ClusterError as error:
            log.warning("job.not_renewed", job=self._name, reason=str(error))

    def _look(self, pod: Object | None) -> None:
        """See to it that it gets on.

        Raises:
            ClusterError: it does not.
            LostRunError: the cluster has ended it: its lease was over.
        """
        if time.monotonic() < self._looked + _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        follower = self._follower
        try:
            found = self._cluster.get("jobs", self._name, _PATIENCE_SECONDS)
        except ClusterError as error:
            log.warning("job.unknown", job=self._name, reason=str(error))
            return
        if found is None:
            raise ClusterError(f"the job {self._name} is gone: somebody has deleted it")
        why = pods.conclusion(found)
        if why is not None and not pods.ended(follower.pod):
            # Its pod may be seen in a moment.
            if follower.wait(_LOOK_SECONDS, lambda: pods.ended(follower.pod)):
                return
            if pods.is_overdue(found):
                raise LostRunError(f"the cluster has ended the job {self._name}: {why}")
            raise ClusterError(f"the job {self._name} has ended without an exit code: {why}")
        if "running" in pods.status(pod or {}):
            self._waited = time.monotonic()
        elif time.monotonic() > self._waited + self._patience or pods.is_hopeless(pod):
            raise ClusterError(f"the job {self._name} does not begin: {pods.waits_for(pod)}")

    def _concluded(self, pod: Object) -> Outcome:
        """Return how a pod has ended."""
        state = pods.terminated(pod)
        if state is None:
            told = pod["status"].get("message") or pod["status"].get("reason") or "nobody says why"
            raise ClusterError(f"the pod of the job {self._name} was ended: {told}")
        self._follower.hear_out(pod["metadata"]["name"], _HEAR_SECONDS)
        if state.get("reason") == "OOMKilled":
            self._follower.say(f"\n[it was killed: it used more than its {self._job.limits.memory} bytes of memory]")
        elif state.get("reason") in ("StartError", "ContainerCannotRun"):
            self._follower.say(str(state.get("message", "it could not be started")))
        self._follower.close()
        if excess := self._quota.last():
            return Outcome(Ending.EXCEEDED, reason=excess)
        return Outcome(Ending.EXITED, int(state["exitCode"]))


def deadline(lease: Path | None, elapsed: float) -> int | None:
    """Return how many seconds after its beginning the cluster is to end a job.

    Args:
        lease: of its attempt; None for no end.
        elapsed: seconds since its beginning.
    """
    if lease is None:
        return None
    return max(ceil(elapsed) + _LEAST_SECONDS, floor(elapsed + left(lease)))


def _empty(folder: Path) -> None:
    """Have a run begin with nothing of the one before."""
    for name in ("outputs", "home"):
        for path in (folder / name).iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
