"""What the start of a command does not wait for."""

import subprocess
import sys

IMPORTED = """
import sys
from orchestrator.cli.main import main
main(["migrate", "--help"], standalone_mode=False)
print(*sys.modules)
"""


def test_a_command_that_draws_nothing_imports_nothing_to_draw_with():
    told = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True).stdout
    imported = told.splitlines()[-1].split()
    assert "structlog" in imported
    assert "rich" not in imported
