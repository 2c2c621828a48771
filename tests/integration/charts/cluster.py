"""A real cluster, where KUBECONFIG names one: a namespace with a database, a broker and secrets, for the charts.

The image that the pods take is that of ORCHESTRATOR_TEST_IMAGE, which the cluster's nodes can pull or have; those of
Postgres and Valkey are of ORCHESTRATOR_TEST_POSTGRES and ORCHESTRATOR_TEST_VALKEY.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from orchestrator.embedded.certificates import Layout, lay_out
from tests.integration.charts.rendering import CHARTS, HELM, Object

RELEASE = "network"
ORGANIZATION, CHANNEL = "hospital-1", "oncology"
SERVER, STORE = f"{RELEASE}-orchestrator-server", f"{RELEASE}-orchestrator-organization-store"
MINUTES = 10


def service(name: str, image: str, port: int, environment: dict[str, str]) -> list[Object]:
    """Return what runs one server in the cluster, which forgets all when it ends."""
    labels = {"app": name}
    container = {
        "name": name,
        "image": image,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "ports": [{"containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2},
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": port}]},
        },
    ]


def files(name: str, **content: Path) -> Object:
    """Return a secret with files."""
    said = {key.replace("_", "."): path.read_text() for key, path in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": said}


def surroundings(folder: Path, namespace: str) -> list[Object]:
    """Return what the charts' values below name, with new certificates."""
    hosts = [f"{name}.{namespace}.svc" for name in (SERVER, STORE)]
    layout: Layout = lay_out(folder, [ORGANIZATION], hosts)
    client, store = layout.client(ORGANIZATION), layout.store(ORGANIZATION)
    urls = {
        "database": f"postgresql://postgres:trial@postgres.{namespace}.svc:5432/postgres",
        "broker": f"redis://valkey.{namespace}.svc:6379/0",
    }
    return [
        *service(
            "postgres",
            os.environ.get("ORCHESTRATOR_TEST_POSTGRES", "docker.io/library/postgres:17"),
            5432,
            {"POSTGRES_PASSWORD": "trial"},
        ),
        *service("valkey", os.environ.get("ORCHESTRATOR_TEST_VALKEY", "docker.io/valkey/valkey:8"), 6379, {}),
        *(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"url": url}}
            for name, url in urls.items()
        ),
        files("server-tls", tls_crt=layout.server.certificate, tls_key=layout.server.key),
        files("client-tls", tls_crt=client.certificate, tls_key=client.key),
        files("store-tls", tls_crt=store.certificate, tls_key=store.key),
        files("orchestrator-ca", ca_crt=client.authority),
        files("peers", ca_crt=layout.peer(ORGANIZATION).authority),
    ]


def values(namespace: str) -> dict[str, dict[str, Any]]:
    """Return the values of both charts."""
    repository, _, tag = os.environ.get("ORCHESTRATOR_TEST_IMAGE", "localhost/orchestrator:0.1.0").rpartition(":")
    image = {"repository": repository, "tag": tag}
    authorities = {ORGANIZATION: {"secretName": "peers"}}
    authority = {"secretName": "orchestrator-ca"}
    small = {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2560Mi"}}}
    return {
        "orchestrator": {
            "image": image,
            "channels": {CHANNEL: [ORGANIZATION]},
            "database": {"urlSecret": {"name": "database"}},
            "broker": {"server": {"urlSecret": {"name": "broker"}}},
            "tls": {"secretName": "server-tls", "clientAuthorities": authorities},
            "server": small,
            "tests": {
                "organization": ORGANIZATION,
                "channel": CHANNEL,
                "certificateSecret": "client-tls",
                "authority": authority,
                "address": f"{SERVER}.{namespace}.svc:9000",
            },
        },
        "orchestrator-organization": {
            "image": image,
            "organization": ORGANIZATION,
            "channels": [CHANNEL],
            "orchestrator": {"address": f"{SERVER}.{namespace}.svc:9000"},
            "broker": {"urlSecret": {"name": "broker"}},
            "store": {"url": f"https://{STORE}.{namespace}.svc:443"},
            "tls": {
                "clientSecretName": "client-tls",
                "storeSecretName": "store-tls",
                "serverAuthority": authority,
                "peerAuthority": {"secretName": "peers"},
                "clientAuthorities": authorities,
            },
            "assets": {"volume": {"accessModes": ["ReadWriteOnce"], "size": "1Gi"}},
            "worker": {
                # What a cluster lets a sandbox do is its own matter; what runs here is the test's.
                "executor": "subprocess",
                "workVolume": {"size": "1Gi"},
                "consent": {"decisionsVolume": {"accessModes": ["ReadWriteOnce"]}},
                "resources": {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
            },
        },
    }


def caller() -> Object:
    """Return a pod that calls again and again, as the organization, and says when a call has failed."""
    loop = "while true; do orchestrator node list >/dev/null && echo answered || echo FAILED; sleep 0.2; done"
    chart = values("unused")["orchestrator"]
    mounts = {"client": "client-tls", "authority": "orchestrator-ca"}
    environment = {
        "ORGANIZATION": ORGANIZATION,
        "CHANNELS": CHANNEL,
        "ADDRESS": f"{SERVER}:9000",
        "CLIENT_CERT": "/client/tls.crt",
        "CLIENT_KEY": "/client/tls.key",
        "CLIENT_CA_CERT": "/authority/ca.crt",
    }
    container = {
        "name": "caller",
        "image": f"{chart['image']['repository']}:{chart['image']['tag']}",
        "command": ["sh", "-c", loop],
        "env": [{"name": f"ORCHESTRATOR_{name}", "value": value} for name, value in environment.items()],
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in mounts],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "caller"},
        "spec": {
            "containers": [container],
            "volumes": [{"name": name, "secret": {"secretName": secret}} for name, secret in mounts.items()],
        },
    }


class Cluster:
    """A namespace of the cluster.

    Args:
        namespace: of our own.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def kubectl(self, *arguments: str, objects: list[Object] | None = None) -> str:
        """Run kubectl in the namespace."""
        given = None if objects is None else json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        return _run(["kubectl", f"--namespace={self.namespace}", *arguments], given)

    def helm(self, *arguments: str, chart_values: dict[str, Any] | None = None) -> str:
        """Run helm in the namespace."""
        given = None if chart_values is None else json.dumps(chart_values)
        more = [] if given is None else ["--values=-"]
        return _run([str(HELM), *arguments, f"--namespace={self.namespace}", *more], given)


def _run(command: list[str], given: str | None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, cwd=CHARTS, timeout=120 * (MINUTES + 2))
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
