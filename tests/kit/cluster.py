"""A small cluster: an API server that keeps jobs and pods, and runs what they say as processes of this machine.

It answers as the real one does in what the executor `kubernetes` uses of it, and can be told to fail as that does: to
be busy, to forget what was before, to lose an answer that it has given.
"""

import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from tests.kit.kubelet import Process
from tests.kit.waiting import wait_until

Object = dict[str, Any]
NAMESPACE = "tests"
_PERIOD = 0.05
_PATH = re.compile(r"/(?:apis/batch/v1|api/v1)/namespaces/tests/(jobs|pods)(?:/([^/]+))?(/log)?")
LOSE = 0
"""What is answered of a call whose answer is lost: nothing, though it was done."""


class Cluster:
    """The cluster; `serving` has one run.

    Args:
        volumes: the folders of volume claims.
        logs: a folder.

    Attributes:
        calls: what was called, as `POST jobs`.
        faults: what the next call answers that has such words, instead of what it should.
        programs: the command of an image, for a container that has none.
        held: whether no image can be had.
    """

    def __init__(self, volumes: Mapping[str, Path], logs: Path) -> None:
        self.calls: list[str] = []
        self.faults: list[tuple[str, int]] = []
        self.programs: dict[str, list[str]] = {}
        self.held = False
        self.changed = threading.Condition()
        self.objects: dict[str, dict[str, Object]] = {"jobs": {}, "pods": {}}
        self.events: list[tuple[int, str, str, Object]] = []
        self.version = 100
        self.forgotten = 0
        self.ended = False
        self._volumes = volumes
        self._logs = logs
        self._processes: dict[str, Process] = {}

    def forget(self) -> None:
        """Know no more what was before now, and break off who watches."""
        with self.changed:
            self.version += 1
            self.forgotten = self.version
            self.changed.notify_all()

    def put(self, kind: str, found: Object, what: str = "MODIFIED") -> None:
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        if what == "DELETED":
            self.objects[kind].pop(found["metadata"]["name"], None)
        else:
            self.objects[kind][found["metadata"]["name"]] = found
        self.events.append((self.version, kind, what, json.loads(json.dumps(found))))
        self.changed.notify_all()

    def create(self, job: Object) -> tuple[int, Object]:
        name = job["metadata"]["name"]
        if name in self.objects["jobs"]:
            return 409, _fault(f'jobs.batch "{name}" already exists', 409)
        job["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        job["status"] = {}
        self.put("jobs", job, "ADDED")
        return 201, job

    def change(self, name: str, change: Object) -> tuple[int, Object]:
        job = self.objects["jobs"].get(name)
        if job is None:
            return 404, _fault(f'jobs.batch "{name}" not found', 404)
        job["spec"].update(change["spec"])
        self.put("jobs", job)
        return 200, job

    def delete(self, kind: str, name: str, grace: int | None) -> tuple[int, Object]:
        found = self.objects[kind].get(name)
        if found is None:
            return 404, _fault(f'{kind} "{name}" not found', 404)
        if kind == "pods":
            self._end(found, grace)
        else:
            found["metadata"].setdefault("deletionTimestamp", now())
            self.put(kind, found)
        return 200, found

    def log(self, pod: str) -> Process | None:
        return self._processes.get(pod)

    def work(self) -> None:
        """Do what a cluster does by itself, until it is ended."""
        while not self.ended:
            with self.changed:
                for job in list(self.objects["jobs"].values()):
                    self._control(job)
                for pod in list(self.objects["pods"].values()):
                    self._look(pod)
            time.sleep(_PERIOD)
        for process in self._processes.values():
            process.kill()
            wait_until(lambda process=process: process.code is not None, message="a container to end")

    def _control(self, job: Object) -> None:
        status, spec, name = job["status"], job["spec"], job["metadata"]["name"]
        pods = [pod for pod in self.objects["pods"].values() if pod["metadata"]["labels"]["job-name"] == name]
        if job["metadata"].get("deletionTimestamp"):
            for pod in pods:
                self._end(pod, None)
            if not pods:
                self.put("jobs", job, "DELETED")
        elif status.get("conditions"):
            return
        elif spec.get("suspend"):
            for pod in pods:
                self._end(pod, None)
            if status.pop("startTime", None):
                status.pop("began", None)
                self.put("jobs", job)
        elif not status.get("startTime"):
            if not pods:
                status |= {"startTime": now(), "began": time.monotonic()}
                self.put("jobs", job)
                self._begin(job)
        elif time.monotonic() > status["began"] + spec.get("activeDeadlineSeconds", 10**9):
            self._conclude(job, "Failed", "DeadlineExceeded")
            for pod in pods:
                self._end(pod, None)
        elif not pods or all(pod["metadata"].get("deletionTimestamp") for pod in pods):
            self._conclude(job, "Failed", "BackoffLimitExceeded")
        elif pods[0]["status"]["phase"] in ("Succeeded", "Failed"):
            self._conclude(job, "Complete" if pods[0]["status"]["phase"] == "Succeeded" else "Failed", "")

    def _conclude(self, job: Object, kind: str, reason: str) -> None:
        job["status"]["conditions"] = [{"type": kind, "status": "True", "reason": reason}]
        self.put("jobs", job)

    def _begin(self, job: Object) -> None:
        template = job["spec"]["template"]
        name = f"{job['metadata']['name']}-{uuid.uuid4().hex[:5]}"
        labels = {**template["metadata"]["labels"], "job-name": job["metadata"]["name"]}
        pod = {
            "metadata": {"name": name, "labels": labels, "creationTimestamp": now()},
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        self.put("pods", pod, "ADDED")
        (container,) = template["spec"]["containers"]
        process = Process(template["spec"], self._volumes, self._logs / name, self.programs.get(container["image"]))
        self._processes[name] = process
        if self.held:
            waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
            pod["status"]["containerStatuses"] = [{"state": {"waiting": waiting}}]
            self.put("pods", pod)
            return
        process.start()
        if not process.fault:
            pod["status"] = {"phase": "Running", "containerStatuses": [{"state": {"running": {"startedAt": now()}}}]}
            self.put("pods", pod)

    def _look(self, pod: Object) -> None:
        process = self._processes[pod["metadata"]["name"]]
        code = process.code
        if code is not None and pod["status"]["phase"] not in ("Succeeded", "Failed"):
            state = {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
            if process.fault:
                state |= {"reason": "StartError", "message": process.fault}
            phase = "Failed" if code else "Succeeded"
            pod["status"] = {"phase": phase, "containerStatuses": [{"state": {"terminated": state}}]}
            self.put("pods", pod)
        if code is not None and pod["metadata"].get("deletionTimestamp"):
            self.put("pods", pod, "DELETED")

    def _end(self, pod: Object, grace: int | None) -> None:
        seconds = pod["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
        process = self._processes[pod["metadata"]["name"]]
        if not pod["metadata"].get("deletionTimestamp"):
            pod["metadata"]["deletionTimestamp"] = now()
            self.put("pods", pod)
            process.end(seconds)
        elif grace is not None:
            process.end(seconds)


class _Answering(BaseHTTPRequestHandler):
    """One call."""

    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _call(self) -> None:
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match = _PATH.fullmatch(url.path)
        assert match, self.path
        kind, name, log = match.groups()
        words = f"{self.command} {'log' if log else 'watch' if query.get('watch') else kind}"
        cluster = self.cluster
        with cluster.changed:
            cluster.calls.append(words)
            fault = next((each for each in cluster.faults if each[0] == words), None)
            if fault is not None:
                cluster.faults.remove(fault)
        if fault is not None and fault[1] != LOSE:
            self._answer(fault[1], _fault("as it was told", fault[1]))
        elif log:
            self._stream(self._said(name))
        elif query.get("watch"):
            self._stream(self._watched(kind, query))
        else:
            with cluster.changed:
                status, answer = self._done(kind, name, query, json.loads(body) if body else {})
                content = json.dumps(answer)
            if fault is None:
                self._answer(status, content)
            else:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_PATCH = do_DELETE = _call  # noqa: N815 - as the library has it

    def _done(self, kind: str, name: str | None, query: Mapping[str, str], body: Object) -> tuple[int, Object]:
        cluster = self.cluster
        if self.command == "POST":
            return cluster.create(body)
        if self.command == "PATCH":
            assert name
            return cluster.change(name, body)
        if self.command == "DELETE":
            assert name
            grace = query.get("gracePeriodSeconds")
            return cluster.delete(kind, name, None if grace is None else int(grace))
        if name:
            found = cluster.objects[kind].get(name)
            return (200, found) if found else (404, _fault(f'{kind} "{name}" not found', 404))
        items = [found for found in cluster.objects[kind].values() if _has(found, query["labelSelector"])]
        return 200, {"metadata": {"resourceVersion": str(cluster.version)}, "items": items}

    def _watched(self, kind: str, query: Mapping[str, str]) -> Iterator[bytes]:
        cluster, version = self.cluster, int(query["resourceVersion"])
        until = time.monotonic() + float(query["timeoutSeconds"])
        while time.monotonic() < until and not cluster.ended:
            with cluster.changed:
                cluster.changed.wait(0.5)
                known = [event for event in cluster.events if event[0] > version]
                gone = version < cluster.forgotten
            if gone:
                yield json.dumps({"type": "ERROR", "object": _fault("too old resource version", 410)}).encode() + b"\n"
                return
            for number, of, what, found in known:
                version = number
                if of == kind and _has(found, query["labelSelector"]):
                    yield json.dumps({"type": what, "object": found}).encode() + b"\n"

    def _said(self, pod: str) -> Iterator[bytes]:
        process = self.cluster.log(pod)
        if process is not None:
            yield from process.said()

    def _answer(self, status: int, answer: Object | str) -> None:
        content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, parts: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(OSError):
            for part in parts:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")


@contextmanager
def serving(volumes: Mapping[str, Path], folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """Run a cluster; yield it, and a file for KUBECONFIG.

    Args:
        volumes: the folders of volume claims.
        folder: for its own files.
    """
    folder.mkdir(exist_ok=True)
    cluster = Cluster(volumes, folder)
    handler = type("Answering", (_Answering,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threads = [threading.Thread(target=each) for each in (_forever(server), cluster.work)]
    for thread in threads:
        thread.start()
    config = folder / "kubeconfig"
    config.write_text(json.dumps(_configuration(f"http://127.0.0.1:{server.server_port}")))
    try:
        yield cluster, config
    finally:
        cluster.ended = True
        server.shutdown()
        for thread in threads:
            thread.join()
        server.server_close()


def _forever(server: ThreadingHTTPServer) -> Callable[[], None]:
    return lambda: server.serve_forever(poll_interval=0.1)


def _configuration(address: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": {"server": address}}],
        "users": [{"name": "tests", "user": {}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": NAMESPACE}}],
        "current-context": "tests",
    }


def _has(found: Object, selector: str) -> bool:
    labels = found["metadata"].get("labels", {})
    return all(labels.get(name) == value for name, _, value in (each.partition("=") for each in selector.split(",")))


def _fault(message: str, code: int) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
