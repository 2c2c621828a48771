"""Follows the pod of one job: how it is, and what it says."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from workers.executors import pods
from workers.executors.cluster import Cluster, ClusterError, Ear, Object
from workers.executors.launcher.log import Cut
from workers.executors.manifest import RUN
from workers.folder import write

log = structlog.get_logger()

_PAUSE_SECONDS = 1.0
_ENDED = ("Succeeded", "Failed")


class Follower:
    """Looks at the pods of a job, one after another, until it is closed.

    Where each begins in the log stands in a file beside it, for who goes on with the job after this process.

    Args:
        cluster: that has them.
        name: of the job.
        output: the log, to whose end is written what they say.
        log_size: bytes of it that are kept.
    """

    def __init__(self, cluster: Cluster, name: str, output: Path, log_size: int) -> None:
        self._cluster = cluster
        self._name = name
        self._log = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._cut = Cut(log_size, self._log)
        self._file = output.with_name("heard")
        self._places = _read(self._file)
        self._changed = threading.Condition()
        self._pods: dict[str, Object] = {}
        self._heard: dict[str, threading.Thread] = {}
        self._closed = False
        self._ear = Ear()
        self._thread = threading.Thread(target=self._follow, name=f"follow-{name}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float, condition: Callable[[], bool]) -> bool:
        """Wait until something is so; say whether it is.

        Args:
            seconds: to wait at most.
            condition: asked again whenever a pod has changed.
        """
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    @property
    def pod(self) -> Object | None:
        """The pod that is there to stay; None while there is none, or what is there is being deleted."""
        staying = [pod for pod in self._pods.values() if not pod["metadata"].get("deletionTimestamp")]
        return max(staying, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)

    def say(self, text: str) -> None:
        """Write a line into the log, between what is said."""
        with self._changed:
            self._cut.take(f"{text}\n".encode())

    def hear_out(self, pod: str, seconds: float) -> None:
        """Wait until all that a pod has said is in the log.

        Args:
            pod: its name; it has ended.
            seconds: to wait at most.
        """
        if (hearing := self._heard.get(pod)) is not None:
            hearing.join(seconds)

    def close(self) -> None:
        """Write the end of the log, and follow no more."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._cut.end()
                os.close(self._log)
            self._changed.notify_all()
        self._ear.close()
        for thread in (self._thread, *self._heard.values()):
            thread.join(_PAUSE_SECONDS)

    def _follow(self) -> None:
        labels = f"{RUN}={self._name}"
        while not self._closed:
            try:
                listed = self._cluster.list("pods", labels)
                self._see({pod["metadata"]["name"]: pod for pod in listed.get("items", [])})
                version = listed["metadata"]["resourceVersion"]
                while not self._closed:
                    for kind, pod in self._cluster.watch("pods", labels, version, self._ear):
                        if self._closed:
                            return
                        version = pod["metadata"]["resourceVersion"]
                        if kind != "BOOKMARK":
                            name = pod["metadata"]["name"]
                            others = {each: known for each, known in self._pods.items() if each != name}
                            self._see(others if kind == "DELETED" else {**others, name: pod})
            except ClusterError as error:
                if not error.is_too_old and not self._closed:
                    log.debug("pod.not_followed", job=self._name, reason=str(error))
                    self._pause()
            except Exception:
                log.exception("pod.not_followed", job=self._name)
                self._pause()

    def _pause(self) -> None:
        with self._changed:
            if not self._closed:
                self._changed.wait(_PAUSE_SECONDS)

    def _see(self, found: dict[str, Object]) -> None:
        with self._changed:
            self._pods = found
            for name, pod in found.items():
                if name not in self._heard and pods.began(pod) and not self._closed and self._is_to_hear(name):
                    self._heard[name] = threading.Thread(target=self._hear, args=(name,), daemon=True)
                    self._heard[name].start()
            self._changed.notify_all()

    def _is_to_hear(self, name: str) -> bool:
        """Say whether a pod is to be heard from its beginning, and note where in the log that is.

        Where another process has taken down a part of it, that is taken away again: the cluster has all of it.
        """
        if (place := self._places.get(name)) is not None:
            if place < max(self._places.values()):
                return False
            os.ftruncate(self._log, place)
            return True
        self._places[name] = os.fstat(self._log).st_size
        try:
            write(self._file, json.dumps(self._places))
        except OSError as error:
            log.warning("pod.place_not_kept", job=self._name, reason=str(error))
        return True

    def _hear(self, name: str) -> None:
        """Take down what a pod says, from its beginning to its end; what was taken down is passed over."""
        taken = 0
        while not self._closed:
            seen = 0
            try:
                pod = self._pods.get(name)
                # Not after it: what it said last would be missed.
                over = pod is None or pods.terminated(pod) is not None or pod["status"].get("phase") in _ENDED
                for chunk in self._cluster.log(name, self._ear):
                    seen += len(chunk)
                    new = chunk[max(0, len(chunk) - max(0, seen - taken)) :]
                    taken += len(new)
                    with self._changed:
                        if self._closed:
                            return
                        self._cut.take(new)
                if over:
                    return
            except ClusterError as error:
                if error.is_gone:
                    return
                log.debug("pod.not_heard", pod=name, reason=str(error))
            # The end of what it says is known a moment before its own.
            self._pause()


def _read(file: Path) -> dict[str, int]:
    try:
        return {str(name): int(place) for name, place in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}
