"""What the docs say of the code is what the code says."""

import re
import subprocess
import sys
from pathlib import Path

from orchestrator import client

DOCS = Path(__file__).parents[2] / "docs"


def test_the_parts_made_from_the_code_are_up_to_date():
    done = subprocess.run([sys.executable, str(DOCS / "generate.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_link_between_pages_leads_somewhere():
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_page_of_the_sdk_has_every_name_and_every_method():
    page = (DOCS / "sdk.md").read_text()
    for name in client.__all__:
        assert f"\n### {name}\n" in page
    for method in ("add_function", "wait", "register_organization", "retry", "explain"):
        assert f"\n#### Client.{method}\n" in page
        assert f"await {method}(" in page
