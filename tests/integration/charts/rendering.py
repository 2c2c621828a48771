"""Renders the charts with the real helm, each set of values once, and finds one's way in the objects."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CHARTS = Path(__file__).parents[3] / "charts"
HELM = Path(sys.executable).with_name("helm")
RELEASE = "network"
KUBERNETES = "1.34.0"

Object = dict[str, Any]


class RefusedError(Exception):
    """Helm did not render; the message is its own."""


def helm(*arguments: str, values: str = "") -> str:
    """Return what helm writes to its standard output.

    Raises:
        RefusedError: it failed.
    """
    done = subprocess.run([HELM, *arguments], capture_output=True, text=True, input=values, cwd=CHARTS, timeout=120)
    if done.returncode:
        raise RefusedError(done.stderr)
    return done.stdout


def template(chart: str, values: Mapping[str, Any], *flags: str) -> str:
    return helm(
        "template",
        RELEASE,
        chart,
        "--namespace=orchestrator",
        f"--kube-version={KUBERNETES}",
        "--values=-",
        *flags,
        values=yaml.safe_dump(dict(values)),
    )


@cache
def _rendered(chart: str, values: str) -> list[Object]:
    return [found for found in yaml.load_all(template(chart, yaml.safe_load(values)), Loader=yaml.CSafeLoader) if found]


def rendered(chart: str, values: Mapping[str, Any]) -> list[Object]:
    """Return the objects of a chart; those of the same values are rendered once, so change nothing in them."""
    return _rendered(chart, yaml.safe_dump(dict(values)))


def of_kind(objects: list[Object], kind: str, component: str | None = None) -> list[Object]:
    return [
        found
        for found in objects
        if found["kind"] == kind and component in (None, found["metadata"]["labels"].get("app.kubernetes.io/component"))
    ]


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Yield the name of whatever makes pods, and their template: metadata and spec."""
    for found in objects:
        name = f"{found['kind']}/{found['metadata']['name']}"
        if found["kind"] == "Pod":
            yield name, found
        elif found["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield name, found["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def environment(container: Object) -> dict[str, str | None]:
    """Return the variables of a container; None for those whose value is elsewhere."""
    names = [variable["name"] for variable in container.get("env", ())]
    assert len(names) == len(set(names)), f"a variable is set twice: {sorted(names)}"
    return {variable["name"]: variable.get("value") for variable in container.get("env", ())}


def selects(selector: Mapping[str, str], pod: Object) -> bool:
    return selector.items() <= pod["metadata"]["labels"].items()


def named(objects: list[Object], kind: str, component: str) -> Object:
    (found,) = of_kind(objects, kind, component)
    return found


def container(objects: list[Object], kind: str, component: str) -> Object:
    return next(iter(named(objects, kind, component)["spec"]["template"]["spec"]["containers"]))


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with others put over them, key by key."""
    total: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(total.get(key), Mapping)
            total[key] = merged(total[key], value) if both else value
    return total
