"""The compose file for a trial: what it says to each process is what the processes know."""

from pathlib import Path

import pytest
import yaml

from beat.settings import BeatSettings
from orchestrator.embedded.certificates import lay_out
from orchestrator.settings import DatabaseSettings, ServerSettings
from workers.assets.settings import StoreSettings
from workers.settings import OrganizationSettings, WorkerSettings

FOLDER = Path(__file__).parents[3] / "examples/compose"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
CERTIFICATES = "/var/lib/orchestrator/certificates"
OURS = [name for name, service in SERVICES.items() if "orchestrator" in service["image"]]
SETTINGS = {
    "migrate": DatabaseSettings,
    "orchestrator": ServerSettings,
    "beat": BeatSettings,
    "hospital-1-store": StoreSettings,
    "hospital-1-worker": WorkerSettings,
    "hospital-1-test": OrganizationSettings,
    "hospital-2-store": StoreSettings,
    "hospital-2-worker": WorkerSettings,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The certificates that the service `certificates` makes."""
    command = SERVICES["certificates"]["command"]
    options = [part.removeprefix("--").partition("=") for part in command[2:]]
    assert command[:2] == ["certs", CERTIFICATES]
    folder = tmp_path_factory.mktemp("certificates")
    lay_out(folder, *([value for name, _, value in options if name == wanted] for wanted in ("org", "host")))
    return folder


def test_every_process_of_ours_is_there():
    assert set(OURS) == SETTINGS.keys() | {"certificates"}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_process_takes_what_it_is_told(name, made, monkeypatch):
    known = {f"ORCHESTRATOR_{field.upper()}" for settings in SETTINGS.values() for field in settings.model_fields}
    environment = SERVICES[name]["environment"]
    assert environment.keys() <= known
    for variable, value in environment.items():
        here = value.replace(CERTIFICATES, str(made)).replace("/etc/orchestrator", str(FOLDER))
        monkeypatch.setenv(variable, here)
    assert SETTINGS[name]()


@pytest.mark.parametrize("name", OURS)
def test_a_process_may_write_only_what_is_mounted_and_do_nothing_as_root(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "10001:10001"


def test_hosts_are_services_that_certificates_name():
    hosts = [part.removeprefix("--host=") for part in SERVICES["certificates"]["command"] if part.startswith("--host=")]
    assert set(hosts) - {"localhost"} <= SERVICES.keys()
    for name in ("hospital-1", "hospital-2"):
        assert SERVICES[f"{name}-worker"]["environment"]["ORCHESTRATOR_STORE_URL"] == f"https://{name}-store:9443"
        assert f"{name}-store" in hosts


def test_volumes_and_files_are_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (FOLDER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_a_worker_has_the_time_that_it_needs_to_end():
    fields = WorkerSettings.model_fields
    needed = fields["drain_seconds"].default + fields["task_kill_grace"].default + 15
    assert SERVICES["hospital-1-worker"]["stop_grace_period"] == f"{needed:g}s"
