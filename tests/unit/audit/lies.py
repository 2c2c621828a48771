"""Histories with one lie each."""

from collections.abc import Callable

from orchestrator.audit.violations import Rule
from tests.unit.audit.trace import Trace

Tell = Callable[[Trace], None]


class Lies(dict[str, tuple[Rule, Tell]]):
    """What tells each lie, by its name, and the rule that it breaks."""

    def breaking(self, rule: Rule) -> Callable[[Tell], Tell]:
        """A history with one lie, which breaks this rule."""

        def keep(tell: Tell) -> Tell:
            self[tell.__name__] = rule, tell
            return tell

        return keep
