"""The executor `kubernetes`: each attempt is a job of a cluster, whose pod shares the worker's folders by volumes.

A pod cannot be frozen. So what has no lease is suspended: its pod ends, and with a new lease it begins anew. Without a
worker the cluster itself ends a job when its lease is over: it has a deadline, which the worker moves with the lease.
"""

import time
import uuid
from pathlib import Path

import structlog

from orchestrator.core import crash
from workers.executors import arguments, job_start, pods
from workers.executors.cluster import Cluster, ClusterError, Object
from workers.executors.executor import Executor, Job, Outcome, UnfitError
from workers.executors.image import Image, Waiting
from workers.executors.job_run import JobRun, deadline
from workers.executors.job_start import JobStart
from workers.executors.manifest import FOLDER, NODE, START, manifest, node_label, run_name
from workers.executors.moment import Moment
from workers.executors.places import ARGUMENTS, placed
from workers.settings import WorkerSettings

log = structlog.get_logger()

_POLL_SECONDS = 0.2
_GONE_SECONDS = 60.0
_ENDING = "ending"


class Jobs:
    """Runs functions as jobs of a cluster; see `executor.Executor` and `image.Imaging`.

    Args:
        settings: the worker's.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._cluster = Cluster(settings.kubernetes_namespace)
        self._runs: dict[Path, JobRun] = {}

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
        start, seconds = JobStart(uuid.uuid4().hex, Moment.now()), deadline(job.lease, 0.0)
        start.keep(job.folder)
        self._create(manifest(job, self._settings, words, list(bound.items()), start.name, seconds), start.name)
        crash.point("job.created")
        self._runs[job.folder] = self._run(job, start, seconds)

    def _create(self, wanted: Object, start: str) -> None:
        name = wanted["metadata"]["name"]
        try:
            self._cluster.create("jobs", wanted)
        except ClusterError as error:
            if not error.is_taken:
                raise
            # An answer that was lost, or one of that name that is not ours.
            found = self._cluster.get("jobs", name)
            if found is None or not _is_of(found, start):
                raise ClusterError(f"there is another job {name} already, which nobody here has made") from error

    def take_over(self, job: Job) -> bool:
        """Go on with a job that is there, or has ended by itself.

        Raises:
            OSError: the cluster does not say how it is.
        """
        start = JobStart.kept(job.folder)
        # Where somebody has begun to end it, how it ends is not its own.
        if start is None or (job.folder / _ENDING).exists():
            return False
        found = self._cluster.get("jobs", run_name(job.folder))
        if found is None or not _is_of(found, start.name) or found["metadata"].get("deletionTimestamp"):
            return False
        if pods.is_overdue(found):
            log.warning("job.lost", job=run_name(job.folder), reason="its lease was over, and the cluster has ended it")
            return False
        spec = found["spec"]
        self._runs[job.folder] = self._run(
            job, start, spec.get("activeDeadlineSeconds"), suspended=bool(spec.get("suspend"))
        )
        return True

    def _run(self, job: Job, start: JobStart, seconds: int | None, *, suspended: bool = False) -> JobRun:
        patience = self._settings.kubernetes_start_limit
        return JobRun(self._cluster, job, start, seconds, patience, suspended=suspended)

    def alive(self, folder: Path) -> bool:
        """Say whether the job, or a pod of it, is there and has not ended."""
        if not job_start.was_tried(folder):
            return False
        name = run_name(folder)
        try:
            found = self._cluster.get("jobs", name)
            if found is not None and pods.conclusion(found) is None:
                return True
            return any(pods.goes_on(pod) for pod in pods.of(self._cluster, name))
        except ClusterError as error:
            log.error("job.unknown", job=name, reason=str(error))
            return True

    def pause(self, folder: Path) -> None:
        """Suspend the job: its pod ends."""
        self._runs[folder].suspend(True)

    def resume(self, folder: Path) -> None:
        """Let the job begin anew, once nothing of it is left that ran without a lease."""
        self._runs[folder].suspend(False)

    def outcome(self, folder: Path, seconds: float) -> Outcome | None:
        """Wait for the end of the job's container, and look after its lease and what it keeps.

        Raises:
            OSError: it cannot run, or has ended without a code.
        """
        return self._runs[folder].outcome(seconds)

    def end(self, folder: Path, grace: float) -> bool:
        """Delete the job with all that belongs to it, and see that it is gone."""
        run = self._runs.pop(folder, None)
        try:
            if not job_start.was_tried(folder):
                return True
            (folder / _ENDING).touch()
            return self._delete(run_name(folder), 0.0 if run is not None and run.is_over else grace)
        finally:
            if run is not None:
                run.close()

    def _delete(self, name: str, grace: float) -> bool:
        """Delete a job; say whether it and its pods were seen gone."""
        deadline = time.monotonic() + grace + _GONE_SECONDS
        try:
            self._cluster.delete("jobs", name)
            while True:
                found = pods.of(self._cluster, name)
                if not found and self._cluster.get("jobs", name) is None:
                    return True
                for pod in found:
                    if grace <= 0 or not pods.goes_on(pod):
                        # Not 0: the pod would be forgotten before anybody knows that it has ended.
                        self._cluster.delete("pods", pod["metadata"]["name"], grace=1)
                if time.monotonic() > deadline:
                    log.error("job.not_gone", job=name, pods=len(found))
                    return False
                time.sleep(_POLL_SECONDS)
        except ClusterError as error:
            log.error("job.not_ended", job=name, reason=str(error))
            return False


def make(settings: WorkerSettings) -> Executor:
    """Return the executor of a worker."""
    return Jobs(settings)


def _is_of(found: Object, start: str) -> bool:
    """Say whether a job was made by a certain start."""
    return bool(found["metadata"].get("annotations", {}).get(START) == start)
