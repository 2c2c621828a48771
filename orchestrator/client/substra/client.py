"""The client itself: who it is, and what it cannot do."""

from types import TracebackType
from typing import Any, NoReturn, Self

from substra import exceptions, models, schemas

from orchestrator import protos as pb
from orchestrator.client.connection import Client as Connection
from orchestrator.client.substra.additions import Additions
from orchestrator.client.substra.faults import translated

_CERTIFICATES = (
    "who calls is said by a certificate, not by a user, a password or a token: give an orchestrator.client.Client, as "
    "in Client(orchestrator.client.Client(address, organization, channel, certificates))"
)


@translated
class Client(Additions):
    """What `substra.Client` is in remote mode, for one organization of an orchestrator's network.

    Args:
        connection: of that organization; it stays open when this client is done with.
        given: what `substra.Client` takes, and this one cannot: an error that says so.

    Raises:
        ConfigurationInfoError: something else than a connection is given.

    Attributes:
        connection: for what the Substra SDK has no word for, as `connection.watch(key)`.
    """

    def __init__(self, connection: Connection | None = None, **given: Any) -> None:
        if given or not isinstance(connection, Connection):
            raise exceptions.ConfigurationInfoError(f"{', '.join(given) or 'connection'}: {_CERTIFICATES}")
        self.connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.logout()

    @property
    def backend_mode(self) -> Any:
        """Always remote: tasks run at the organizations."""
        return schemas.BackendType.REMOTE

    @property
    def temp_directory(self) -> None:
        """None: there is one in local mode alone."""
        return None

    def login(self, username: str, password: str) -> NoReturn:
        """Refuse: there are no users.

        Raises:
            UsernamePasswordLoginDisabledException: always.
        """
        raise exceptions.UsernamePasswordLoginDisabledException(_CERTIFICATES, None)

    def logout(self) -> None:
        """Do nothing, as in the Substra SDK where nobody has logged in."""

    def organization_info(self) -> Any:
        """Return who calls, and whom."""
        connection = self.connection
        known = connection.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam()).organizations
        address = next((found.address for found in known if found.id == connection.organization), "")
        version = connection.info.QueryVersion(pb.QueryVersionParam()).orchestrator
        return models.OrganizationInfo(
            # The one address of the organization that others know is its asset store's.
            host=address or "about:blank",
            organization_id=connection.organization,
            organization_name=connection.organization,
            config={"model_export_enabled": True},
            channel=connection.channel,
            version=version,
            orchestrator_version=version,
        )
