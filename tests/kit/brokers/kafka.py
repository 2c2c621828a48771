"""A real Kafka of the tests' own: one node, from Maven Central's jars, which are kept in the user's cache."""

import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.embedded.ports import HOST, free_port
from tests.kit import processes
from tests.kit.brokers.tansu import listens
from tests.kit.debian import AbsentError, locked, obtained
from tests.kit.waiting import wait_until

VERSION = "4.1.1"
FETCH_SECONDS = 240
START_SECONDS = 90
_JAVA = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
  </dependency></dependencies>
</project>
"""


def java() -> str:
    """Return the Java program, which is installed if it is missing and can be.

    Raises:
        AbsentError: it is missing and cannot be.
    """
    return obtained("openjdk-17-jre-headless", lambda: shutil.which("java"))


def jars() -> Path:
    """Return the folder of Kafka's jars, which are fetched the first time.

    Raises:
        AbsentError: they cannot be had.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orchestrator-tests"
    place = cache / f"kafka-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache):
        if not place.exists():
            _fetch(place)
    return place


def _fetch(place: Path) -> None:
    maven = obtained("maven", lambda: shutil.which("mvn"))
    coming = place.with_name(f"{place.name}.coming")
    shutil.rmtree(coming, ignore_errors=True)
    coming.mkdir()
    (coming / "pom.xml").write_text(_POM)
    command = [
        maven,
        "-q",
        "-B",
        "dependency:copy-dependencies",
        f"-DoutputDirectory={coming}",
        "-DincludeScope=runtime",
    ]
    try:
        done = subprocess.run(command, cwd=coming, capture_output=True, text=True, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        raise AbsentError(f"Maven did not fetch Kafka within {FETCH_SECONDS} s") from None
    if done.returncode:
        raise AbsentError(f"Maven cannot fetch Kafka: {(done.stdout.strip().splitlines() or ['no word'])[0]}")
    coming.rename(place)


@contextmanager
def kafka(folder: Path) -> Iterator[str]:
    """Run a Kafka beside the block.

    Args:
        folder: for what it keeps.

    Returns:
        its host:port.

    Raises:
        AbsentError: it cannot be had.
    """
    program, path = java(), f"{jars()}/*"
    port, controller = free_port(), free_port()
    settings = folder / "server.properties"
    listener = f"PLAINTEXT://{HOST}:{port}"
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"{listener},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": listener,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(folder / "log"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "auto.create.topics.enable": "false",
    }
    settings.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # One word: the id may begin with a dash.
    words = ["format", f"--cluster-id={cluster}", "-c", str(settings)]
    tool = [program, *_JAVA, "-cp", path, "kafka.tools.StorageTool", *words]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=START_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    command = [program, *_JAVA, "-cp", path, "kafka.Kafka", str(settings)]
    with processes.running(command, {}, folder / "kafka.log") as process:
        wait_until(lambda: listens(port, process), START_SECONDS, f"Kafka at {port}")
        yield f"{HOST}:{port}"
