"""The alerts and the dashboard ask for metrics that there are, and the alerts fire when they should (promtool)."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from orchestrator.calls import metrics as calls
from orchestrator.core.rules import SILENT_LEASES
from tests.integration.charts.rendering import CHARTS, HELM, merged, of_kind, rendered
from tests.integration.charts.values import MATRIX

METRICS = CHARTS.parent / "docs/metrics.md"
METRIC = re.compile(r"\borchestrator_[a-z_]+\b")
HISTOGRAM = re.compile(r"_(bucket|sum|count)$")
LABELS = 'job="network-orchestrator-server-http", namespace="orchestrator"'
# With the settings' own lease of 60 s, and nothing that takes weeks.
CHART, VALUES = (
    MATRIX["orchestrator-full"][0],
    merged(
        MATRIX["orchestrator-full"][1],
        {"settings": {"lease": None}, "metrics": {"prometheusRule": {"contractionAge": "10m"}}},
    ),
)


def rules() -> dict:
    (rule,) = of_kind(rendered(CHART, VALUES), "PrometheusRule")
    return rule["spec"]


def expressions() -> dict[str, set[str]]:
    dashboard = json.loads((CHARTS / CHART / "files/dashboard.json").read_text())
    return {
        "alerts": {rule["expr"] for group in rules()["groups"] for rule in group["rules"]},
        "dashboard": {target["expr"] for panel in dashboard["panels"] for target in panel["targets"]},
    }


@pytest.mark.parametrize("where", ["alerts", "dashboard"])
def test_every_metric_that_is_asked_for_is_documented(where):
    documented = set(METRIC.findall(METRICS.read_text()))
    asked = {HISTOGRAM.sub("", name) for text in expressions()[where] for name in METRIC.findall(text)}
    assert asked - documented == set()
    assert asked


def test_the_dashboard_shows_every_metric():
    documented = {name for name in METRIC.findall(METRICS.read_text()) if name != "orchestrator_beat"}
    shown = {HISTOGRAM.sub("", name) for text in expressions()["dashboard"] for name in METRIC.findall(text)}
    assert documented - shown == set()


def test_the_dashboard_is_in_its_config_map():
    (shown,) = [
        found
        for found in of_kind(rendered(CHART, VALUES), "ConfigMap", "server")
        if found["metadata"]["labels"].get("grafana_dashboard")
    ]
    assert json.loads(shown["data"]["orchestrator.json"])["title"] == "Orchestrator"


def test_a_node_is_lost_after_the_leases_that_the_command_counts():
    lost = next(
        rule for group in rules()["groups"] for rule in group["rules"] if rule["alert"] == "OrchestratorNodeLost"
    )
    assert lost["expr"].endswith(f"> {60 * SILENT_LEASES}")


def test_calls_are_counted_by_the_names_that_the_alerts_know():
    calls.observe("AlertsTest", "OK", 0.1)
    assert calls._CALLS.labels("AlertsTest", "OK")._value.get() == 1


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    more = "".join(f', {label}="{value}"' for label, value in labels.items())
    return {"series": f"{name}{{{LABELS}{more}}}", "values": values}


DAY = 86400
UP = series("up", "1x60")
REACHABLE = series("orchestrator_database_reachable", "1x60")
SWEPT = series("orchestrator_sweep_age_seconds", "5x60", sweep="sweep.expired_leases")
WELL = [
    UP,
    REACHABLE,
    SWEPT,
    series("orchestrator_presence_age_seconds", "3x60"),
    series("orchestrator_node_silent_seconds", "15x60", channel="c", organization="o", node="n"),
    series("orchestrator_queue_unread_seconds", "15x60", queue="org.o"),
    series("orchestrator_queue_oldest_seconds", "100+60x60", queue="org.o"),
    series("orchestrator_schema_serves", "1x60"),
    series("orchestrator_schema_contraction_pending", "0x60"),
    series("orchestrator_calls_total", "0+600x60", method="GetTask", code="OK"),
    series("orchestrator_calls_total", "0+6x60", method="GetTask", code="INTERNAL"),
    series("orchestrator_calls_total", "0+6x60", method="GetTask", code="UNAUTHENTICATED"),
    series("orchestrator_process_starts_total", "1x60", pod="p", process="0"),
    series("orchestrator_sweep_repaired_total", "7x60", sweep="sweep.unacknowledged_stops"),
    series("orchestrator_calls_refused_total", "7x60", organization="o"),
    series("orchestrator_server_certificate_seconds", f"{15 * DAY}-60x60"),
    series("orchestrator_node_certificate_seconds", f"{15 * DAY}-60x60", channel="c", organization="o", node="n"),
    series("orchestrator_authority_certificate_seconds", f"{15 * DAY}-60x60", organization="o"),
    series("orchestrator_revocation_list_seconds", f"{DAY}-60x60", organization="o"),
]
ILL = {
    "OrchestratorDown": [series("up", "0x60"), REACHABLE, SWEPT],
    "OrchestratorDatabaseUnreachable": [UP, series("orchestrator_database_reachable", "0x60"), SWEPT],
    "OrchestratorLeasesHeld": [UP, REACHABLE, SWEPT, series("orchestrator_presence_age_seconds", "25+60x60")],
    "OrchestratorSweepLate": [
        UP,
        REACHABLE,
        series("orchestrator_sweep_age_seconds", "5+60x60", sweep="sweep.expired_leases"),
    ],
    "OrchestratorNeverSwept": [UP, REACHABLE],
    "OrchestratorNodeLost": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_node_silent_seconds", "5+60x60", channel="c", organization="o", node="n"),
    ],
    "OrchestratorQueueUnread": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_queue_unread_seconds", "5+60x60", queue="org.o"),
    ],
    "OrchestratorTasksWait": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_queue_oldest_seconds", "21000+60x60", queue="org.o"),
    ],
    "OrchestratorSchemaLeftBehind": [UP, REACHABLE, SWEPT, series("orchestrator_schema_serves", "0x60")],
    "OrchestratorSchemaNotContracted": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_schema_contraction_pending", "1x60"),
    ],
    "OrchestratorProcessEnds": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_process_starts_total", "1+1x60", pod="p", process="0"),
    ],
    "OrchestratorCallsFail": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_calls_total", "0+600x60", method="GetTask", code="OK"),
        series("orchestrator_calls_total", "0+60x60", method="GetTask", code="INTERNAL"),
    ],
    "OrchestratorCallsRefused": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_calls_total", "0+600x60", method="GetTask", code="OK"),
        series("orchestrator_calls_total", "0+200x60", method="GetTask", code="PERMISSION_DENIED"),
    ],
    "OrchestratorCallsOverLimit": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_calls_refused_total", "0+1x60", organization="o"),
    ],
    "OrchestratorCertificateEnds": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_server_certificate_seconds", f"{13 * DAY}-60x60"),
        series("orchestrator_node_certificate_seconds", f"{13 * DAY}-60x60", channel="c", organization="o", node="n"),
        series("orchestrator_authority_certificate_seconds", f"{13 * DAY}-60x60", organization="o"),
    ],
    "OrchestratorRevocationListOld": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_revocation_list_seconds", "-60-60x60", organization="o"),
    ],
    "OrchestratorStopNotAcknowledged": [
        UP,
        REACHABLE,
        SWEPT,
        series("orchestrator_sweep_repaired_total", "0+1x60", sweep="sweep.unacknowledged_stops"),
    ],
}
# How many are there at once, where it is not one: of server, node and authority.
ALERTS = {"OrchestratorCertificateEnds": 3}


def test_every_alert_is_tried():
    assert {rule["alert"] for group in rules()["groups"] for rule in group["rules"]} == ILL.keys()


def test_each_alert_has_its_section_on_the_page_by_its_severity():
    page = (CHARTS.parent / "docs/operate/monitor.md").read_text()
    parts = {name: re.findall(r"^### (\w+)$", text, re.MULTILINE) for name, text in sections(page)}
    every = [rule for group in rules()["groups"] for rule in group["rules"]]
    worst = {
        rule["alert"]: min(each["labels"]["severity"] for each in every if each["alert"] == rule["alert"])
        for rule in every
    }
    for severity in ("critical", "warning"):
        named = parts[severity.capitalize()]
        assert sorted(named) == sorted(name for name, worse in worst.items() if worse == severity)


def test_the_rules_can_be_taken_out_of_the_chart_by_the_command_of_the_page(tmp_path: Path):
    (command,) = re.findall(r"^```sh\n(.*?)^```$", (CHARTS.parent / "docs/operate/monitor.md").read_text(), re.S | re.M)
    (tmp_path / "orchestrator.yaml").write_text(yaml.safe_dump(MATRIX["orchestrator-least"][1]))
    done = subprocess.run(
        ["bash", "-euc", command.replace("orchestrator.yaml", str(tmp_path / "orchestrator.yaml"))],
        env={**os.environ, "PATH": f"{HELM.parent}:{os.environ['PATH']}"},
        cwd=CHARTS.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert [found["kind"] for found in yaml.safe_load_all(done.stdout) if found] == ["PrometheusRule"]


def sections(page: str) -> list[tuple[str, str]]:
    return [(part.partition("\n")[0], part) for part in page.split("\n## ")[1:]]


def test_each_alert_fires_on_its_own_trouble_and_none_when_all_is_well(tmp_path: Path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    cases = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        # `ALERTS` is what Prometheus itself keeps of those that fire.
        "tests": [
            {
                "interval": "1m",
                "input_series": given,
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "50m",
                        "exp_samples": (
                            [{"labels": f'{{alertname="{name}"}}', "value": ALERTS.get(name, 1)}] if name else []
                        ),
                    }
                ],
            }
            for name, given in [("", WELL), *ILL.items()]
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(cases))
    for arguments in (["check", "rules", "rules.yaml"], ["test", "rules", "test.yaml"]):
        done = subprocess.run([promtool, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
