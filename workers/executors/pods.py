"""Jobs and pods of a cluster as it shows them: whether they go on, and how they have ended."""

from workers.executors.cluster import Cluster, Object
from workers.executors.manifest import RUN

# Of a container that waits, and will wait for ever.
_HOPELESS = frozenset({"InvalidImageName", "CreateContainerConfigError", "CreateContainerError"})
_DEADLINE = "DeadlineExceeded"


def of(cluster: Cluster, name: str) -> list[Object]:
    """Return the pods of a job.

    Args:
        cluster: that has them.
        name: of the job.

    Raises:
        ClusterError: it does not say.
    """
    found: list[Object] = cluster.list("pods", f"{RUN}={name}").get("items", [])
    return found


def status(pod: Object) -> Object:
    """Return how the container of a pod is; empty before it is known."""
    found = pod.get("status", {}).get("containerStatuses") or [{}]
    state: Object = found[0].get("state") or {}
    return state


def began(pod: Object) -> bool:
    """Say whether a pod's container has begun."""
    return bool({"running", "terminated"} & status(pod).keys())


def terminated(pod: Object) -> Object | None:
    """Return how a pod's container has ended; None before."""
    return status(pod).get("terminated")


def ended(pod: Object | None) -> bool:
    """Say whether a pod is there, and has ended."""
    return pod is not None and not goes_on(pod)


def goes_on(pod: Object) -> bool:
    """Say whether anything of a pod may go on."""
    return terminated(pod) is None and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def is_hopeless(pod: Object | None) -> bool:
    """Say whether a pod's container waits for what will never come."""
    return ((status(pod or {}).get("waiting") or {}).get("reason")) in _HOPELESS


def waits_for(pod: Object | None) -> str:
    """Return what the container of a pod waits for, that has not begun."""
    waiting = status(pod or {}).get("waiting") or {}
    return ": ".join(filter(None, (waiting.get("reason"), waiting.get("message")))) or _unscheduled(pod)


def conclusion(job: Object) -> str | None:
    """Return why a job has ended; None while it goes on."""
    found = _concluded(job)
    if found is None:
        return None
    return ": ".join(filter(None, (found.get("reason"), found.get("message")))) or str(found["type"])


def is_overdue(job: Object) -> bool:
    """Say whether the cluster has ended a job, since its deadline was over."""
    found = _concluded(job)
    return found is not None and found.get("reason") == _DEADLINE


def _concluded(job: Object) -> Object | None:
    conditions: list[Object] = job.get("status", {}).get("conditions") or []
    return next((each for each in conditions if _is_end(each)), None)


def _is_end(condition: Object) -> bool:
    return condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True"


def _unscheduled(pod: Object | None) -> str:
    for condition in (pod or {}).get("status", {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason"))
    return "it has no pod" if pod is None else "its container waits"
