"""The HTTP API, executions and their runtime in the chart: what each is told, where files lie, who reaches whom."""

from tests.integration.charts.rendering import container, environment, merged, named, of_kind, rendered
from tests.integration.charts.values import MATRIX

FULL = rendered(*MATRIX["orchestrator-full"])
PARTS = rendered(*MATRIX["orchestrator-parts"])
OFF = rendered(*MATRIX["orchestrator-least"])


def policy(objects, component: str):
    return next(p for p in of_kind(objects, "NetworkPolicy", component) if "ingress" in p["spec"])["spec"]


def ports(rule) -> set[object]:
    return {port["port"] for port in rule["ports"]}


def test_all_of_it_is_off_by_default():
    assert not {"API_IDENTITY", "MEDIA_ROOT"} & {
        name.removeprefix("ORCHESTRATOR_") for name in environment(container(OFF, "Deployment", "server"))
    }
    assert {found["metadata"]["name"] for found in of_kind(OFF, "Deployment")} == {
        "network-orchestrator-server",
        "network-orchestrator-beat",
    }
    assert "api" not in {port["name"] for port in container(OFF, "Deployment", "server")["ports"]}


def test_servers_and_beats_share_the_files():
    told = {
        component: environment(container(FULL, "Deployment", component))["ORCHESTRATOR_MEDIA_ROOT"]
        for component in ("server", "beat")
    }
    assert set(told.values()) == {"/var/lib/orchestrator/executions"}
    for component in told:
        spec = named(FULL, "Deployment", component)["spec"]["template"]["spec"]
        (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "executions"]
        assert volume["persistentVolumeClaim"]["claimName"] == "network-orchestrator-executions"
        mounted = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
        assert mounted["executions"] == told[component]
    (claim,) = of_kind(FULL, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_files_may_lie_in_an_object_store():
    assert not of_kind(PARTS, "PersistentVolumeClaim")
    for component in ("server", "beat"):
        assert environment(container(PARTS, "Deployment", component))["ORCHESTRATOR_MEDIA_ROOT"] == (
            "s3://central/executions"
        )
        assert {443} in [ports(rule) for rule in policy(PARTS, component)["egress"]]


def test_a_runtime_has_servers_place_executions_and_holds_its_secrets_as_files():
    chart, values = MATRIX["orchestrator-full"]
    unsaid = rendered(chart, {**values, "executions": {"enabled": True}})
    assert environment(container(unsaid, "Deployment", "server"))["ORCHESTRATOR_EXECUTIONS_RUNTIME"] == "on"
    runtime = named(FULL, "Deployment", "runtime")["spec"]["template"]["spec"]
    files = {
        volume["name"]: volume["projected"]["sources"][0]["secret"]["name"]
        for volume in runtime["volumes"]
        if volume["name"] in ("argo", "argo-authority", "kafka")
    }
    assert files == {"argo": "argo", "argo-authority": "argo-ca", "kafka": "kafka"}
    assert environment(runtime["containers"][0])["ORCHESTRATOR_ADDRESS"] == (
        "network-orchestrator-server.orchestrator.svc:9000"
    )


def test_a_runtime_reaches_the_server_its_broker_argo_and_kafka_alone():
    spec = policy(FULL, "runtime")
    assert spec["ingress"] == []
    reached = [ports(rule) for rule in spec["egress"]]
    # The last is the operator's own.
    assert reached == [{"grpc"}, {53}, {6379}, {2746}, {9093}, {4317}]


def test_the_api_is_closed_until_somebody_is_named():
    chart, values = MATRIX["orchestrator-full"]
    opened = [rule for rule in policy(FULL, "server")["ingress"] if ports(rule) == {"api"}]
    assert [set(rule) for rule in opened] == [{"ports", "from"}]
    closed = rendered(chart, merged(values, {"networkPolicy": {"apiFrom": []}}))
    assert not [rule for rule in policy(closed, "server")["ingress"] if "api" in ports(rule)]


def test_what_is_our_own_reaches_grpc_where_others_are_named():
    rules = [rule["from"] for rule in policy(FULL, "server")["ingress"] if ports(rule) == {"grpc"}]
    (ours,) = [peers[0]["podSelector"] for peers in rules if "podSelector" in peers[0]]
    assert ours["matchExpressions"][0]["values"] == ["test", "runtime"]


def test_the_api_is_published_apart_and_its_routes_lead_to_it():
    services = {found["metadata"]["name"]: found["spec"]["ports"][0] for found in of_kind(FULL, "Service", "server")}
    assert services["network-orchestrator-server-api"] == {"name": "api", "port": 8080, "targetPort": "api"}
    routed = [route["spec"]["rules"][0]["backendRefs"][0]["name"] for route in of_kind(FULL, "TLSRoute")]
    assert "network-orchestrator-server-api" in routed
    backends = [
        ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"] for ingress in of_kind(FULL, "Ingress")
    ]
    assert {"name": "network-orchestrator-server-api", "port": {"name": "api"}} in backends
