"""What a workflow asks for that is not run without Argo."""

from orchestrator.executions.errors import WholeError


class OutsideError(WholeError):
    """A workflow lies outside of what the runtime `tasks` runs.

    Args:
        where: in it, as in `template "train"`.
        what: is wrong there, in one line.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"the runtime `tasks` cannot run this workflow: {where}: {what}")
