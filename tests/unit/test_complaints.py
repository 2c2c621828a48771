"""What is told of a process that ended: what it said itself."""

import pytest

from orchestrator.embedded import complaints


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], ""),
        (["ready", "not JSON {"], ""),
        (["Error: consent.yaml, line 3: text is expected here"], "consent.yaml, line 3: text is expected here"),
        (
            [
                '{"event": "store.not_started", "level": "error", "error": "no certificate"}',
                '{"event": "bye", "level": "info"}',
            ],
            "store.not_started: no certificate",
        ),
        (['{"event": "agent.died", "level": "error"}', "[1]"], "agent.died"),
        (
            ['{"event": "process.failed", "level": "critical", "exception": "Traceback …\\nOSError: full"}'],
            "process.failed: OSError: full",
        ),
    ],
)
def test_the_last_complaint_is_told(lines: list[str], complaint: str):
    assert complaints.last(lines) == complaint
