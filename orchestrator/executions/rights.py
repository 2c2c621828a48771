"""Rights: who may do what with an execution, where it is known who calls.

Who runs executions may do all. Beside it, what was sent for a data partner is that partner's alone; files of an
execution, and reports of it, are for its data partners and for who started it; and only who started it deletes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator import protos as pb
from orchestrator.core.errors import PermissionDeniedError


@dataclass(frozen=True)
class Rights:
    """What an organization may do.

    Args:
        caller: the organization; None where nobody is told apart, who may do all then.
        central: who runs executions.
    """

    caller: str | None
    central: str | None

    def check_partner(self, partner: str) -> None:
        """Check that the caller may read what was sent for a data partner.

        Raises:
            PermissionDeniedError: it may not.
        """
        if not self._is_any_of(partner):
            raise PermissionDeniedError(f"{self.caller} may not read what was sent for others")

    def check_part(self, execution: pb.Execution, what: str) -> None:
        """Check that the caller takes part in an execution.

        Args:
            execution: which.
            what: it wants to do, as in "report of".

        Raises:
            PermissionDeniedError: it does not.
        """
        if not self._is_any_of(execution.owner, *(partner.name for partner in execution.partners)):
            raise PermissionDeniedError(
                f"{self.caller} may not {what} execution {execution.id}: it is neither one of its data partners, nor "
                "who started it, nor who runs executions"
            )

    def check_deletion(self, executions: Sequence[pb.Execution]) -> None:
        """Check that the caller may delete executions.

        Raises:
            PermissionDeniedError: there is one that it may not delete.
        """
        for execution in executions:
            if not self._is_any_of(execution.owner):
                raise PermissionDeniedError(
                    f"{self.caller} may not delete execution {execution.id}: only who started it, or who runs "
                    "executions, may"
                )

    def check_schema(self, schema: pb.WorkflowSchema) -> None:
        """Check that the caller may delete a schema; of its executions see `check_deletion`.

        Raises:
            PermissionDeniedError: it may not.
        """
        if not self._is_any_of(schema.owner):
            raise PermissionDeniedError(
                f'{self.caller} may not delete the schema "{schema.name}": only who stored it, or who runs executions, '
                "may"
            )

    def _is_any_of(self, *organizations: str) -> bool:
        return self.caller is None or self.caller in (self.central, *organizations)
