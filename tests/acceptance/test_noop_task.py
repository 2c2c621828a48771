"""The task of `helm test`, in a federation that runs: through broker and worker."""

import subprocess
import sys
from pathlib import Path

from tests.kit.processes import clean_environment

SCRIPT = Path(__file__).parents[2] / "charts/orchestrator-organization/files/noop_task.py"


def test_the_task_of_helm_test_is_done(network):
    places = network.federation.places
    certificates = network.federation.certificates("org-b")
    settings = {
        "ORGANIZATION": "org-b",
        "CHANNELS": network.federation.channel,
        "ADDRESS": places.address,
        "CLIENT_CA_CERT": certificates.authority,
        "CLIENT_CERT": certificates.certificate,
        "CLIENT_KEY": certificates.key,
        "STORE_ROOT": places.store_root("org-b"),
        "STORE_URL": places.store_url("org-b"),
    }
    told = clean_environment({f"ORCHESTRATOR_{name}": str(value) for name, value in settings.items()})
    done = subprocess.run([sys.executable, SCRIPT], env=told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "it is Done" in done.stdout
