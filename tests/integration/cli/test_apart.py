"""Each command as a process of its own says what it says in ours; all else is tested in ours."""

import pytest

from orchestrator.embedded.certificates import Layout
from tests.kit.partners import Partners

from .commands import options, run, run_apart


@pytest.mark.parametrize(
    ("group", "words", "code"),
    [
        ("plan", ("list", "--json"), 0),
        ("plan", ("show", "00000000"), 3),
        ("plan", ("list", "--limit", "none"), 2),
        ("task", ("show", "00000000-0000-4000-8000-000000000000"), 3),
        ("node", ("list", "--json"), 0),
    ],
)
def test_a_command_is_a_program(network: Partners, certificates: Layout, group: str, words: tuple[str, ...], code: int):
    network.plan().submit()
    asked = (group, *options(network, certificates), *words)
    apart = run_apart(*asked)
    assert apart == run(*asked)
    assert apart[0] == code
