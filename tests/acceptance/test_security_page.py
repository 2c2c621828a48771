"""The commands of the page on security, in its order, and what they have done in the end."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.access import tokens
from orchestrator.core.errors import PermissionDeniedError
from orchestrator.files.trust import read_trust
from tests.kit.database import opened
from tests.kit.network import Network

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
# The organizations of the page, and those of the federation that runs here.
HERE = {"hospital-1": "org-a", "hospital-2": "org-b", "hospital-3": "org-c"}


def commands() -> str:
    """Return all that the page tells one to run."""
    text = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))
    for there, here in HERE.items():
        text = text.replace(there, here)
    return text


def test_the_page_on_security_does_what_it_says(network: Network, tmp_path: Path):
    (tmp_path / ".orchestrator").symlink_to(network.federation.folder)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.defpath))
    database = network.federation.places.database_url
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands()],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path), "ORCHESTRATOR_DATABASE_URL": database},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    trust = read_trust(tmp_path / "network" / "clients", tmp_path / "deny.yaml")
    with opened(database) as store, store.begin() as connection:
        (token,) = tokens.get_all(connection)
    assert (token.organization, token.revoked_at is not None) == ("org-a", True)

    def speaks(certificate: Path, organization: str) -> bool:
        try:
            trust.verify((certificate.read_bytes(),), organization, datetime.now(UTC))
        except PermissionDeniedError:
            return False
        return True

    made = tmp_path / "network" / "organizations"
    assert speaks(made / "org-b" / "client.crt", "org-b")
    # Its authority's key is denied.
    assert not speaks(made / "org-a" / "client.crt", "org-a")
    # It is on its authority's revocation list.
    assert not speaks(tmp_path / "home" / "client.crt", "org-c")


def test_a_certificate_of_the_page_is_good_before_it_is_revoked(tmp_path: Path):
    before = (
        commands().partition("touch home/index.txt")[0].replace("orchestrator", f"{sys.executable} -m orchestrator")
    )
    done = subprocess.run(
        ["bash", "-euc", before], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    trust = read_trust(tmp_path / "network" / "clients")
    trust.verify(((tmp_path / "home" / "client.crt").read_bytes(),), "org-c", datetime.now(UTC))
    with pytest.raises(PermissionDeniedError):
        trust.verify(((tmp_path / "home" / "client.crt").read_bytes(),), "org-b", datetime.now(UTC))
