"""The HTTP status of each error."""

import pytest

from orchestrator.calls.refusals import OUTCOMES, Refusal
from orchestrator.gateway.api import STATUS


@pytest.mark.parametrize("kind", OUTCOMES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind: type[Exception]):
    status = Refusal(kind, "", "").of(STATUS)
    assert 400 <= status <= 599
    assert (status >= 500) == (OUTCOMES[kind] in ("INTERNAL", "UNIMPLEMENTED", "UNAVAILABLE"))
