"""What keeps pods apart and lets them end in order, what an operator adds to them, and what `helm test` runs."""

import pytest

from tests.integration.charts.rendering import containers, environment, named, of_kind, pods, rendered, selects
from tests.integration.charts.values import MATRIX

DEPLOYED = ("Deployment", "StatefulSet")
# Flower keeps what it has seen for itself, so that there is but one.
ALONE = {"flower"}


def component(found: dict) -> str:
    return str(found["metadata"]["labels"]["app.kubernetes.io/component"])


def deployed(objects: list[dict]) -> list[dict]:
    return [found for kind in DEPLOYED for found in of_kind(objects, kind) if component(found) not in ALONE]


@pytest.mark.parametrize("name", ["orchestrator-least", "orchestrator-full", "organization-least", "organization-full"])
def test_pods_of_a_kind_are_spread_and_not_taken_away_all_at_once(name):
    objects = rendered(*MATRIX[name])
    budgets = of_kind(objects, "PodDisruptionBudget")
    for found in deployed(objects):
        template = found["spec"]["template"]
        spread = {each["topologyKey"]: each for each in template["spec"]["topologySpreadConstraints"]}
        assert spread.keys() == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        # A cluster of one machine has them, too.
        assert all(each["whenUnsatisfiable"] == "ScheduleAnyway" for each in spread.values())
        assert all(selects(each["labelSelector"]["matchLabels"], template) for each in spread.values())
        kept = [each for each in budgets if selects(each["spec"]["selector"]["matchLabels"], template)]
        assert [each["spec"]["maxUnavailable"] for each in kept] == [1], component(found)
        # What is broken anyway holds up no drain.
        assert kept[0]["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_a_budget_can_be_left_out():
    assert not of_kind(rendered(*MATRIX["orchestrator-hook"]), "PodDisruptionBudget", "server")


@pytest.mark.parametrize(("name", "of"), [("orchestrator-full", "server"), ("organization-full", "store")])
def test_nobody_is_sent_to_what_ends_and_what_was_begun_may_end(name, of):
    spec = named(rendered(*MATRIX[name]), "Deployment", of)["spec"]["template"]["spec"]
    hook = spec["containers"][0]["lifecycle"]["preStop"]
    waited = int(hook["sleep"]["seconds"]) if "sleep" in hook else int(hook["exec"]["command"][-1])
    # A server gives calls that are under way ten seconds, and a store its downloads as long.
    assert waited > 0
    assert spec["terminationGracePeriodSeconds"] >= waited + 15


def test_servers_are_added_while_they_are_busy():
    scaler = named(rendered(*MATRIX["orchestrator-full"]), "HorizontalPodAutoscaler", "server")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 6)
    (metric,) = scaler["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] > 0


@pytest.mark.parametrize("name", ["orchestrator-full", "organization-full"])
def test_what_an_operator_adds_is_in_every_pod_that_stays(name):
    objects = rendered(*MATRIX[name])
    for found in [each for kind in DEPLOYED for each in of_kind(objects, kind)]:
        template = found["spec"]["template"]
        spec, first = template["spec"], template["spec"]["containers"][0]
        assert [each["name"] for each in spec["containers"]][1:] == ["sidecar"], component(found)
        assert "first" in [each["name"] for each in spec["initContainers"]]
        assert environment(first)["ORCHESTRATOR_LATER"] == "1"
        assert {"secretRef": {"name": "more"}} in first["envFrom"]
        assert {"name": "more", "mountPath": "/more"} in first["volumeMounts"]
        assert {"name": "more", "emptyDir": {}} in spec["volumes"]
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        assert (template["metadata"]["labels"]["team"], template["metadata"]["annotations"]["note"]) == ("a", "b")
        assert (spec["nodeSelector"]["disk"], spec["priorityClassName"]) == ("ssd", "high")
        assert spec["tolerations"] == [{"operator": "Exists"}]
    assert [each["metadata"]["namespace"] for each in objects if each["metadata"]["name"] == "network-more"] == [
        "orchestrator"
    ]


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("orchestrator-full", {"args": ["node", "list"]}),
        ("organization-full", {"command": ["python3", "/opt/test/noop_task.py"]}),
    ],
)
def test_helm_test_calls_by_mutual_tls(name, runs):
    objects = rendered(*MATRIX[name])
    (test,) = of_kind(objects, "Pod")
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (each,) = test["spec"]["containers"]
    assert runs.items() <= each.items()
    told, mounted = environment(each), {mount["mountPath"] for mount in each["volumeMounts"]}
    for setting in ("CLIENT_CERT", "CLIENT_KEY", "CLIENT_CA_CERT"):
        file = told[f"ORCHESTRATOR_{setting}"]
        assert file is not None
        assert file.rpartition("/")[0] in mounted, setting
    # It is neither a server nor a worker, and no service leads to it.
    for service in of_kind(objects, "Service"):
        assert not selects(service["spec"]["selector"], test)
    assert all(container["image"].endswith("a" * 64) for container in containers(test))
    assert not [name for name, _ in pods(objects) if name.startswith("Pod/") and test["metadata"]["name"] not in name]
