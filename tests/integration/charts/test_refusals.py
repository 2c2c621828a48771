"""Values that are wrong are refused before anything is rendered, and the message says which."""

import pytest

from tests.integration.charts.rendering import RefusedError, merged, template
from tests.integration.charts.values import MATRIX


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("orchestrator-least", {"server": {"replica": 3}}, "replica"),
        ("orchestrator-least", {"server": {"settings": {"replayEventBatchSize": 1}}}, "replayEventBatchSize"),
        ("orchestrator-least", {"settings": {"lease": "1 minute"}}, "lease"),
        ("orchestrator-least", {"settings": {"retryLostAttempts": 0}}, "retryLostAttempts"),
        ("orchestrator-least", {"beat": {"settings": {"sweepBatch": "many"}}}, "sweepBatch"),
        ("orchestrator-least", {"migrations": {"mode": "sidecar"}}, "mode"),
        ("orchestrator-least", {"migrations": {"half": "half"}}, "half"),
        ("orchestrator-least", {"database": {"port": 0}}, "port"),
        ("orchestrator-least", {"database": {"url": "postgresql://user:password@host/db"}}, "url"),
        ("orchestrator-least", {"broker": {"server": {"password": "password"}}}, "password"),
        ("orchestrator-least", {"database": {"urlSecret": {"name": ""}}}, "database.urlSecret.name or database.host"),
        ("orchestrator-least", {"tls": {"secretName": ""}}, "tls.secretName"),
        ("orchestrator-least", {"image": {"digest": "sha256:1"}}, "digest"),
        ("orchestrator-least", {"channels": {"oncology": []}}, "oncology"),
        ("orchestrator-least", {"metrics": {"prometheusRule": {"sweepAges": {"none": 1}}}}, "none"),
        ("orchestrator-least", {"flower": {"enabled": True}}, "flower.basicAuthSecret"),
        ("orchestrator-least", {"server": {"tlsRoute": {"enabled": True}}}, "hostnames"),
        (
            "orchestrator-least",
            {"server": {"ingress": {"enabled": True, "host": "a.example.org", "paths": ["/metrics"]}}},
            "paths",
        ),
        (
            "orchestrator-least",
            {"server": {"ingress": {"enabled": True, "host": "a.example.org", "paths": ["/"]}}},
            "paths",
        ),
        ("orchestrator-least", {"tests": {"certificateSecret": "client"}}, "organization"),
        ("orchestrator-full", {"tests": {"authority": {"configMapName": ""}}}, "tests.authority is needed"),
        ("orchestrator-full", {"metrics": {"enabled": False}}, "metrics.enabled"),
        ("orchestrator-least", {"server": {"settings": {"callsInAll": 0}}}, "callsInAll"),
        ("orchestrator-least", {"executions": {"enabled": True}}, "executions.enabled needs api.enabled"),
        ("orchestrator-least", {"runtime": {"enabled": True}}, "runtime.enabled needs executions.enabled"),
        ("orchestrator-least", {"api": {"identity": []}}, "identity"),
        ("orchestrator-least", {"api": {"identity": ["password"]}}, "identity"),
        ("orchestrator-least", {"api": {"enabled": True, "identity": ["open"]}}, "api.organization is needed"),
        (
            "orchestrator-least",
            {"api": {"enabled": True}, "executions": {"enabled": True}},
            "executions.organization is needed",
        ),
        ("orchestrator-plain", {"api": {"enabled": True}}, "api.identity has certificate"),
        ("orchestrator-full", {"runtime": {"argo": {"url": ""}}}, "runtime.argo.url is needed"),
        ("orchestrator-full", {"runtime": {"argo": {"token": "secret"}}}, "token"),
        ("orchestrator-full", {"runtime": {"channels": []}}, "runtime.channels are needed"),
        ("orchestrator-full", {"runtime": {"certificateSecret": ""}}, "runtime.certificateSecret is needed"),
        ("orchestrator-full", {"executions": {"settings": {"mediaRoot": "/x"}}}, "mediaRoot"),
        ("orchestrator-least", {"problems": {"enabled": True}}, "problems.organization is needed"),
        (
            "orchestrator-least",
            {"problems": {"enabled": True, "organization": "laboratory"}},
            "problems.channel is needed",
        ),
        ("orchestrator-least", {"problems": {"identity": ["open"]}}, "identity"),
        ("orchestrator-least", {"problems": {"settings": {"problemsAttempts": 0}}}, "problemsAttempts"),
        ("orchestrator-least", {"problems": {"settings": {"problemsSecretKey": "k"}}}, "problemsSecretKey"),
        ("orchestrator-least", {"problems": {"httpSettings": {"problemsModelHubToken": "t"}}}, "problemsModelHubToken"),
        ("orchestrator-hook", {"problems": {"ingress": {"enabled": True, "host": "a", "paths": ["/"]}}}, "loopback"),
        (
            "orchestrator-plain",
            {"problems": {"enabled": True, "organization": "laboratory", "channel": "oncology"}},
            "problems.identity has certificate",
        ),
        ("organization-least", {"worker": {"autoscaling": {"enabled": True}}}, "worker.autoscaling.url is needed"),
        ("organization-least", {"worker": {"autoscaling": {"url": "http://api.example.org"}}}, "url"),
        ("organization-plain", {"worker": {"autoscaling": {"enabled": True, "url": "https://a"}}}, "needs tls.enabled"),
        ("organization-least", {"worker": {"executor": "none"}}, "executor"),
        ("organization-least", {"worker": {"consent": {"policy": {"functions": "all"}}}}, "functions"),
        ("organization-least", {"worker": {"consent": {"policy": {"organisations": ["a"]}}}}, "organisations"),
        ("organization-least", {"worker": {"consent": {"policy": {"stores": {"a": "http://a"}}}}}, "stores"),
        ("organization-least", {"store": {"settings": {"storeConnections": "many"}}}, "storeConnections"),
        ("organization-least", {"organization": "hospital 1"}, "organization"),
        ("organization-least", {"tls": {"serverAuthority": {"configMapName": ""}}}, "tls.serverAuthority"),
        ("organization-least", {"organization": ""}, "organization is needed"),
        ("organization-least", {"store": {"url": "http://assets.example.org"}}, "url"),
        ("organization-least", {"orchestrator": {"address": "orchestrator.example.org"}}, "address"),
        ("organization-least", {"worker": {"settings": {"drainSeconds": None}}}, "drainSeconds"),
        ("organization-least", {"worker": {"settings": {"concurrency": 0}}}, "concurrency"),
        ("organization-least", {"tls": {"clientAuthorities": {"a/b": {"secretName": "s"}}}}, "a/b"),
        ("organization-least", {"tls": {"clientSecretName": ""}}, "tls.clientSecretName"),
    ],
)
def test_wrong_values_are_refused(name, wrong, message):
    chart, values = MATRIX[name]
    with pytest.raises(RefusedError) as refusal:
        template(chart, merged(values, wrong))
    assert message in str(refusal.value)
