"""The values that the page on Kubernetes shows are values of the charts."""

import re

import pytest
import yaml

from tests.integration.charts.rendering import CHARTS, merged, of_kind, rendered
from tests.integration.charts.values import ORCHESTRATOR, ORGANIZATION

PAGE = (CHARTS.parent / "docs/operate/deploy-kubernetes.md").read_text()
SHOWN = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)]
FIRST = next(values for values in SHOWN if "database" in values)
MEMBER = next(values for values in SHOWN if "organization" in values)


@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_values_of_the_page_are_taken(number):
    values = SHOWN[number]
    chart, base = (ORGANIZATION, MEMBER) if {"organization", "worker"} & values.keys() else (ORCHESTRATOR, FIRST)
    assert of_kind(rendered(chart, merged(base, values)), "ServiceAccount")


def test_the_page_shows_an_api_executions_and_a_runtime():
    (values,) = [values for values in SHOWN if "runtime" in values]
    names = {found["metadata"]["name"] for found in rendered(ORCHESTRATOR, merged(FIRST, values))}
    assert {"network-orchestrator-runtime", "network-orchestrator-server-api"} <= names
