"""The page on deploying: its commands in their order, on three machines that are folders of this one."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.postgres_binaries import find_binaries
from orchestrator.embedded.valkey import Valkey
from tests.kit.debian import AbsentError, obtained
from tests.kit.processes import clean_environment
from tests.kit.waiting import wait_until

OPERATE = Path(__file__).parents[2] / "docs" / "operate"
PAGE = (OPERATE / "deploy.md").read_text()
RIGHTS = re.findall(r"^```sql\n(.*?)^```$", (OPERATE / "database.md").read_text(), re.DOTALL | re.MULTILINE)[0]
NOOP = Path(__file__).parents[2] / "charts/orchestrator-organization/files/noop_task.py"
OPERATOR, HOSPITALS = "operator", ("hospital-1", "hospital-2")
# The program is here.
EVERYWHERE = "everywhere"
PORTS = ("server", "http", "beat", "proxy", "api", "problems", "runtime", "flower")
AS_WORKER = "set -a; . /etc/orchestrator/worker.env; set +a;"
# What `systemctl` does here: it starts what a unit says, with its settings, and ends it.
SYSTEMCTL = """
import os, signal, subprocess, sys, time
from pathlib import Path
root = Path(os.environ["MACHINE"])
words = [word for word in sys.argv[1:] if not word.startswith("-")]
for name in words[1:]:
    unit, note = root / "units" / f"{name}.service", root / f"{name}.pid"
    lines = [line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line]
    if words[0] in ("stop", "restart"):
        os.kill(int(note.read_text()), signal.SIGTERM)
        while Path(f"/proc/{note.read_text()}/status").exists() and "zombie" not in Path(
            f"/proc/{note.read_text()}/status").read_text():
            time.sleep(0.05)
        note.unlink()
    if words[0] in ("enable", "start", "restart"):
        files = [Path(value.removeprefix("-")) for key, value in lines if key == "EnvironmentFile"
                 if not value.startswith("-") or Path(value[1:]).exists()]
        pairs = [line.split("=", 1) for file in files for line in file.read_text().splitlines()
                 if line and not line.startswith("#")]
        log = (root / f"{name}.log").open("ab")
        process = subprocess.Popen(dict(lines)["ExecStart"].split(), env={**os.environ, **dict(pairs)},
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        note.write_text(str(process.pid))
"""


BLOCKS = re.findall(r"^```(sh|ini|yaml|text) (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
"""The kind of each block of the page, what stands behind it, and the block."""


def blocks(kind: str) -> list[tuple[str, str]]:
    return [(where, text) for each, where, text in BLOCKS if each == kind]


class Machines:
    """The operator's machine and two organizations', each a folder with what the page puts into it.

    Args:
        root: for the folders.
        postgres: the database server's machine.
        valkey: the broker's.
    """

    def __init__(self, root: Path, postgres: Postgres, valkey: Valkey) -> None:
        self.root, self.postgres, self.valkey = root, postgres, valkey
        self._ports = {name: free_port() for name in PORTS}
        self._own = {name: {port: free_port() for port in (9443, 8486, 8487)} for name in HOSPITALS}
        self.database = f"orchestrator_{free_port()}"
        for name in (OPERATOR, *HOSPITALS):
            for folder in ("etc/tls", "etc/clients", "var", "units", "bin"):
                (root / name / folder).mkdir(parents=True)
            program = root / name / "bin" / "systemctl"
            program.write_text(f"#!{sys.executable}\n{SYSTEMCTL}")
            program.chmod(0o755)

    def told(self, machine: str, text: str) -> str:
        """Return a text of the page with the addresses, folders and passwords of this machine."""
        if machine == HOSPITALS[1]:
            text = text.replace(*HOSPITALS)
        admin = self.postgres.url()
        host = admin.rpartition("@")[2].partition("/")[0]
        for name in HOSPITALS:
            text = text.replace(f"DNS:{name}.example", "IP:127.0.0.1")
            text = text.replace(f"{name}.example:9443", f"127.0.0.1:{self._own[name][9443]}")
        own = self._own.get(machine, {})
        for there, here in {
            "DNS:orchestrator.example": "IP:127.0.0.1",
            "postgresql://postgres@database.example:5432/postgres": admin,
            "postgresql://postgres@database.example:5432/orchestrator": self.postgres.url(self.database),
            "database.example:5432/orchestrator": f"{host}/{self.database}",
            "DATABASE orchestrator": f"DATABASE {self.database}",
            "RENAME TO lost": f"RENAME TO {self.database}_lost",
            "redis://:admin@broker.example:6379/0": self.valkey.url,
            "orchestrator.example:9000": f"127.0.0.1:{self._ports['server']}",
            "0.0.0.0:9000": f"127.0.0.1:{self._ports['server']}",
            "0.0.0.0:9001": f"127.0.0.1:{self._ports['proxy']}",
            "0.0.0.0:8080": f"127.0.0.1:{self._ports['api']}",
            "orchestrator.example:8080": f"127.0.0.1:{self._ports['api']}",
            # On a loopback address problems need no credentials, and have no TLS.
            "0.0.0.0:5001": f"0.0.0.0:{self._ports['problems']}",
            "orchestrator.example:5001": f"127.0.0.1:{self._ports['problems']}",
            "port 8484": f"port {self._ports['http']}",
            "127.0.0.1:8484": f"127.0.0.1:{self._ports['http']}",
            "127.0.0.1:8485": f"127.0.0.1:{self._ports['beat']}",
            "127.0.0.1:8488": f"127.0.0.1:{self._ports['runtime']}",
            "127.0.0.1:5555": f"127.0.0.1:{self._ports['flower']}",
            "FLOWER_PORT=5555": f"FLOWER_PORT={self._ports['flower']}",
            "0.0.0.0:9443": f"127.0.0.1:{own.get(9443)}",
            "127.0.0.1:8486": f"127.0.0.1:{own.get(8486)}",
            "127.0.0.1:8487": f"127.0.0.1:{own.get(8487)}",
            "/etc/orchestrator": str(self.root / machine / "etc"),
            "/var/lib/orchestrator": str(self.root / machine / "var"),
            "/opt/orchestrator/bin/orchestrator": f"{sys.executable} -m orchestrator",
        }.items():
            text = text.replace(there, here)
        return text

    def run(self, machine: str, commands: str) -> str:
        """Run what the page tells to run on a machine; return what was printed."""
        folder = self.root / machine
        path = [folder / "bin", Path(sys.executable).parent, find_binaries(), os.defpath]
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.told(machine, commands)],
            cwd=folder,
            env={
                "PATH": os.pathsep.join(map(str, path)),
                "HOME": str(folder),
                "MACHINE": str(folder),
                "ORCHESTRATOR_NODE": f"{machine}-node",
                "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            },
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def write(self, path: str, content: str) -> None:
        """Put settings or a unit where they belong."""
        urls = yaml.safe_load((self.root / OPERATOR / "etc" / "brokers.yaml").read_text())
        name = path.rpartition("/")[2].split(".")[0].removeprefix("orchestrator-")
        for machine in HOSPITALS if name in ("worker", "store", "consent") else (OPERATOR,):
            if machine == HOSPITALS[1] and path.endswith("consent.yaml"):
                content = content.replace("hospital-2", "hospital-1")
            told = self.told(machine, content)
            for word, url in {
                "MAINTENANCE": urls["maintenance"],
                "FLOWER": urls["flower"],
                "EXECUTIONS": urls.get("queues", {}).get("executions.central"),
                HOSPITALS[0].upper(): urls["organizations"].get(machine),
            }.items():
                told = told.replace(f"ORCHESTRATOR_BROKER_URL={word}\n", f"ORCHESTRATOR_BROKER_URL={url}\n")
            is_unit = path.endswith(".service")
            target = self.root / machine / "units" / path if is_unit else Path(self.told(machine, path))
            target.write_text(told)

    def exchange(self) -> None:
        """Have all give away what authorities they have made."""
        authorities = {name: (self.root / name / "etc/tls/ca.crt").read_text() for name in HOSPITALS}
        for machine in (OPERATOR, *HOSPITALS):
            etc = self.root / machine / "etc"
            for name, authority in authorities.items():
                (etc / "clients" / name).mkdir()
                (etc / "clients" / name / "ca.crt").write_text(authority)
            (etc / "peers.crt").write_text("".join(authorities.values()))
            shutil.copy(self.root / OPERATOR / "etc/tls/ca.crt", etc / "orchestrator-ca.crt")

    def logs(self) -> str:
        return "\n".join(f"--- {log}\n{log.read_text()}" for log in self.root.glob("*/*.log"))

    def end(self) -> None:
        """End all that runs."""
        for note in self.root.glob("*/*.pid"):
            with suppress(ProcessLookupError):
                os.killpg(int(note.read_text()), signal.SIGKILL)


@pytest.fixture(scope="module")
def machines(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    root = tmp_path_factory.mktemp("deployed")
    valkey = Valkey(root / "valkey")
    valkey.start()
    machines = Machines(root, postgres, valkey)
    (root / OPERATOR / "rights.sql").write_text(RIGHTS)
    try:
        yield machines
    finally:
        machines.end()
        valkey.stop()


def test_a_network_of_two_organizations_comes_of_the_page(machines: Machines) -> None:
    assert len(blocks("sh")) >= 12
    exchanged = False
    for kind, machine, text in BLOCKS:
        if kind in ("ini", "yaml"):
            if not exchanged:
                machines.exchange()
                exchanged = True
            machines.write(machine, text)
        if kind != "sh" or machine == EVERYWHERE:
            continue
        if "pg_dump" in text:
            # What is dumped is a network that has worked.
            assert "it is Done" in noop(machines)
        for each in HOSPITALS if machine == HOSPITALS[0] else (machine,):
            printed = machines.run(each, text)
        if "org list" in text:
            wait_until(lambda: alive(machines) == 2, timeout=30, message="both nodes to be heard")
            assert "hospital-2 is registered in oncology" in printed
        if "/status" in text:
            assert f"{OPERATOR}-node" in printed
            assert '"count": 0' in printed
            assert "APP_REQUIREMENTS" in printed
    # Restored, it goes on.
    assert "it is Done" in noop(machines)
    for log in machines.root.glob("*/*.log"):
        assert "Traceback" not in log.read_text(), log


def alive(machines: Machines) -> int:
    return machines.run(HOSPITALS[1], f"{AS_WORKER} orchestrator node list").count("alive")


def noop(machines: Machines) -> str:
    return machines.run(HOSPITALS[1], f"{AS_WORKER} {sys.executable} {NOOP}")


def test_a_proxy_of_the_page_passes_tls_through(machines: Machines) -> None:
    try:
        program = obtained("haproxy", lambda: shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin"))
    except AbsentError as error:
        pytest.skip(f"needs HAProxy: {error}")
    (name, content), *_ = blocks("text")
    settings = machines.root / OPERATOR / name
    settings.write_text(machines.told(OPERATOR, content))
    with (machines.root / OPERATOR / "haproxy.log").open("ab") as log:
        proxy = subprocess.Popen([program, "-db", "-f", str(settings)], stdout=log, stderr=log, env=clean_environment())
    try:
        through = f"export ORCHESTRATOR_ADDRESS=127.0.0.1:{machines._ports['proxy']}"
        listed = machines.run(HOSPITALS[0], f"{AS_WORKER} {through}; orchestrator node list")
        assert "hospital-1-node" in listed
    finally:
        proxy.terminate()
        proxy.wait(60)


def test_systemd_can_read_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    units = [(name, content) for name, content in blocks("ini") if name.endswith(".service")]
    assert len(units) == 6
    for name, content in units:
        # Neither the program nor the user is here.
        told = content.replace("/opt/orchestrator/bin/orchestrator", sys.executable).replace("User=orchestrator\n", "")
        (tmp_path / name).write_text(told)
    done = subprocess.run(
        [program, "verify", "--man=no", *(str(tmp_path / name) for name, _ in units)], capture_output=True, text=True
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "orchestrator-" in line]) == (0, [])
