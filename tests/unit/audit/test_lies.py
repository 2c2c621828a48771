"""Each lie is found by the rule that it breaks, and by that alone."""

import pytest

from orchestrator.audit.violations import Rule
from tests.unit.audit import lies_of_consequences, lies_of_states
from tests.unit.audit.trace import Trace, violations

DATABASE_RULES = {Rule.POSITIONS, Rule.ROW_AS_TOLD, Rule.ATTEMPT_ROWS, Rule.POKES, Rule.PENDING_PARENTS}
LIES = lies_of_states.LIES | lies_of_consequences.LIES


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_found_by_its_rule_alone(name: str):
    rule, tell = LIES[name]
    trace = Trace()
    tell(trace)
    found = violations(trace)
    assert [violation.rule for violation in found] == [rule]
    assert found[0].event_id in {event.id for event in trace.events}
    assert found[0].words


def test_each_rule_about_events_has_its_lie():
    assert {rule for rule, _ in LIES.values()} == set(Rule) - DATABASE_RULES
