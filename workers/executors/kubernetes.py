"""The executor `kubernetes`: each attempt is a job of a cluster, whose pod shares the worker's folders by volumes.

A pod cannot be frozen. So what has no lease is suspended: its pod ends, and with a new lease it begins anew. Without a
worker the cluster itself ends a job when its lease is over: it has a deadline, which the worker moves with the lease.
"""

import shutil
import time
import uuid
from dataclasses import dataclass, field
from math import ceil, floor
from pathlib import Path
from typing import Any

import structlog

from workers.executors import arguments
from workers.executors.cluster import Cluster, ClusterError, Object
from workers.executors.executor import Ending, Executor, Job, Outcome, UnfitError
from workers.executors.follower import Follower, status, terminated
from workers.executors.image import Image, Waiting
from workers.executors.lease import clock, left
from workers.executors.manifest import FOLDER, NODE, RUN, START, manifest, node_label, run_name
from workers.executors.places import ARGUMENTS, placed
from workers.executors.quota import Quota
from workers.settings import WorkerSettings

log = structlog.get_logger()

_POLL_SECONDS = 0.2
_LOOK_SECONDS = 5.0
_GONE_SECONDS = 60.0
_HEAR_SECONDS = 30.0
_PATIENCE_SECONDS = 5.0
# What a cluster's deadline is behind a lease at most: it has whole seconds, and needs some to act.
_LEAST_SECONDS = 5
_STARTED = "job"
# Of a container that waits, and will wait for ever.
_HOPELESS = frozenset({"InvalidImageName", "CreateContainerConfigError", "CreateContainerError"})


@dataclass
class _Run:
    """A job that this process has made.

    Args:
        job: what it runs.
        follower: of its pods.
        quota: of its folders.
        begun: when it was started, or resumed, by `clock`.
        until: to when its deadline in the cluster lets it run, by `clock`; None where it has none.
        suspended: whether it is to have no pod.
        looked: when the job itself was looked at last, by `time.monotonic`.
        waited: since when its container waits to begin, by `time.monotonic`.
    """

    job: Job
    follower: Follower
    quota: Quota
    begun: float
    until: float | None
    suspended: bool = False
    told: bool = True
    looked: float = field(default_factory=time.monotonic)
    waited: float = field(default_factory=time.monotonic)


class Jobs:
    """Runs functions as jobs of a cluster; see `executor.Executor` and `image.Imaging`.

    Args:
        settings: the worker's.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._cluster = Cluster(settings.kubernetes_namespace)
        self._runs: dict[Path, _Run] = {}

    def check(self) -> None:
        """See to it that jobs can be had, and end what this node has left whose folder is gone.

        Raises:
            UnfitError: they cannot.
        """
        try:
            listed = self._cluster.list("jobs", f"{NODE}={node_label(self._settings)}")
            self._cluster.list("pods", f"{NODE}={node_label(self._settings)}", limit=1)
        except ClusterError as error:
            raise UnfitError(
                f"jobs of the cluster cannot be had: {error}; the worker's service account needs the rights that "
                "docs/operate/executors.md tells, or choose another ORCHESTRATOR_EXECUTOR"
            ) from error
        for found in listed.get("items", []):
            folder = found["metadata"].get("annotations", {}).get(FOLDER, "")
            if not Path(folder).exists():
                name = found["metadata"]["name"]
                log.warning("job.removed", job=name, reason="its attempt's folder is gone")
                self._delete(name, 0.0)

    def fetch(self, name: str, waiting: Waiting) -> Image:  # noqa: ARG002 - nothing is waited for
        """Return an image, which the cluster's nodes fetch themselves."""
        return Image(name)

    def start(self, job: Job) -> None:
        """Make a job.

        Raises:
            OSError: it cannot be made.
        """
        if job.image is None:
            raise ClusterError("a job of a cluster needs an image")
        bound, seen = placed(job.folder, [*job.inputs, *job.outputs])
        words = [*job.command]
        if job.told:
            given = len(job.inputs)
            arguments.write(job.folder / "arguments", job.rank, seen[:given], seen[given:])
            words.append(f"@{ARGUMENTS}")
        # By it others know that there may be one.
        (job.folder / _STARTED).touch()
        start, seconds = uuid.uuid4().hex, _deadline(job.lease, 0.0)
        begun = clock()
        wanted = manifest(job, self._settings, words, list(bound.items()), start, seconds)
        self._create(wanted, start)
        folders = (job.folder / each for each in ("function", "home", "outputs"))
        self._runs[job.folder] = _Run(
            job,
            Follower(self._cluster, run_name(job.folder), job.log, job.limits.log_size),
            Quota(folders, job.limits),
            begun,
            None if seconds is None else begun + seconds,
        )

    def _create(self, wanted: Object, start: str) -> None:
        name = wanted["metadata"]["name"]
        try:
            self._cluster.create("jobs", wanted)
        except ClusterError as error:
            if not error.is_taken:
                raise
            # An answer that was lost, or one of that name that is not ours.
            found = self._cluster.get("jobs", name)
            if found is None or found["metadata"].get("annotations", {}).get(START) != start:
                raise ClusterError(f"there is another job {name} already, which nobody here has made") from error

    def alive(self, folder: Path) -> bool:
        """Say whether the job, or a pod of it, is there and has not ended."""
        if not (folder / _STARTED).exists():
            return False
        name = run_name(folder)
        try:
            found = self._cluster.get("jobs", name)
            if found is not None and _conclusion(found) is None:
                return True
            return any(_goes_on(pod) for pod in self._pods(name))
        except ClusterError as error:
            log.error("job.unknown", job=name, reason=str(error))
            return True

    def pause(self, folder: Path) -> None:
        """Suspend the job: its pod ends."""
        run = self._runs[folder]
        run.suspended, run.told = True, False
        self._agree(run)

    def resume(self, folder: Path) -> None:
        """Let the job begin anew, once nothing of it is left that ran without a lease."""
        run = self._runs[folder]
        run.suspended, run.told = False, False
        self._agree(run)

    def outcome(self, folder: Path, seconds: float) -> Outcome | None:
        """Wait for the end of the job's container, and look after its lease and what it keeps.

        Raises:
            OSError: it cannot run, or has ended without a code.
        """
        run = self._runs[folder]
        run.follower.wait(seconds, lambda: _ended(run.follower.pod))
        pod = run.follower.pod
        if pod is not None and _ended(pod):
            return self._concluded(run, pod)
        if not run.told:
            self._agree(run)
        elif not run.suspended:
            self._renew(run)
            self._look(run, pod)
        excess = run.quota.look(None)
        return Outcome(Ending.EXCEEDED, reason=excess) if excess else None

    def end(self, folder: Path, grace: float) -> bool:
        """Delete the job with all that belongs to it, and see that it is gone."""
        run = self._runs.pop(folder, None)
        try:
            if not (folder / _STARTED).exists():
                return True
            if run is not None and left(run.job.lease) <= 0:
                grace = 0.0
            return self._delete(run_name(folder), grace)
        finally:
            if run is not None:
                run.follower.close()

    def _delete(self, name: str, grace: float) -> bool:
        """Delete a job; say whether it and its pods were seen gone."""
        deadline = time.monotonic() + grace + _GONE_SECONDS
        try:
            self._cluster.delete("jobs", name)
            while True:
                pods = self._pods(name)
                if not pods and self._cluster.get("jobs", name) is None:
                    return True
                for pod in pods:
                    if grace <= 0 or not _goes_on(pod):
                        # Not 0: the pod would be forgotten before anybody knows that it has ended.
                        self._cluster.delete("pods", pod["metadata"]["name"], grace=1)
                if time.monotonic() > deadline:
                    log.error("job.not_gone", job=name, pods=len(pods))
                    return False
                time.sleep(_POLL_SECONDS)
        except ClusterError as error:
            log.error("job.not_ended", job=name, reason=str(error))
            return False

    def _pods(self, name: str) -> list[Object]:
        found: list[Object] = self._cluster.list("pods", f"{RUN}={name}").get("items", [])
        return found

    def _agree(self, run: _Run) -> None:
        """Tell the cluster whether a job is to run; tried again, while it cannot be told."""
        name = run_name(run.job.folder)
        try:
            if run.suspended:
                self._cluster.change("jobs", name, {"spec": {"suspend": True}}, _PATIENCE_SECONDS)
                for pod in self._pods(name):
                    if _goes_on(pod):
                        self._cluster.delete("pods", pod["metadata"]["name"], grace=1)
                run.told = not any(_goes_on(pod) for pod in self._pods(name))
                return
            if self._pods(name):
                return
            _empty(run.job.folder)
            run.begun = clock()
            seconds = _deadline(run.job.lease, 0.0)
            spec: dict[str, Any] = {"suspend": False}
            if seconds is not None:
                spec["activeDeadlineSeconds"] = seconds
            self._cluster.change("jobs", name, {"spec": spec}, _PATIENCE_SECONDS)
            run.until = None if seconds is None else run.begun + seconds
            run.told, run.waited = True, time.monotonic()
            run.follower.say("[it was suspended, since its lease was over, and begins anew]")
        except ClusterError as error:
            log.warning("job.not_told", job=name, suspended=run.suspended, reason=str(error))

    def _renew(self, run: _Run) -> None:
        """Move the job's deadline with its lease."""
        seconds = left(run.job.lease)
        if run.until is None or seconds <= 0 or clock() + seconds < run.until + max(1.0, seconds / 4):
            return
        elapsed = clock() - run.begun
        deadline = _deadline(run.job.lease, elapsed)
        try:
            self._cluster.change(
                "jobs", run_name(run.job.folder), {"spec": {"activeDeadlineSeconds": deadline}}, _PATIENCE_SECONDS
            )
            run.until = run.begun + (deadline or 0)
        except ClusterError as error:
            log.warning("job.not_renewed", job=run_name(run.job.folder), reason=str(error))

    def _look(self, run: _Run, pod: Object | None) -> None:
        """See to it that a job gets on.

        Raises:
            ClusterError: it does not.
        """
        if time.monotonic() < run.looked + _LOOK_SECONDS:
            return
        run.looked = time.monotonic()
        name = run_name(run.job.folder)
        try:
            found = self._cluster.get("jobs", name, _PATIENCE_SECONDS)
        except ClusterError as error:
            log.warning("job.unknown", job=name, reason=str(error))
            return
        if found is None:
            raise ClusterError(f"the job {name} is gone: somebody has deleted it")
        why = _conclusion(found)
        if why is not None and not _ended(run.follower.pod):
            # Its pod may be seen in a moment.
            if run.follower.wait(_LOOK_SECONDS, lambda: _ended(run.follower.pod)):
                return
            raise ClusterError(f"the job {name} has ended without an exit code: {why}")
        waiting = status(pod or {}).get("waiting") or {}
        if "running" in status(pod or {}):
            run.waited = time.monotonic()
        elif time.monotonic() > run.waited + self._settings.kubernetes_start_limit or (
            waiting.get("reason") in _HOPELESS
        ):
            told = ": ".join(filter(None, (waiting.get("reason"), waiting.get("message")))) or _unscheduled(pod)
            raise ClusterError(f"the job {name} does not begin: {told}")

    def _concluded(self, run: _Run, pod: Object) -> Outcome:
        """Return how a pod has ended."""
        state = terminated(pod)
        if state is None:
            told = pod["status"].get("message") or pod["status"].get("reason") or "nobody says why"
            raise ClusterError(f"the pod of the job {run_name(run.job.folder)} was ended: {told}")
        run.follower.hear_out(pod["metadata"]["name"], _HEAR_SECONDS)
        if state.get("reason") == "OOMKilled":
            run.follower.say(f"\n[it was killed: it used more than its {run.job.limits.memory} bytes of memory]")
        elif state.get("reason") in ("StartError", "ContainerCannotRun"):
            run.follower.say(str(state.get("message", "it could not be started")))
        run.follower.close()
        if excess := run.quota.last():
            return Outcome(Ending.EXCEEDED, reason=excess)
        return Outcome(Ending.EXITED, int(state["exitCode"]))


def make(settings: WorkerSettings) -> Executor:
    """Return the executor of a worker."""
    return Jobs(settings)


def _deadline(lease: Path | None, elapsed: float) -> int | None:
    """Return how many seconds after its beginning the cluster is to end a job."""
    if lease is None:
        return None
    return max(ceil(elapsed) + _LEAST_SECONDS, floor(elapsed + left(lease)))


def _ended(pod: Object | None) -> bool:
    return pod is not None and not _goes_on(pod)


def _goes_on(pod: Object) -> bool:
    return terminated(pod) is None and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def _conclusion(job: Object) -> str | None:
    """Return why a job has ended; None while it goes on."""
    for condition in job.get("status", {}).get("conditions") or []:
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return ": ".join(filter(None, (condition.get("reason"), condition.get("message")))) or condition["type"]
    return None


def _unscheduled(pod: Object | None) -> str:
    for condition in (pod or {}).get("status", {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason"))
    return "it has no pod" if pod is None else "its container waits"


def _empty(folder: Path) -> None:
    """Have a run begin with nothing of the one before."""
    for name in ("outputs", "home"):
        for path in (folder / name).iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
