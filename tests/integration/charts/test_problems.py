"""The HTTP of problems in the chart: off by default, for whom it is published, what it is told, who reaches it."""

from tests.integration.charts.rendering import container, environment, merged, of_kind, rendered
from tests.integration.charts.values import MATRIX

FULL = rendered(*MATRIX["orchestrator-full"])
PARTS = rendered(*MATRIX["orchestrator-parts"])
BESIDE = rendered(*MATRIX["orchestrator-hook"])
OFF = rendered(*MATRIX["orchestrator-least"])
NAME = "network-orchestrator-server-problems"


def told(objects) -> dict[str, str | None]:
    found = environment(container(objects, "Deployment", "server"))
    return {name.removeprefix("ORCHESTRATOR_PROBLEMS_"): value for name, value in found.items() if "PROBLEMS" in name}


def ports(objects) -> set[str]:
    return {port["name"] for port in container(objects, "Deployment", "server")["ports"]}


def policy(objects):
    return next(p for p in of_kind(objects, "NetworkPolicy", "server") if "ingress" in p["spec"])["spec"]


def test_it_is_off_by_default():
    assert told(OFF) == {}
    assert "problems" not in ports(OFF)
    assert NAME not in {found["metadata"]["name"] for found in OFF}


def test_limits_hold_for_modules_where_the_http_is_off():
    chart, values = MATRIX["orchestrator-least"]
    limited = rendered(chart, merged(values, {"problems": {"settings": {"problemsHardLimit": "2h"}}}))
    assert told(limited) == {"HARD_LIMIT": "2h"}
    assert environment(container(limited, "Deployment", "beat"))["ORCHESTRATOR_PROBLEMS_HARD_LIMIT"] == "2h"


def test_a_front_end_beside_the_server_needs_no_credentials_and_nobody_else_reaches_it():
    assert (told(BESIDE)["ADDRESS"], told(BESIDE)["IDENTITY"]) == ("127.0.0.1:5001", "open")
    assert "problems" not in ports(BESIDE)
    assert not [found for found in of_kind(BESIDE, "Service") if found["metadata"]["name"].endswith("-problems")]


def test_elsewhere_callers_say_who_they_are():
    assert (told(FULL)["ADDRESS"], told(FULL)["IDENTITY"]) == ("0.0.0.0:5001", "certificate,token")
    assert (told(PARTS)["ADDRESS"], told(PARTS)["IDENTITY"]) == ("0.0.0.0:5001", "token")
    assert (told(PARTS)["ORGANIZATION"], told(PARTS)["CHANNEL"]) == ("laboratory", "oncology")
    assert (told(FULL)["ORGANIZATION"], told(FULL)["CHANNEL"]) == ("central", "oncology"), "those of the API"


def test_its_secrets_are_references_of_the_server_alone():
    env = container(FULL, "Deployment", "server")["env"]
    found = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in env if "valueFrom" in each}
    assert found["ORCHESTRATOR_PROBLEMS_SECRET_KEY"] == {"name": "problems", "key": "fernet"}
    assert found["ORCHESTRATOR_HF_TOKEN"] == {"name": "hub", "key": "token"}
    assert found["ORCHESTRATOR_PROBLEMS_MODEL_HUB_TOKEN"] == {"name": "hub", "key": "server"}


def test_it_is_published_apart_and_its_routes_lead_to_it():
    services = {found["metadata"]["name"]: found["spec"] for found in of_kind(FULL, "Service", "server")}
    assert services[NAME]["ports"] == [{"name": "problems", "port": 5001, "targetPort": "problems"}]
    (route,) = [each for each in of_kind(FULL, "TLSRoute") if each["metadata"]["name"] == NAME]
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": NAME, "port": 5001}]
    (ingress,) = [each for each in of_kind(FULL, "Ingress") if each["metadata"]["name"] == NAME]
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": NAME, "port": {"name": "problems"}}
    (balanced,) = [each for each in of_kind(PARTS, "Service", "server") if each["metadata"]["name"] == NAME]
    assert (balanced["spec"]["type"], balanced["spec"]["ports"][0]["port"]) == ("LoadBalancer", 443)


def test_it_is_closed_until_somebody_is_named_and_reaches_a_model_hub_where_its_ports_are():
    def opened(objects):
        return [rule for rule in policy(objects)["ingress"] if {port["port"] for port in rule["ports"]} == {"problems"}]

    assert [set(rule) for rule in opened(FULL)] == [{"ports", "from"}]
    assert opened(PARTS) == []
    reached = [[port["port"] for port in rule["ports"]] for rule in policy(FULL)["egress"]]
    assert [443, 11434] in reached
