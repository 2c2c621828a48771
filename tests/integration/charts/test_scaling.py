"""Workers are scaled on what they have to do, which KEDA asks the orchestrator for; none that works is taken away."""

import pytest

from tests.integration.charts.rendering import merged, named, rendered
from tests.integration.charts.values import MATRIX

FULL = rendered(*MATRIX["organization-full"])


def test_keda_asks_for_the_work_with_the_organizations_certificate():
    (trigger,) = named(FULL, "ScaledObject", "worker")["spec"]["triggers"]
    asked = trigger["metadata"]
    assert asked["url"] == "https://api.example.org/v1/work?channel=oncology"
    # What runs counts, too; a slot each.
    assert (asked["valueLocation"], asked["targetValue"], asked["authMode"]) == ("open", "4", "tls")
    credentials = named(FULL, "TriggerAuthentication", "worker")
    assert trigger["authenticationRef"]["name"] == credentials["metadata"]["name"]
    assert [(each["parameter"], each["name"], each["key"]) for each in credentials["spec"]["secretTargetRef"]] == [
        ("cert", "client-tls", "tls.crt"),
        ("key", "client-tls", "tls.key"),
    ]
    assert credentials["spec"]["configMapTargetRef"] == [
        {"parameter": "ca", "name": "orchestrator-ca", "key": "ca.crt"}
    ]


def test_a_pod_that_works_is_never_taken_away():
    spec = named(FULL, "ScaledObject", "worker")["spec"]
    assert spec["minReplicaCount"] == 0, "all of them go, when none has anything to do"
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["selectPolicy"] == "Disabled"


@pytest.mark.parametrize("source", ["secretName", "configMapName"])
def test_the_servers_authority_may_lie_in_a_secret_or_a_config_map(source):
    chart, values = MATRIX["organization-full"]
    authority = {"secretName": "", "configMapName": "", source: "ca"}
    spec = named(
        rendered(chart, merged(values, {"tls": {"serverAuthority": authority}})), "TriggerAuthentication", "worker"
    )["spec"]
    named_in = spec["secretTargetRef"] if source == "secretName" else spec["configMapTargetRef"]
    assert {"parameter": "ca", "name": "ca", "key": "ca.crt"} in named_in
