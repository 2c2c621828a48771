"""The demo of problems, by `make demo-problems`: three ways, a killed module, a slow one, and nothing of it stays."""

import re
import subprocess
import sys


def test_the_demo_compares_three_ways_and_leaves_nothing(tmp_path):
    # The data folder is not named: it is one of this folder, and the modules run elsewhere.
    command = [sys.executable, "-m", "orchestrator", "demo", "--product", "problems"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=220, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    ways = re.findall(r"^ (\d) +SUCCEEDED +(\w+) ", done.stdout, re.MULTILINE)
    assert [number for number, _ in ways] == ["1", "2", "3"]
    assert len({model for _, model in ways}) == 3
    assert re.search(r"ML_MODEL/model-\d +INACTIVE +killed by this demo", done.stdout)
    assert "HW_RESOURCES is slow: it runs for more than 1 s" in done.stdout
    assert [path.name for path in (tmp_path / ".orchestrator").iterdir()] == ["federation.lock"]
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout
    assert left == ""
