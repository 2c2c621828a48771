"""What checkov finds in the rendered charts, but for what is meant; `.ci/checkov` brings it."""

import json
import os
import subprocess

import pytest

from tests.integration.charts.rendering import template
from tests.integration.charts.values import MATRIX

CHECKOV = os.environ.get("CHECKOV")
MEANT = {
    "CKV_K8S_11": "a CPU limit throttles what could run; a request is enough",
    "CKV_K8S_15": "a tag of ours never moves, so nothing is to be pulled again",
    "CKV_K8S_35": "the settings read URLs from the environment; they come from secrets",
}
MEANT_OF = {
    ("CKV_K8S_43", "-least"): "the operator may name a tag",
    ("CKV_K8S_43", "-parts"): "the operator may name a tag",
    ("CKV_K8S_8", "beat"): "it answers no question; the age of its sweeps is watched",
    ("CKV_K8S_9", "beat"): "nobody calls it",
    ("CKV_K8S_9", "worker"): "nobody calls it",
    ("CKV_K8S_8", "Pod."): "a test that ends",
    ("CKV_K8S_9", "Pod."): "a test that ends",
}


def meant(check: str, where: str) -> bool:
    return check in MEANT or any(check == allowed and part in where for allowed, part in MEANT_OF)


@pytest.mark.skipif(not CHECKOV, reason="`.ci/checkov` brings it, in an environment of its own")
def test_checkov_finds_nothing_that_is_not_meant(tmp_path):
    for name in ("orchestrator-full", "orchestrator-parts", "organization-full", "organization-least"):
        (tmp_path / f"{name}.yaml").write_text(template(*MATRIX[name]))
    command = [str(CHECKOV), "--directory=.", "--framework=kubernetes", "--output=json", "--quiet", "--skip-download"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 100, done.stderr
    found = {
        (each["check_id"], each["check_name"], f"{each['file_path']} {each['resource']}")
        for each in report["results"]["failed_checks"]
    }
    assert {each for each in found if not meant(each[0], each[2])} == set()
