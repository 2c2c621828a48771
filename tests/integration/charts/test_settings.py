"""What the charts tell the processes is what the settings classes know: each name, and values that they take."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner
from cryptography.fernet import Fernet

from beat import sweeps
from beat.settings import BeatSettings
from orchestrator.broker.settings import FlowerSettings
from orchestrator.cli.main import main
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.files.trust import read_trust
from orchestrator.gateway.problems.settings import ProblemsHttpSettings
from orchestrator.problems.settings import ProblemSettings
from orchestrator.settings import DatabaseSettings, ServerSettings
from tests.integration.charts.rendering import (
    CHARTS,
    container,
    containers,
    environment,
    named,
    pods,
    rendered,
)
from tests.integration.charts.setting_values import (
    BEAT_SETTINGS,
    DATABASE_SETTINGS,
    EXECUTION_SETTINGS,
    ORGANIZATION_SETTINGS,
    PROBLEM_HTTP_SETTINGS,
    PROBLEM_SETTINGS,
    RUNTIME_SETTINGS,
    SERVER_SETTINGS,
    STORE_SETTINGS,
    WORKER_SETTINGS,
)
from tests.integration.charts.values import CONSENT, MATRIX, ORCHESTRATOR, ORGANIZATION
from tests.kit.issuing import authority, revocation_list
from workers.assets.settings import StoreSettings
from workers.runtime.argo import ArgoSettings
from workers.runtime.kafka import KafkaSettings
from workers.runtime.settings import RuntimeSettings
from workers.settings import WorkerSettings

AUTHORITY = authority("hospital-1")
# Why a setting is in no chart.
LEFT_OUT = {
    **{
        f"ORCHESTRATOR_DATABASE_{name}": "by extraEnv, where there is a pooler: the second is a secret"
        for name in ("POOLING", "DIRECT_URL")
    },
    "ORCHESTRATOR_PACKAGE_INDEX": "by extraEnv: its URL may hold a password",
    **{
        f"ORCHESTRATOR_{name}": "by extraEnv and extraVolumes: what lies on the machine"
        for name in ("PACKAGE_FOLDER", "ENVIRONMENT_DIR", "FUNCTION_PYTHONS", "IMAGES")
    },
    **{
        f"ORCHESTRATOR_{name}": "no pod has a container engine"
        for name in ("CONTAINER_ENGINE", "CONTAINER_NETWORK", "IMAGE_TIME_LIMIT", "IMAGE_CACHE_SIZE", "IMAGE_CACHE_AGE")
    },
    "ORCHESTRATOR_KUBERNETES_NAMESPACE": "jobs run in the worker's own, where its role is",
    "ORCHESTRATOR_TLS_SERVER_CA_CERT": "nothing in the server needs it",
    "ORCHESTRATOR_ARGO_WORKFLOWS_TOKEN": "it comes as a file, which is read again",
}
# What is the server's alone, of settings that others read as well.
KEPT_FROM = {"beat": {"ORCHESTRATOR_PROBLEMS_SECRET_KEY", "ORCHESTRATOR_HF_TOKEN"}}
# What secrets and the kubelet hold.
ELSEWHERE = {
    "DATABASE_URL": "postgresql://user@host/db",
    "BROKER_URL": "redis://host:6379/0",
    "NODE": "node-0",
    "PROBLEMS_SECRET_KEY": Fernet.generate_key().decode(),
    "HF_TOKEN": "hub",
    "PROBLEMS_MODEL_HUB_TOKEN": "server",
}
# What the matrix adds by `extraEnv`.
NOT_SETTINGS = {"ORCHESTRATOR_LATER"}

SERVED = (ExecutionSettings, ProblemSettings, ProblemsHttpSettings)
PROCESSES = [
    (ORCHESTRATOR, "Deployment", "server", (ServerSettings, *SERVED)),
    (ORCHESTRATOR, "Deployment", "beat", (BeatSettings, ProblemSettings)),
    (ORCHESTRATOR, "Deployment", "runtime", (RuntimeSettings, ArgoSettings, KafkaSettings)),
    (ORCHESTRATOR, "Job", "migrations", (DatabaseSettings,)),
    (ORCHESTRATOR, "Deployment", "flower", (FlowerSettings,)),
    (ORGANIZATION, "StatefulSet", "worker", (WorkerSettings,)),
    (ORGANIZATION, "Deployment", "store", (StoreSettings,)),
]


def variables(*settings) -> set[str]:
    return {
        f"{each.model_config['env_prefix'] or 'ORCHESTRATOR_'}{name.upper()}"
        for each in settings
        for name in each.model_fields
    }


def told(chart: str, kind: str, component: str, sets: tuple[str, ...]) -> dict[str, str | None]:
    """Return all variables of ours that a process is told in any of these sets of values."""
    total: dict[str, str | None] = {}
    for name in sets:
        if MATRIX[name][0] == chart:
            total |= environment(container(rendered(*MATRIX[name]), kind, component))
    return {name: value for name, value in total.items() if name.startswith("ORCHESTRATOR_")}


@cache
def schema(chart: str) -> dict[str, Any]:
    return yaml.safe_load((CHARTS / chart / "values.schema.json").read_text())


@pytest.mark.parametrize(("chart", "kind", "component", "settings"), PROCESSES)
def test_a_process_can_be_told_every_setting_and_nothing_else(chart, kind, component, settings):
    sets = ("orchestrator-full", "organization-full", "organization-jobs")
    known = told(chart, kind, component, sets).keys() - NOT_SETTINGS
    # Server, beat and migrations are told of the database in one place, so the latter two hear a little more.
    shared = variables(ServerSettings) & variables(BeatSettings) if component == "migrations" else set()
    assert known - variables(*settings) - shared == set(), "there is no such setting"
    assert not known & KEPT_FROM.get(component, set())
    assert variables(*settings) - known - LEFT_OUT.keys() - KEPT_FROM.get(component, set()) == set(), (
        "the chart cannot say it: let values.schema.json and the matrix of values.py know it, or LEFT_OUT why not"
    )


@pytest.mark.parametrize("name", MATRIX)
def test_no_container_is_told_what_no_settings_class_knows(name):
    every = set().union(*(variables(*settings) for *_, settings in PROCESSES))
    for pod_name, pod in pods(rendered(*MATRIX[name])):
        for each in containers(pod):
            ours = {variable for variable in environment(each) if variable.startswith("ORCHESTRATOR_")}
            assert ours - every - NOT_SETTINGS == set(), pod_name


@pytest.mark.parametrize(
    ("chart", "path", "given"),
    [
        (ORCHESTRATOR, ("settings",), DATABASE_SETTINGS),
        (ORCHESTRATOR, ("server", "settings"), SERVER_SETTINGS),
        (ORCHESTRATOR, ("beat", "settings"), BEAT_SETTINGS),
        (ORCHESTRATOR, ("executions", "settings"), EXECUTION_SETTINGS),
        (ORCHESTRATOR, ("problems", "settings"), PROBLEM_SETTINGS),
        (ORCHESTRATOR, ("problems", "httpSettings"), PROBLEM_HTTP_SETTINGS),
        (ORCHESTRATOR, ("runtime", "settings"), RUNTIME_SETTINGS),
        (ORGANIZATION, ("settings",), ORGANIZATION_SETTINGS),
        (ORGANIZATION, ("worker", "settings"), WORKER_SETTINGS),
        (ORGANIZATION, ("store", "settings"), STORE_SETTINGS),
    ],
)
def test_the_matrix_gives_every_setting_that_the_schema_allows(chart, path, given):
    node = schema(chart)
    for name in path:
        node = node["properties"][name]
    assert node["additionalProperties"] is False
    assert node["properties"].keys() == given.keys()


def settings_from(variables_told: dict[str, str | None], settings, monkeypatch, files: Path):
    """Make the settings from what a container is told, with files where its volumes would be."""
    for name, value in variables_told.items():
        if name in NOT_SETTINGS:
            continue
        if value is None:
            value = ELSEWHERE[name.removeprefix("ORCHESTRATOR_")]
        if value.startswith("/etc/orchestrator/"):
            file = files / value.removeprefix("/etc/orchestrator/")
            value = str(file)
            file.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("_DIR"):
                kubelet_folder(
                    file, {"hospital-1/ca.crt": AUTHORITY.pem, "hospital-1/ca.crl": revocation_list(AUTHORITY)}
                )
            elif name.endswith("DENY_LIST"):
                file.write_text("serials: {hospital-1: [0A]}")
            elif name.endswith("CHANNEL_CONFIG"):
                file.write_text("channels: {oncology: [hospital-1]}")
            elif name.endswith("CONSENT_POLICY"):
                file.write_text(yaml.safe_dump(CONSENT))
            elif name.endswith("BROKER_URLS"):
                file.write_text("organizations: {hospital-1: 'redis://host'}")
            else:
                file.touch()
        monkeypatch.setenv(name, value)
    made, *_ = [each() for each in settings]
    return made


def kubelet_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Lay out a projected volume as the kubelet does: links to a folder that it replaces as a whole."""
    data = folder / "..2026_11_26"
    for name, content in files.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    (folder / "..data").symlink_to(data.name)
    for top in {name.partition("/")[0] for name in files}:
        (folder / top).symlink_to(f"..data/{top}")


@pytest.mark.parametrize(("chart", "kind", "component", "settings"), PROCESSES)
def test_a_process_takes_what_it_is_told(chart, kind, component, settings, monkeypatch, tmp_path):
    full = told(chart, kind, component, ("orchestrator-full", "organization-full"))
    made = settings_from(full, settings, monkeypatch, tmp_path)
    if component == "worker":
        # Large numbers in full: YAML's would arrive as 6.8719476736e+10.
        assert made.task_memory_limit == 68719476736
        assert (made.task_kill_grace, made.drain_seconds) == (2.5, 3600)
        assert made.channels == ("oncology", "rare")
    if component == "server":
        assert made.mtls_enabled
        assert made.verify_client_msp_id
        assert made.lease == 90
        assert made.message_bytes == 1073741824
        trust = read_trust(made.tls_client_ca_cert_dir, made.tls_deny_list)
        assert {name: len(read.certificates) for name, read in trust.organizations.items()} == {"hospital-1": 1}
        assert len(trust.organizations["hospital-1"].revocations) == 1
        assert made.problems_identity == ("certificate", "token")
        assert (made.problems_owner, made.problems_place) == ("central", "oncology")
        assert ProblemSettings().problems_hard_limits == {"ML_MODEL": 1800}
        assert ProblemSettings().problems_secret_key
        assert ProblemsHttpSettings().hosts == ("problems.example.org", ".svc")
    if component == "beat":
        assert made.event_retention == 90 * 86400
        assert made.media_root == full["ORCHESTRATOR_MEDIA_ROOT"]
    if component == "runtime":
        assert made.certificates
        assert ArgoSettings().argo_workflows_token_file
        assert KafkaSettings().kafka_client_config


@pytest.mark.parametrize("name", [name for name, (chart, _) in MATRIX.items() if chart == ORCHESTRATOR])
def test_every_command_is_one_that_the_program_has(name):
    for pod_name, pod in pods(rendered(*MATRIX[name])):
        for each in containers(pod):
            if "args" in each:
                # Flower's options are its own.
                done = CliRunner().invoke(
                    main, [*each["args"], "--help"] if each["args"][0] != "flower" else ["flower", "--help"]
                )
                assert done.exit_code == 0, f"{pod_name}: {done.output}"


def test_parts_make_a_url_that_is_taken(monkeypatch, tmp_path):
    server = container(rendered(*MATRIX["orchestrator-parts"]), "Deployment", "server")
    told_here = environment(server)
    assert told_here["ORCHESTRATOR_DATABASE_URL"] == (
        "postgresql://orchestrator@postgres.example.org:5432/orchestrator"
        "?sslmode=verify-full&sslrootcert=/etc/orchestrator/database/ca.crt"
    )
    assert told_here["ORCHESTRATOR_BROKER_URL"] == "amqps://relay:$(BROKER_PASSWORD)@rabbitmq.example.org:5671/%2F"
    names = list(told_here)
    assert names.index("BROKER_PASSWORD") < names.index("ORCHESTRATOR_BROKER_URL"), "the kubelet fills in what it knows"
    assert told_here["PGPASSWORD"] is None, "from the secret; libpq reads it"


def test_the_password_of_the_database_may_stand_beside_its_url(postgres):
    parts = urlsplit(postgres.create_database("password_beside"))
    url = parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl()
    environment = {**os.environ, "ORCHESTRATOR_DATABASE_URL": url, "PGPASSWORD": str(parts.password)}
    command = [sys.executable, "-m", "orchestrator", "migrate"]
    assert subprocess.run(command, env=environment, timeout=120).returncode == 0
    del environment["PGPASSWORD"]
    assert subprocess.run(command, env=environment, capture_output=True, timeout=120).returncode == 1


def test_the_times_that_a_worker_ends_by_are_the_settings_defaults():
    values = yaml.safe_load((CHARTS / ORGANIZATION / "values.yaml").read_text())["worker"]["settings"]
    fields = WorkerSettings.model_fields
    assert values == {
        "drainSeconds": fields["drain_seconds"].default,
        "taskKillGrace": fields["task_kill_grace"].default,
    }


def test_an_alert_on_a_late_sweep_waits_a_few_of_its_periods(monkeypatch):
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", "postgresql://host/db")
    monkeypatch.setenv("ORCHESTRATOR_BROKER_URL", "redis://host")
    monkeypatch.setenv("ORCHESTRATOR_EVENT_RETENTION", "90d")
    monkeypatch.setenv("ORCHESTRATOR_ATTEMPT_RETENTION", "90d")
    ages = yaml.safe_load((CHARTS / ORCHESTRATOR / "values.yaml").read_text())["metrics"]["prometheusRule"]["sweepAges"]
    periods = {sweep.name.removeprefix("sweep."): sweep.period for sweep in sweeps.make(BeatSettings())}
    assert ages.keys() == periods.keys()
    assert {name for name, age in ages.items() if age < 5 * periods[name]} == set()


@pytest.mark.parametrize(
    ("chart", "kind", "component"),
    [
        ("orchestrator-least", "Deployment", "beat"),
        ("organization-least", "StatefulSet", "worker"),
        ("organization-least", "Deployment", "store"),
    ],
)
def test_a_process_is_asked_for_its_health_where_it_answers(chart, kind, component):
    asked = container(rendered(*MATRIX[chart]), kind, component)
    ports = {port["name"]: port["containerPort"] for port in asked["ports"]}
    for probe, path in (("startupProbe", "/health"), ("readinessProbe", "/ready"), ("livenessProbe", "/health")):
        assert asked[probe]["httpGet"] == {"path": path, "port": "health"}
    assert environment(asked)["ORCHESTRATOR_HEALTH_ADDRESS"] == f"0.0.0.0:{ports['health']}"


def test_beat_and_server_are_told_the_same_rules():
    objects = rendered(*MATRIX["orchestrator-full"])
    shared = {f"ORCHESTRATOR_{name.upper()}" for name in ServerSettings.model_fields.keys() & BeatSettings.model_fields}
    server, beat = (container(objects, "Deployment", component) for component in ("server", "beat"))
    shared |= variables(ProblemSettings) - KEPT_FROM["beat"]
    rules = shared - {"ORCHESTRATOR_BROKER_URL"} - LEFT_OUT.keys()
    assert {name: environment(server)[name] for name in rules} == {name: environment(beat)[name] for name in rules}
    assert named(objects, "Deployment", "beat")["spec"]["replicas"] == 2
