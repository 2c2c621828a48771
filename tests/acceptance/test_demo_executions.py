"""The demo of executions: real workflows run on workers of data partners, and nothing of it stays."""

import re
import subprocess
import sys


def test_the_executions_of_the_demo_end_as_they_should_and_leave_nothing(tmp_path):
    data = tmp_path / "data"
    command = [sys.executable, "-m", "orchestrator", "demo", "--product", "executions", "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=220, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ended = re.findall(r"execution (\d) is (succeeded|failed)", done.stdout)
    assert sorted(ended) == [(str(id_), "failed" if id_ == 2 else "succeeded") for id_ in range(1, 7)]
    # Both partners' measures of the merged model went over Kafka.
    assert re.search(r"accuracy/data-partner-1 0\.9\d+, accuracy/data-partner-2 0\.9\d+", done.stdout)
    assert re.search(r"2\d of 24 right", done.stdout)
    # Why one has failed: its log, from the store of the partner that ran it.
    log = done.stdout.partition("orchestrator execution logs 2")[2]
    assert "ValueError: the user variable learning_rate of main is 'fast'" in log
    assert "Task failed: the command exited with code 1" in log
    assert [path.name for path in data.iterdir()] == ["federation.lock"]
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout
    assert left == ""
