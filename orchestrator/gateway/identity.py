"""Who calls over HTTP, and in which channel: by a bearer token, a client certificate, or what the operator has set."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from starlette.requests import Request

from orchestrator.calls.gate import Caller, Gate
from orchestrator.core.errors import BadRequestError, PermissionDeniedError, UnauthenticatedError
from orchestrator.core.fields import shown
from orchestrator.core.identity import Presented, Trust

ORGANIZATION, CHANNEL = "mspid", "channel"
"""Headers that say who calls and in which channel; the names of gRPC's metadata.

Where there is but one choice, they may be left out. The channel may stand in the query as well, for programs that
cannot be told to send a header.
"""

_SCHEME = "bearer "


class Bearer(Protocol):
    """What a token says."""

    @property
    def organization(self) -> str:
        """For which it speaks."""

    @property
    def channels(self) -> frozenset[str]:
        """In which."""


@dataclass(frozen=True)
class Ways:
    """How callers may say who they are; None where they may not.

    Args:
        token: looks a token up; raises UnauthenticatedError.
        trust: who may vouch for whom by a certificate, as of now.
        everybody: the organization and the channel of whoever shows nothing.
    """

    token: Callable[[str], Awaitable[Bearer]] | None = None
    trust: Callable[[], Trust] | None = None
    everybody: tuple[str, str] | None = None


@dataclass(frozen=True)
class Claim:
    """What a caller has proved.

    Args:
        organizations: for which it may speak.
        channels: in which; None for all that are open to the organization, as for a certificate.
    """

    organizations: frozenset[str]
    channels: frozenset[str] | None = None


class Identity:
    """Lets callers in.

    Args:
        gate: says which channels are open to whom.
        ways: how callers may say who they are.
    """

    def __init__(self, gate: Gate, ways: Ways) -> None:
        self._gate = gate
        self._ways = ways

    async def identify(self, request: Request) -> Caller:
        """Return who calls, once the gate has let it in.

        Raises:
            UnauthenticatedError: nothing says who calls, or what says it does not count.
            BadRequestError: there are several choices, and none was made.
            PermissionDeniedError: the choice is not the caller's, or the channel is not open to the organization.
        """
        presented: Presented = getattr(request.state, "presented", ())
        claim = await self._claim(request, presented)
        organization = chosen(_header(request, ORGANIZATION), claim.organizations, ORGANIZATION)
        ends = None
        if claim.channels is None and self._ways.trust is not None:
            ends = self._ways.trust().verify(presented, organization, datetime.now(UTC))
        open_to = self._gate.channels_of(organization)
        choices = open_to if claim.channels is None else claim.channels
        channel = chosen(_header(request, CHANNEL) or request.query_params.get(CHANNEL), choices, CHANNEL)
        return self._gate.enter(organization, channel, ends)

    async def _claim(self, request: Request, presented: Presented) -> Claim:
        given = _header(request, "authorization")
        # Where everybody is let in, what an address does not know does not matter.
        if given is not None and (self._ways.token is not None or self._ways.everybody is None):
            if self._ways.token is None:
                raise UnauthenticatedError("this address takes no tokens")
            if not given.lower().startswith(_SCHEME):
                raise UnauthenticatedError("of the schemes of Authorization only Bearer is known")
            bearer = await self._ways.token(given[len(_SCHEME) :].strip())
            return Claim(frozenset({bearer.organization}), bearer.channels)
        if presented and self._ways.trust is not None:
            return Claim(self._ways.trust().organizations_of(presented, datetime.now(UTC)))
        if self._ways.everybody is not None:
            organization, channel = self._ways.everybody
            return Claim(frozenset({organization}), frozenset({channel}))
        raise UnauthenticatedError(f"the request says not who calls: {self.wanted}")

    @property
    def open(self) -> bool:
        """Whether whoever shows nothing is let in, too."""
        return self._ways.everybody is not None

    @property
    def wanted(self) -> str:
        """What callers may show, in words."""
        ways: Mapping[str, object] = {
            "a bearer token in the header Authorization": self._ways.token,
            "a client certificate": self._ways.trust,
        }
        return f"{' or '.join(way for way, taken in ways.items() if taken)} is needed"

    @property
    def challenge(self) -> str:
        """The value of WWW-Authenticate, which every 401 has (RFC 9110, 15.5.2)."""
        # For certificates there is no scheme; TLS asks for them.
        return f'{"Bearer" if self._ways.token else "Certificate"} realm="orchestrator"'


def chosen(asked: str | None, choices: frozenset[str], what: str) -> str:
    """Return what a caller asks for, of what it may have; the only one where it asks for nothing.

    Args:
        asked: None where the caller left it open.
        choices: what it may have.
        what: the header that names it.

    Raises:
        BadRequestError: it left it open, and there are several.
        PermissionDeniedError: it may not have it, or anything.
    """
    if asked is None:
        if len(choices) == 1:
            return next(iter(choices))
        if choices:
            raise BadRequestError(f"the header {what} is needed, since there are {len(choices)} to choose from")
        raise PermissionDeniedError(f"there is no {what} that the caller may use")
    if asked not in choices:
        raise PermissionDeniedError(f"{what} {shown(asked)} is not the caller's")
    return asked


def _header(request: Request, name: str) -> str | None:
    values = request.headers.getlist(name)
    if len(values) > 1:
        raise BadRequestError(f"the header {name} is given {len(values)} times")
    return values[0] if values else None
