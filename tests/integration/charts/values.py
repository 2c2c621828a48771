"""The matrix of values: what operators may ask of the two charts."""

from typing import Any

from tests.integration.charts.rendering import merged
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

ORCHESTRATOR, ORGANIZATION = "orchestrator", "orchestrator-organization"

AUTHORITIES = {
    "hospital-1": {"configMapName": "hospital-1-ca", "revocationsKey": "ca.crl"},
    "hospital-2": {"secretName": "h2", "key": "ca.pem"},
}
ISSUER = {"name": "issuer", "kind": "ClusterIssuer"}
ROUTE = {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["orchestrator.example.org"]}

_O_LEAST = {
    "channels": {"oncology": ["hospital-1", "hospital-2"]},
    "database": {"urlSecret": {"name": "database"}},
    "broker": {"server": {"urlSecret": {"name": "broker"}}},
    "tls": {"secretName": "server-tls", "clientAuthorities": AUTHORITIES},
}
_G_LEAST = {
    "organization": "hospital-1",
    "channels": ["oncology", "rare"],
    "orchestrator": {"address": "orchestrator.example.org:443"},
    "broker": {"urlSecret": {"name": "broker"}},
    "store": {"url": "https://assets.hospital-1.example.org"},
    "tls": {
        "clientSecretName": "client-tls",
        "storeSecretName": "store-tls",
        "serverAuthority": {"configMapName": "orchestrator-ca"},
        "peerAuthority": {"configMapName": "peers-ca"},
        "clientAuthorities": AUTHORITIES,
    },
}
_EXTRA = {
    "extraEnv": [{"name": "ORCHESTRATOR_LATER", "value": "1"}],
    "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
}
_SIDECAR = {
    "name": "sidecar",
    "image": "sidecar@sha256:" + "0" * 64,
    "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
_PROBE = {"exec": {"command": ["true"]}}
_SIDECARS = {
    **_EXTRA,
    "extraContainers": [{**_SIDECAR, "readinessProbe": _PROBE, "livenessProbe": _PROBE}],
    "extraInitContainers": [{**_SIDECAR, "name": "first"}],
}
_PLACED = {
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"operator": "Exists"}],
    "priorityClassName": "high",
    "podLabels": {"team": "a"},
    "podAnnotations": {"note": "b"},
}
_COMMON = {
    "image": {"repository": "registry.example.org/o", "digest": "sha256:" + "a" * 64, "pullSecrets": ["registry"]},
    "commonLabels": {"owner": "ops"},
    "commonAnnotations": {"owner": "ops"},
    "extraObjects": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "{{ .Release.Name }}-more",
                "namespace": "{{ .Release.Namespace }}",
                "labels": {"a": "b"},
            },
        }
    ],
}

# What the pods of a workflow are told, in the words of their operators' own deployment files.
CONSENT = {
    "organizations": ["aggregator", "hospital-2"],
    "functions": "approved",
    "stores": {"aggregator": "https://assets.example.org"},
    "network": ["aggregator"],
}

_O_FULL = merged(
    _O_LEAST,
    _COMMON,
    {
        "settings": DATABASE_SETTINGS,
        "tls": {"denyList": {"secretName": "denied", "key": "list.yaml"}},
        "server": {
            **_SIDECARS,
            **_PLACED,
            "settings": SERVER_SETTINGS,
            "processes": 2,
            "autoscaling": {"enabled": True},
            "tlsRoute": ROUTE,
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "host": "o.example.org",
                "paths": ["/ready"],
                "tlsSecretName": "o-tls",
            },
        },
        "beat": {**_SIDECARS, **_PLACED, "settings": BEAT_SETTINGS},
        "migrations": {**_EXTRA, **_PLACED},
        "api": {
            "enabled": True,
            "identity": ["certificate", "token", "open"],
            "organization": "central",
            "channel": "oncology",
            "tlsRoute": {**ROUTE, "hostnames": ["api.example.org"]},
            "ingress": {"enabled": True, "host": "api.example.org", "paths": ["/api"]},
        },
        "executions": {"enabled": True, "settings": EXECUTION_SETTINGS},
        "runtime": {
            **_SIDECARS,
            **_PLACED,
            "enabled": True,
            "replicas": 2,
            "channels": ["oncology", "rare"],
            "certificateSecret": "central-client",
            "authority": {"configMapName": "orchestrator-ca"},
            "broker": {"urlSecret": {"name": "runtime-broker"}},
            "argo": {
                "url": "https://argo.example.org:2746",
                "namespace": "workflows",
                "tokenSecret": {"name": "argo"},
                "authority": {"secretName": "argo-ca"},
            },
            "kafka": {"bootstrapServers": "kafka.example.org:9093", "clientConfigSecret": {"name": "kafka"}},
            "settings": RUNTIME_SETTINGS,
        },
        "problems": {
            "enabled": True,
            "deployment": "domain-1",
            "connections": 4096,
            "hosts": ["problems.example.org", ".svc"],
            "origins": ["https://console.example.org"],
            "settings": PROBLEM_SETTINGS,
            "httpSettings": PROBLEM_HTTP_SETTINGS,
            "secretKeySecret": {"name": "problems", "key": "fernet"},
            "hfTokenSecret": {"name": "hub"},
            "modelHubTokenSecret": {"name": "hub", "key": "server"},
            "tlsRoute": {**ROUTE, "hostnames": ["problems.example.org"]},
            "ingress": {"enabled": True, "host": "tokens.example.org", "paths": ["/"]},
        },
        "flower": {
            **_SIDECARS,
            **_PLACED,
            "enabled": True,
            "settings": {"organizations": "hospital-1,hospital-2", "queues": "executions.central"},
            "basicAuthSecret": {"name": "flower"},
            "ingress": {"enabled": True, "host": "f.example.org", "paths": ["/"]},
        },
        "broker": {
            "urlsSecret": {"name": "brokers"},
            "maintenance": {"urlSecret": {"name": "maintenance"}},
            "flower": {"urlSecret": {"name": "flower-broker"}},
        },
        "networkPolicy": {
            "httpFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
            "flowerFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "grpcFrom": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
            "apiFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
            "database": {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]},
            "problemsFrom": [{"namespaceSelector": {"matchLabels": {"name": "front-ends"}}}],
            "kafka": {"ports": [9093]},
            "modelHub": {"ports": [443, 11434]},
            "extraEgress": [{"ports": [{"protocol": "TCP", "port": 4317}]}],
        },
        "metrics": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True},
        },
        "tests": {
            "organization": "hospital-1",
            "channel": "oncology",
            "certificateSecret": "hospital-1-client",
            "authority": {"configMapName": "orchestrator-ca"},
        },
    },
)
_O_PARTS = merged(
    _O_LEAST,
    {
        "database": {
            "urlSecret": {"name": ""},
            "host": "postgres.example.org",
            "passwordSecret": {"name": "database-password"},
            "authority": {"configMapName": "database-ca"},
        },
        "broker": {
            "server": {
                "urlSecret": {"name": ""},
                "scheme": "amqps",
                "host": "rabbitmq.example.org",
                "port": 5671,
                "path": "%2F",
                "user": "relay",
                "passwordSecret": {"name": "broker-password"},
            }
        },
        "tls": {
            "secretName": "",
            "certManager": {"enabled": True, "issuerRef": ISSUER, "dnsNames": ["orchestrator.example.org"]},
        },
        "server": {"service": {"type": "LoadBalancer", "port": 443, "externalTrafficPolicy": "Local"}},
        "api": {"enabled": True, "identity": ["token"], "service": {"type": "LoadBalancer", "port": 443}},
        "executions": {
            "enabled": True,
            "organization": "central",
            "settings": {"executionsRuntime": "on"},
            "files": {"url": "s3://central/executions"},
        },
        "problems": {
            "enabled": True,
            "identity": ["token"],
            "organization": "laboratory",
            "channel": "oncology",
            "service": {"type": "LoadBalancer", "port": 443},
        },
        "networkPolicy": {"files": {"ports": [443]}},
    },
)
_G_FULL = merged(
    _G_LEAST,
    _COMMON,
    {
        "settings": ORGANIZATION_SETTINGS,
        "tls": {"denyList": {"configMapName": "denied"}},
        "worker": {
            **_SIDECARS,
            **_PLACED,
            "replicas": 3,
            "settings": WORKER_SETTINGS,
            "consent": {"policy": CONSENT},
            "hostUsers": False,
            "autoscaling": {"enabled": True, "url": "https://api.example.org"},
        },
        "store": {**_SIDECARS, **_PLACED, "replicas": 2, "tlsRoute": ROUTE, "settings": STORE_SETTINGS},
        "networkPolicy": {"storeFrom": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "assets": {"ports": [9000]}},
    },
)
_G_PARTS = merged(
    _G_LEAST,
    {
        "broker": {
            "urlSecret": {"name": ""},
            "host": "valkey.example.org",
            "user": "org.hospital-1",
            "passwordSecret": {"name": "broker-password"},
        },
        "assets": {"url": "s3://hospital-1/assets"},
        "worker": {
            "executor": "subprocess",
            "autoscaling": {"enabled": True, "url": "https://api.example.org/", "maxReplicas": 9},
            "consent": {
                "policyConfigMap": {"name": "policy", "key": "policy.yaml"},
                "decisionsVolume": {"existingClaim": "decisions"},
            },
        },
        "tls": {
            "clientSecretName": "",
            "storeSecretName": "",
            "certManager": {
                "enabled": True,
                "issuerRef": ISSUER,
                "storeDnsNames": ["assets.hospital-1.example.org"],
            },
        },
        "store": {"service": {"type": "LoadBalancer"}},
    },
)
_PLAIN = {"tls": {"enabled": False}}

MATRIX: dict[str, tuple[str, dict[str, Any]]] = {
    "orchestrator-least": (ORCHESTRATOR, _O_LEAST),
    "orchestrator-full": (ORCHESTRATOR, _O_FULL),
    "orchestrator-parts": (ORCHESTRATOR, _O_PARTS),
    "orchestrator-plain": (
        ORCHESTRATOR,
        merged(_O_LEAST, _PLAIN, {"migrations": {"mode": "none"}, "networkPolicy": {"enabled": False}}),
    ),
    "orchestrator-hook": (
        ORCHESTRATOR,
        merged(
            _O_LEAST,
            {
                "migrations": {"mode": "hook", "half": "all"},
                "channelsConfigMap": {"name": "own"},
                "nameOverride": "central",
                "tests": {"enabled": False},
                "server": {"disruptionBudget": {"enabled": False}},
                # A front end in the server's own pod.
                "problems": {"enabled": True, "loopback": True, "organization": "laboratory", "channel": "oncology"},
            },
        ),
    ),
    "organization-least": (ORGANIZATION, _G_LEAST),
    "organization-full": (ORGANIZATION, _G_FULL),
    "organization-parts": (ORGANIZATION, _G_PARTS),
    "organization-jobs": (
        ORGANIZATION,
        merged(
            _G_LEAST,
            {
                "worker": {
                    "executor": "kubernetes",
                    "jobs": {
                        "image": "registry.example.org/functions:1",
                        "pullSecrets": ["registry"],
                        "nodeSelector": {"pool": "training"},
                        "devices": {"nvidia.com/gpu": 1},
                        "deviceNodeSelector": {"accelerator": "nvidia"},
                    },
                }
            },
        ),
    ),
    "organization-plain": (
        ORGANIZATION,
        merged(
            _G_LEAST,
            _PLAIN,
            {"tests": {"enabled": False}, "networkPolicy": {"enabled": False}, "fullnameOverride": "clinic"},
        ),
    ),
}
