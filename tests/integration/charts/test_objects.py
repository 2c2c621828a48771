"""What the charts render, over the matrix of values: valid, restricted, closed, and free of secrets."""

import shutil

import kubernetes_validate
import pytest
import yaml

from tests.integration.charts.rendering import (
    CHARTS,
    KUBERNETES,
    RELEASE,
    container,
    containers,
    environment,
    helm,
    merged,
    named,
    of_kind,
    pods,
    rendered,
    selects,
    template,
)
from tests.integration.charts.values import MATRIX
from workers.consent.policy import ConsentPolicy

# Custom resources that kubernetes-validate has no schema for; what they must say is asserted here, and no controller
# has read them.
CUSTOM = {
    "Certificate": ("cert-manager.io/v1", {"secretName", "issuerRef", "subject", "usages"}),
    "ScaledObject": ("keda.sh/v1alpha1", {"scaleTargetRef", "triggers"}),
    "TriggerAuthentication": ("keda.sh/v1alpha1", {"secretTargetRef"}),
    "PrometheusRule": ("monitoring.coreos.com/v1", {"groups"}),
    "ServiceMonitor": ("monitoring.coreos.com/v1", {"selector", "endpoints"}),
    "TLSRoute": ("gateway.networking.k8s.io/v1alpha2", {"parentRefs", "hostnames", "rules"}),
}
# Of pods that a worker makes, as workers/executors/manifest.py labels them.
FUNCTIONS = {
    "app.kubernetes.io/managed-by": "orchestrator",
    "app.kubernetes.io/component": "function",
    "orchestrator/network": "none",
}
VERSION = ".".join(KUBERNETES.split(".")[:2])


@pytest.fixture(scope="module", params=MATRIX)
def objects(request):
    return rendered(*MATRIX[request.param])


@pytest.mark.parametrize("name", MATRIX)
def test_lint_finds_nothing(name):
    chart, values = MATRIX[name]
    assert "[WARNING]" not in helm("lint", chart, "--strict", "--values=-", values=yaml.safe_dump(values))


def test_every_object_is_what_kubernetes_expects(objects):
    for found in objects:
        if found["kind"] in CUSTOM:
            version, fields = CUSTOM[found["kind"]]
            assert found["apiVersion"] == version
            assert fields <= found["spec"].keys()
        else:
            kubernetes_validate.validate(found, VERSION, strict=True)


def test_no_object_is_rendered_twice(objects):
    names = [(found["kind"], found["metadata"]["name"]) for found in objects]
    assert len(names) == len(set(names))
    assert all(len(name) <= 63 for _, name in names)


def test_every_pod_is_restricted(objects):
    for name, pod in pods(objects):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}, name
        assert not any("hostPath" in volume for volume in spec.get("volumes", ())), name
        for each in containers(pod):
            context = each["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["runAsNonRoot"] is True, name
            assert context["runAsUser"] == 10001, name
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert each["resources"]["requests"], name
            assert each["resources"]["limits"]["memory"], name


def test_what_serves_is_probed(objects):
    for name, pod in pods(objects):
        for each in pod["spec"]["containers"]:
            if each.get("ports"):
                assert {"readinessProbe", "livenessProbe"} <= each.keys(), f"{name} {each['name']}"


def test_no_secret_is_made_and_none_stands_in_the_environment(objects):
    assert not of_kind(objects, "Secret")
    for name, pod in pods(objects):
        for each in containers(pod):
            for variable in each.get("env", ()):
                if "URL" in variable["name"] or "PASSWORD" in variable["name"] or "AUTH" in variable["name"]:
                    value = variable.get("value", "")
                    credentials = value.rpartition("@")[0].partition("://")[2]
                    password = credentials.partition(":")[2]
                    assert password in ("", "$(BROKER_PASSWORD)"), f"{name}: {variable['name']}"


def test_every_volume_is_declared_and_used(objects):
    for name, pod in pods(objects):
        declared = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        claims = next(found for found in objects if f"{found['kind']}/{found['metadata']['name']}" == name)
        declared |= {claim["metadata"]["name"] for claim in claims["spec"].get("volumeClaimTemplates", ())}
        mounted = {mount["name"] for each in containers(pod) for mount in each.get("volumeMounts", ())}
        assert mounted == declared, name
        assert not any("subPath" in mount for each in containers(pod) for mount in each.get("volumeMounts", ())), (
            f"{name}: a file that is mounted by subPath is never renewed"
        )


def test_every_config_map_and_account_that_the_chart_makes_is_there(objects):
    made = {found["metadata"]["name"] for found in objects}
    for name, pod in pods(objects):
        assert pod["spec"]["serviceAccountName"] in made | {"default"}, name
        for volume in pod["spec"].get("volumes", ()):
            config_map = volume.get("configMap", {}).get("name", "")
            claim = volume.get("persistentVolumeClaim", {}).get("claimName", "")
            for wanted in (config_map, claim):
                assert not wanted.startswith(("network-", "clinic-")) or wanted in made, name


def test_every_selector_meets_the_pods_of_its_component(objects):
    found_pods = [pod for _, pod in pods(objects)]
    for found in objects:
        spec = found.get("spec", {})
        if found["kind"] == "Service":
            selectors = [spec["selector"]]
        elif found["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
            selectors = [spec["selector"]["matchLabels"]]
        elif found["kind"] == "NetworkPolicy":
            selectors = [spec["podSelector"]["matchLabels"]]
            if selectors == [FUNCTIONS]:
                continue
            peers = [peer for rule in spec.get("ingress", ()) for peer in rule.get("from", ())]
            peers += [peer for rule in spec.get("egress", ()) for peer in rule.get("to", ())]
            selectors += [peer["podSelector"]["matchLabels"] for peer in peers if "podSelector" in peer]
        else:
            continue
        for selector in selectors:
            met = [pod for pod in found_pods if selects(selector, pod)]
            assert met, f"{found['kind']} {found['metadata']['name']}"
            if "app.kubernetes.io/component" in selector:
                assert len(met) == 1, f"{found['kind']} {found['metadata']['name']}"


def test_what_scales_routes_and_monitors_names_what_is_there(objects):
    names = {(found["kind"], found["metadata"]["name"]) for found in objects}
    services = {found["metadata"]["name"]: found for found in of_kind(objects, "Service")}
    for found in [*of_kind(objects, "HorizontalPodAutoscaler"), *of_kind(objects, "ScaledObject")]:
        target = found["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in names
        (scaled,) = [each for each in of_kind(objects, target["kind"]) if each["metadata"]["name"] == target["name"]]
        assert "replicas" not in scaled["spec"]
    for found in of_kind(objects, "TLSRoute"):
        (backend,) = found["spec"]["rules"][0]["backendRefs"]
        assert backend["port"] in [port["port"] for port in services[backend["name"]]["spec"]["ports"]]
    for found in of_kind(objects, "Ingress"):
        for path in found["spec"]["rules"][0]["http"]["paths"]:
            service = path["backend"]["service"]
            assert service["port"]["name"] in [port["name"] for port in services[service["name"]]["spec"]["ports"]]
    for found in of_kind(objects, "ServiceMonitor"):
        met = [s for s in services.values() if selects(found["spec"]["selector"]["matchLabels"], s)]
        assert [port["name"] for service in met for port in service["spec"]["ports"]] == ["http"]
    for found in of_kind(objects, "StatefulSet"):
        assert found["spec"]["serviceName"] in services


def test_every_port_of_a_service_and_of_a_policy_is_served(objects):
    templates = [pod for _, pod in pods(objects)]

    def served(selector: dict[str, str]) -> set[str | int]:
        ports = [
            port
            for pod in templates
            if selects(selector, pod)
            for each in pod["spec"]["containers"]
            for port in each.get("ports", ())
        ]
        return {port["name"] for port in ports} | {port["containerPort"] for port in ports}

    for found in of_kind(objects, "Service"):
        for port in found["spec"].get("ports", ()):
            assert port["targetPort"] in served(found["spec"]["selector"])
    for found in of_kind(objects, "NetworkPolicy"):
        selector = found["spec"]["podSelector"]["matchLabels"]
        for rule in found["spec"].get("ingress", ()):
            assert {port["port"] for port in rule["ports"]} <= served(selector)
        for rule in found["spec"].get("egress", ()):
            for peer in rule.get("to", ()):
                if "podSelector" in peer:
                    ports = {port["port"] for port in rule["ports"]}
                    assert ports <= served(peer["podSelector"]["matchLabels"])


@pytest.mark.parametrize("name", ["orchestrator-least", "orchestrator-full", "organization-least", "organization-full"])
def test_every_pod_is_closed_both_ways_but_for_what_is_named(name):
    objects = rendered(*MATRIX[name])
    policies = of_kind(objects, "NetworkPolicy")
    (closed,) = [policy for policy in policies if not policy["spec"].keys() & {"ingress", "egress"}]
    for _, pod in pods(objects):
        assert selects(closed["spec"]["podSelector"]["matchLabels"], pod)
        (own,) = [p for p in policies if p is not closed and selects(p["spec"]["podSelector"]["matchLabels"], pod)]
        assert own["spec"]["policyTypes"] == closed["spec"]["policyTypes"] == ["Ingress", "Egress"]
        listens = any(each.get("ports") for each in pod["spec"]["containers"])
        assert listens or own["spec"]["ingress"] == []
        # Nothing is open to any port.
        assert all(rule["ports"] for rule in [*own["spec"]["ingress"], *own["spec"]["egress"]])


def test_metrics_are_closed_unless_somebody_is_named():
    (server,) = [
        policy
        for policy in of_kind(rendered(*MATRIX["orchestrator-least"]), "NetworkPolicy", "server")
        if "ingress" in policy["spec"]
    ]
    http = [rule for rule in server["spec"]["ingress"] if {"protocol": "TCP", "port": "http"} in rule["ports"]]
    (tested,) = http
    assert tested["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"


@pytest.mark.parametrize(
    ("name", "seconds"),
    # drain + kill grace + 15: 60 + 10 + 15, 3600 + 2.5 + 15.
    [("organization-least", 85), ("organization-full", 3618)],
)
def test_a_worker_has_the_time_that_it_needs_to_end(name, seconds):
    worker = named(rendered(*MATRIX[name]), "StatefulSet", "worker")
    assert worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == seconds


def test_a_node_keeps_its_name_and_its_folder():
    worker = named(rendered(*MATRIX["organization-least"]), "StatefulSet", "worker")
    (each,) = worker["spec"]["template"]["spec"]["containers"]
    (node,) = [variable for variable in each["env"] if variable["name"] == "ORCHESTRATOR_NODE"]
    assert node["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    (work,) = [mount for mount in each["volumeMounts"] if mount["name"] == "work"]
    assert environment(each)["ORCHESTRATOR_WORK_DIR"] == work["mountPath"]
    assert [claim["metadata"]["name"] for claim in worker["spec"]["volumeClaimTemplates"]] == ["work"]
    assert worker["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Retain"


def mounts(name: str) -> dict[str, tuple[str, dict]]:
    """Return where each volume of a worker is mounted, and what it is."""
    spec = named(rendered(*MATRIX[name]), "StatefulSet", "worker")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    return {
        mount["name"]: (mount["mountPath"], volumes.get(mount["name"], {}))
        for mount in spec["containers"][0]["volumeMounts"]
    }


@pytest.mark.parametrize(
    ("name", "claim"),
    [("organization-full", "network-orchestrator-organization-worker-decisions"), ("organization-parts", "decisions")],
)
def test_all_nodes_write_their_decisions_to_one_volume(name, claim):
    objects = rendered(*MATRIX[name])
    file = environment(container(objects, "StatefulSet", "worker"))["ORCHESTRATOR_CONSENT_DECISIONS"]
    path, volume = mounts(name)["decisions"]
    assert file == f"{path}/decisions.yaml"
    assert volume["persistentVolumeClaim"] == {"claimName": claim}
    made = [found for found in of_kind(objects, "PersistentVolumeClaim") if found["metadata"]["name"] == claim]
    assert [found["spec"]["accessModes"] for found in made] == ([] if claim == "decisions" else [["ReadWriteMany"]])


def test_the_consent_policy_is_what_a_worker_reads():
    objects = rendered(*MATRIX["organization-full"])
    (made,) = of_kind(objects, "ConfigMap", "worker")
    policy = ConsentPolicy.parse(made["data"]["consent.yaml"].encode(), "consent.yaml")
    assert policy.organizations == {"aggregator", "hospital-2"}
    assert (policy.functions, policy.network) == ("approved", {"aggregator"})
    assert policy.stores == {"aggregator": "https://assets.example.org"}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("organization-full", ("network-orchestrator-organization-worker-consent", "consent.yaml")),
        ("organization-parts", ("policy", "policy.yaml")),
    ],
)
def test_a_worker_is_told_of_its_consent_policy(name, source):
    path, volume = mounts(name)["consent"]
    (projected,) = volume["projected"]["sources"]
    assert (projected["configMap"]["name"], projected["configMap"]["items"]) == (
        source[0],
        [{"key": source[1], "path": "consent.yaml"}],
    )
    told = environment(container(rendered(*MATRIX[name]), "StatefulSet", "worker"))
    assert told["ORCHESTRATOR_CONSENT_POLICY"] == f"{path}/consent.yaml"


def test_without_a_policy_only_what_is_the_organizations_own_runs():
    told = environment(container(rendered(*MATRIX["organization-least"]), "StatefulSet", "worker"))
    assert "ORCHESTRATOR_CONSENT_POLICY" not in told
    assert told["ORCHESTRATOR_EXECUTOR"] == "sandbox"


def test_a_pod_can_be_allowed_what_the_sandbox_needs():
    chart, values = MATRIX["organization-least"]
    allowed = {
        "hostUsers": False,
        "containerSecurityContext": {"procMount": "Unmasked", "seccompProfile": {"type": "Unconfined"}},
    }
    worker = named(rendered(chart, merged(values, {"worker": allowed})), "StatefulSet", "worker")
    kubernetes_validate.validate(worker, VERSION, strict=True)
    spec = worker["spec"]["template"]["spec"]
    context = spec["containers"][0]["securityContext"]
    assert spec["hostUsers"] is False
    assert (context["procMount"], context["seccompProfile"]) == ("Unmasked", {"type": "Unconfined"})
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_pods_wait_for_the_database_and_the_job_migrates_for_a_rolling_upgrade():
    objects = rendered(*MATRIX["orchestrator-least"])
    for component in ("server", "beat"):
        first = named(objects, "Deployment", component)["spec"]["template"]["spec"]["initContainers"][0]
        assert first["args"] == ["migrate", "--wait"]
    job = named(objects, "Job", "migrations")
    assert "annotations" not in job["metadata"], "a hook would wait for pods that wait for it"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["migrate", "--expand"]
    assert "ttlSecondsAfterFinished" not in job["spec"], "what applies the chart again and again would run it each time"


def test_another_image_database_or_half_is_another_job():
    chart, values = MATRIX["orchestrator-least"]

    def job(**changes):
        return named(rendered(chart, {**values, **changes}), "Job", "migrations")["metadata"]["name"]

    names = [
        job(),
        job(image={"tag": "2"}),
        job(database={"urlSecret": {"name": "other"}}),
        job(migrations={"half": "contract"}),
    ]
    assert len(set(names)) == len(names)
    assert job(beat={"replicas": 3}) == names[0]


def test_a_hook_needs_nothing_that_is_not_there_yet():
    objects = rendered(*MATRIX["orchestrator-hook"])
    job = named(objects, "Job", "migrations")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "default"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["migrate"]


def test_without_migrations_pods_wait_all_the_same():
    objects = rendered(*MATRIX["orchestrator-plain"])
    assert not of_kind(objects, "Job")
    assert named(objects, "Deployment", "server")["spec"]["template"]["spec"]["initContainers"][0]["args"] == [
        "migrate",
        "--wait",
    ]


def test_certificates_bear_the_organization():
    objects = rendered(*MATRIX["organization-parts"])
    (client,), (store,) = (of_kind(objects, "Certificate", component) for component in ("worker", "store"))
    assert client["spec"]["subject"] == store["spec"]["subject"] == {"organizations": ["hospital-1"]}
    assert "client auth" in client["spec"]["usages"]
    assert "server auth" in store["spec"]["usages"]
    assert store["spec"]["dnsNames"] == ["assets.hospital-1.example.org"]


def test_authorities_lie_in_a_folder_for_each_organization():
    server = named(rendered(*MATRIX["orchestrator-least"]), "Deployment", "server")
    (clients,) = [v for v in server["spec"]["template"]["spec"]["volumes"] if v["name"] == "clients"]
    items = [next(iter(source.values())) for source in clients["projected"]["sources"]]
    assert [(item["name"], item["items"]) for item in items] == [
        (
            "hospital-1-ca",
            [{"key": "ca.crt", "path": "hospital-1/ca.crt"}, {"key": "ca.crl", "path": "hospital-1/ca.crl"}],
        ),
        ("h2", [{"key": "ca.pem", "path": "hospital-2/ca.crt"}]),
    ]


def test_a_tls_route_has_the_newest_version_that_the_cluster_knows():
    chart, values = MATRIX["orchestrator-full"]
    newer = template(chart, values, "--api-versions=gateway.networking.k8s.io/v1/TLSRoute")
    routes = [found for found in yaml.safe_load_all(newer) if found and found["kind"] == "TLSRoute"]
    assert [route["apiVersion"] for route in routes] == ["gateway.networking.k8s.io/v1"] * 3


def test_a_digest_comes_before_a_tag():
    image = container(rendered(*MATRIX["orchestrator-full"]), "Deployment", "server")["image"]
    assert image == "registry.example.org/o@sha256:" + "a" * 64


def test_no_service_that_a_load_balancer_publishes_has_the_port_of_metrics():
    published = [
        found
        for found in of_kind(rendered(*MATRIX["orchestrator-parts"]), "Service", "server")
        if found["spec"].get("type") == "LoadBalancer"
    ]
    assert [[port["targetPort"] for port in service["spec"]["ports"]] for service in published] == [
        ["api"],
        ["problems"],
        ["grpc"],
    ]


@pytest.mark.parametrize(
    "name",
    ["orchestrator-least", "orchestrator-parts", "organization-least", "orchestrator-plain", "orchestrator-hook"],
)
def test_the_notes_name_the_first_commands(name, tmp_path):
    chart, values = MATRIX[name]
    # Helm renders them for a cluster only.
    copy = shutil.copytree(CHARTS / chart, tmp_path / chart)
    shutil.move(copy / "templates/NOTES.txt", copy / "files/NOTES.txt")
    (copy / "templates/notes.yaml").write_text('notes: {{ tpl (.Files.Get "files/NOTES.txt") . | toJson }}')
    notes = yaml.safe_load(template(str(copy), values, "--show-only=templates/notes.yaml"))["notes"]
    assert "rollout status" in notes
    assert f"helm test {RELEASE} --namespace orchestrator" in notes
    assert notes.count("WARNING") == (2 if name.endswith("plain") else 0)
    assert ("network-orchestrator-server-problems" in notes) == (name == "orchestrator-parts")
    assert ("--set migrations.half=contract" in notes) == (name in ("orchestrator-least", "orchestrator-parts"))


def test_a_worker_that_runs_jobs_has_the_rights_for_jobs_alone():
    objects = rendered(*MATRIX["organization-jobs"])
    (role,) = of_kind(objects, "Role")
    assert {resource for rule in role["rules"] for resource in rule["resources"]} == {"jobs", "pods", "pods/log"}
    pod = named(objects, "StatefulSet", "worker")["spec"]["template"]["spec"]
    (binding,) = of_kind(objects, "RoleBinding")
    assert [subject["name"] for subject in binding["subjects"]] == [pod["serviceAccountName"]]
    (closed,) = [
        p for p in of_kind(objects, "NetworkPolicy") if p["spec"]["podSelector"].get("matchLabels") == FUNCTIONS
    ]
    assert closed["spec"]["ingress"] == closed["spec"]["egress"] == []
    told = environment(container(objects, "StatefulSet", "worker"))
    assert told["ORCHESTRATOR_KUBERNETES_VOLUMES"].startswith(
        "work-$(ORCHESTRATOR_NODE):/var/lib/orchestrator/working,"
    )
    assert told["ORCHESTRATOR_KUBERNETES_NODE_SELECTOR"] == "pool=training,kubernetes.io/hostname=$(MACHINE_NAME)"
    accounts = {found["metadata"]["name"] for found in of_kind(objects, "ServiceAccount")}
    assert told["ORCHESTRATOR_KUBERNETES_SERVICE_ACCOUNT"] in accounts - {pod["serviceAccountName"]}
    for name in ("least", "full"):
        assert not of_kind(rendered(*MATRIX[f"organization-{name}"]), "Role")
