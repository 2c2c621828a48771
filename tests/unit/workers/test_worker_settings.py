"""What is said about settings that are missing or wrong."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from orchestrator.core.settings_errors import explain
from workers.settings import WorkerSettings

GOOD = {
    "ORGANIZATION": "hospital-a",
    "CHANNELS": "one, two",
    "ADDRESS": "127.0.0.1:9000",
    "BROKER_URL": "redis://:secret@127.0.0.1:6379/0",
    "STORE_ROOT": "store",
    "STORE_URL": "https://store.hospital-a.org/assets/",
    "WORK_DIR": "work",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(f"ORCHESTRATOR_{name}", value)
    return monkeypatch


def explanation() -> str:
    with pytest.raises(ValidationError) as raised:
        WorkerSettings()
    return explain(raised.value, WorkerSettings)


def test_good_settings_are_read(environment: pytest.MonkeyPatch) -> None:
    settings = WorkerSettings()
    assert settings.channels == ("one", "two")
    assert settings.store_url == "https://store.hospital-a.org/assets"
    assert settings.certificates is None
    assert settings.node_folder.name == f"hospital-a@{settings.node}"
    assert ":secret@" not in repr(settings)


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_one_is_named(name: str, environment: pytest.MonkeyPatch) -> None:
    environment.delenv(f"ORCHESTRATOR_{name}")
    line = explanation()
    assert line.startswith(f"ORCHESTRATOR_{name} is missing: expected ")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORGANIZATION", "a/../b"),
        ("CHANNELS", " , "),
        ("ADDRESS", "nowhere"),
        ("ADDRESS", "host:99999"),
        ("STORE_URL", "http://plain.org"),
        ("STORE_ROOT", ""),
        ("CONCURRENCY", "0"),
        ("TASK_TIME_LIMIT", "-1"),
        ("DRAIN_SECONDS", "-1"),
        ("TASK_MEMORY_LIMIT", "much"),
        ("PEER_CA_CERT", "missing.pem"),
        ("NODE", "a b"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_one_is_named(name: str, value: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv(f"ORCHESTRATOR_{name}", value)
    line = explanation()
    assert line.startswith(f"ORCHESTRATOR_{name} is wrong: expected ")
    assert "\n" not in line


def test_several_faults_are_one_line(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("ORCHESTRATOR_BROKER_URL")
    environment.setenv("ORCHESTRATOR_ADDRESS", "password@nowhere")
    line = explanation()
    assert "ORCHESTRATOR_BROKER_URL" in line
    assert "ORCHESTRATOR_ADDRESS" in line
    assert "password" not in line


def test_certificates_come_together(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    environment.setenv("ORCHESTRATOR_CLIENT_CERT", str(tmp_path / "a"))
    assert explanation().startswith("ORCHESTRATOR_CLIENT_CA_CERT, ORCHESTRATOR_CLIENT_CERT and")


def test_what_functions_see_is_named_by_absolute_paths(environment: pytest.MonkeyPatch) -> None:
    assert WorkerSettings().executor == "sandbox"
    environment.setenv("ORCHESTRATOR_SANDBOX_PATHS", "/opt/cuda, /dev/null:rw")
    assert WorkerSettings().sandbox_paths == ("/opt/cuda", "/dev/null:rw")
    for wrong in ("opt/cuda", "/", "/:rw"):
        environment.setenv("ORCHESTRATOR_SANDBOX_PATHS", wrong)
        assert "ORCHESTRATOR_SANDBOX_PATHS" in explanation()
