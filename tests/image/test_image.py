"""The image, built and run as a cluster would: `make image-test`.

Each process runs as the user 10001 on a read-only root without any capability, beside a real Postgres and Valkey.
"""

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from orchestrator.embedded.ports import free_port
from tests.image.containers import USER, Container, configuration
from tests.kit.waiting import wait_until

IMAGE = os.environ.get("ORCHESTRATOR_TEST_IMAGE", "")
CHARTS = Path(__file__).parents[2] / "charts"
ORGANIZATION = "org-1"
STARTS = 60.0

pytestmark = [
    pytest.mark.skipif(not IMAGE, reason="`make image-test` builds the image first, and names it"),
    pytest.mark.timeout(300),
]


def said(image: str, *arguments: str, entrypoint: str | None = None) -> str:
    with Container(image, *arguments, entrypoint=entrypoint) as container:
        assert container.wait() == 0, container.log
        return container.log


def in_python(code: str) -> str:
    return said(IMAGE, "-c", code, entrypoint="python3")


def test_it_says_what_it_is():
    image = configuration(IMAGE)
    told = image["Config"]
    assert told["User"] == f"{USER}:{USER}"
    assert told["Labels"]["org.opencontainers.image.version"] == said(IMAGE, "--version").split()[-1]
    assert told["Labels"]["org.opencontainers.image.title"] == "orchestrator"
    assert image["Healthcheck"]["Test"][0] == "CMD"


def test_it_lists_what_is_in_it_and_holds_no_installer():
    code = (
        "import importlib.metadata as m, json, pathlib\n"
        "bom = json.loads(pathlib.Path('/usr/share/doc/orchestrator/orchestrator.cdx.json').read_text())\n"
        "listed = sorted((c['name'], c['version']) for c in bom['components'])\n"
        "found = sorted((d.metadata['Name'], d.version) for d in m.distributions())\n"
        "print(json.dumps([bom['bomFormat'], listed, found]))"
    )
    kind, listed, found = json.loads(in_python(code))
    assert kind == "CycloneDX"
    names = {name for name, _ in found}
    assert "orchestrator" in names
    assert [item for item in found if item[0] != "orchestrator"] == listed
    assert names.isdisjoint({"pip", "setuptools", "cyclonedx-bom", "pytest"})


def test_nothing_can_be_written_but_what_is_mounted():
    code = (
        "import os, pathlib\n"
        "print(os.getuid(), [p for p in ('/', '/opt/orchestrator', '/var/lib/orchestrator', '/tmp') "
        "if os.access(p, os.W_OK)], "
        "[l for l in pathlib.Path('/proc/self/status').read_text().splitlines() if l.startswith('CapBnd')])"
    )
    assert in_python(code).split(maxsplit=1) == ["10001", "['/tmp'] ['CapBnd:\\t0000000000000000']\n"]


def test_functions_are_isolated_where_the_container_may_and_else_it_is_said():
    check = ("-m", "workers.executors.sandbox")
    with Container(IMAGE, *check, entrypoint="python3") as forbidden:
        assert forbidden.wait() == 1
        assert "functions cannot be isolated here" in forbidden.log
    with Container(IMAGE, *check, entrypoint="python3", sandbox=True) as allowed:
        assert allowed.wait() == 0, allowed.log


@pytest.fixture(scope="module")
def files(certificates, tmp_path_factory) -> Path:
    """What the containers may read and write, as their user."""
    root = tmp_path_factory.mktemp("image")
    shutil.copytree(certificates.root, root / "certificates")
    for name in ("store", "work", "media", "configuration"):
        (root / name).mkdir()
    (root / "configuration/channels.yaml").write_text(yaml.safe_dump({"channels": {"channel": [ORGANIZATION]}}))
    shutil.copy(CHARTS / "orchestrator-organization/files/noop_task.py", root / "configuration")
    for path in [root, *root.rglob("*")]:
        os.chown(path, USER, USER)
    return root


@pytest.fixture(scope="module")
def network(files, postgres, valkey) -> Iterator[dict[str, Container]]:
    """Server, beat, worker, asset store, runtime and Flower; all products are served."""
    database = {"DATABASE_URL": postgres.create_database("image")}
    grpc, http, store = free_port(), free_port(), free_port()
    problems, runtime, flower = free_port(), free_port(), free_port()
    certificates = "/certificates"
    organization = {
        "ORGANIZATION": ORGANIZATION,
        "CHANNELS": "channel",
        "ADDRESS": f"127.0.0.1:{grpc}",
        "CLIENT_CA_CERT": f"{certificates}/orchestrator/ca.crt",
        "CLIENT_CERT": f"{certificates}/organizations/{ORGANIZATION}/client.crt",
        "CLIENT_KEY": f"{certificates}/organizations/{ORGANIZATION}/client.key",
        "STORE_ROOT": "/var/lib/orchestrator/store",
        "STORE_URL": f"https://127.0.0.1:{store}",
    }
    broker = {"BROKER_URL": valkey.url}
    folders = {
        files / "certificates": f"{certificates}:ro",
        files / "configuration": "/configuration:ro",
        files / "store": "/var/lib/orchestrator/store",
        files / "work": "/var/lib/orchestrator/working",
        files / "media": "/var/lib/orchestrator/media",
    }
    server = {
        **database,
        **broker,
        "CHANNEL_CONFIG": "/configuration/channels.yaml",
        "GRPC_ADDRESS": f"127.0.0.1:{grpc}",
        "HTTP_ADDRESS": f"127.0.0.1:{http}",
        "TLS_ENABLED": "true",
        "TLS_CERT_PATH": f"{certificates}/orchestrator/server.crt",
        "TLS_KEY_PATH": f"{certificates}/orchestrator/server.key",
        "MTLS_ENABLED": "true",
        "TLS_CLIENT_CA_CERT_DIR": f"{certificates}/clients",
        "VERIFY_CLIENT_MSP_ID": "true",
        "METRICS_ENABLED": "true",
        "API_IDENTITY": "open",
        "API_ORGANIZATION": ORGANIZATION,
        "API_CHANNEL": "channel",
        "MEDIA_ROOT": "/var/lib/orchestrator/media",
        "EXECUTIONS_RUNTIME": "on",
        "EXECUTIONS_ORGANIZATION": ORGANIZATION,
        "PROBLEMS_ADDRESS": f"127.0.0.1:{problems}",
        "PROBLEMS_ORGANIZATION": ORGANIZATION,
        "PROBLEMS_CHANNEL": "channel",
    }
    stores = {
        "STORE_ADDRESS": f"127.0.0.1:{store}",
        "STORE_CERT": f"{certificates}/organizations/{ORGANIZATION}/store.crt",
        "STORE_KEY": f"{certificates}/organizations/{ORGANIZATION}/store.key",
        "TLS_CLIENT_CA_CERT_DIR": f"{certificates}/clients",
    }
    works = {"WORK_DIR": "/var/lib/orchestrator/working", "PEER_CA_CERT": f"{certificates}/peers.crt", "NODE": "node-0"}
    with Container(IMAGE, "migrate", settings=database) as migration:
        assert migration.wait() == 0, migration.log
    with ExitStack() as stack:

        def start(command: str, settings: dict[str, str], *more: str) -> Container:
            sandbox = command == "worker"
            container = Container(IMAGE, command, *more, settings=settings, folders=folders, sandbox=sandbox)
            return stack.enter_context(container)

        running = {
            "serve": start("serve", server),
            "beat": start("beat", {**database, **broker}),
            "store": start("store", {**organization, **stores}),
            "worker": start("worker", {**organization, **broker, **works}),
            "runtime": start(
                "runtime", {**organization, **broker, "NODE": "runtime-0", "HEALTH_ADDRESS": f"127.0.0.1:{runtime}"}
            ),
            "flower": start(
                "flower", {**broker, "ORGANIZATIONS": ORGANIZATION}, "--address=127.0.0.1", f"--port={flower}"
            ),
        }
        for name, url in {
            "serve": f"{http}/ready",
            "runtime": f"{runtime}/ready",
            "flower": f"{flower}/healthcheck",
        }.items():
            wait_until(lambda: answer(url) or not running[name].running, STARTS, f"{name} is ready", 0.2)  # noqa: B023
            assert running[name].running, running[name].log
        task = Container(
            IMAGE, "/configuration/noop_task.py", settings=organization, folders=folders, entrypoint="python3"
        )
        assert json.loads(answer(f"{http}/api/schemas/"))["results"] == []
        assert "ML_MODEL" in json.loads(answer(f"{problems}/status"))["status"]
        yield {**running, "task": stack.enter_context(task)}


def answer(place: str) -> str:
    """Return what is answered at a port and path of this machine; nothing where that is no 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{place}", timeout=5) as answered:
            return str(answered.read().decode()) if answered.status == 200 else ""
    except OSError:
        return ""


def test_a_task_runs_through_all_of_it_and_all_end_when_they_are_told(network):
    task, worker = network.pop("task"), network["worker"]
    assert task.wait() == 0, "\n".join([task.log, *(container.log for container in network.values())])
    assert "it is Done" in task.log

    states = worker.execute(
        "python3",
        "-c",
        "import pathlib; print(*[p.read_text().rpartition(')')[2].split()[0] "
        "for p in pathlib.Path('/proc').glob('[0-9]*/stat')])",
    )
    assert "Z" not in states, "the first process of the container has left the dead unburied"

    found = worker.execute(
        "sh", "-c", 'find "$ORCHESTRATOR_WORK_DIR/$ORCHESTRATOR_ORGANIZATION@$ORCHESTRATOR_NODE" -maxdepth 0 -mmin -10'
    )
    assert found.strip(), "what the chart's liveness probe asks for"

    for name, container in network.items():
        began = time.monotonic()
        assert container.stop() == 0, f"{name}\n{container.log}"
        assert time.monotonic() - began < 30, f"{name} took its time to end"
