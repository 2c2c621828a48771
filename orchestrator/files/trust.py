"""The folder of the organizations' authorities, and the list of what is denied."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog

from orchestrator.core import authorities, documents
from orchestrator.core.authorities import Authorities
from orchestrator.core.identity import Denied, Trust
from orchestrator.files.watched import PartlyWrongError, Watched

log = structlog.get_logger()

_HEX = re.compile(r"[0-9A-F]+")
_SERIAL_DIGITS, _SHA256_DIGITS = 40, 64


def watch_trust(folder: Path, deny_list: Path | None = None) -> Watched[Trust]:
    """Return who may vouch for whom, as files say it.

    At the start all must be good. Later each organization is taken on its own: one whose files are wrong, or whose
    authorities collide with another's, keeps what it had, and what all others add, remove and revoke counts at once.
    So does what is denied.

    Args:
        folder: with a folder per organization, in it the organization's CA certificates and revocation lists.
        deny_list: see `read_denied`; None denies nothing.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what it should be.
    """

    trust: Trust | None = None

    def files() -> Iterator[Path]:
        for member in _listed(_folders, folder):
            yield from _listed(_files, member)
        if deny_list is not None:
            yield deny_list

    def read() -> Trust:
        nonlocal trust
        before = trust
        trust, faults = _reread(folder, deny_list, before) if before else (read_trust(folder, deny_list), [])
        if faults:
            raise PartlyWrongError(trust, faults)
        return trust

    return Watched("certificates", files, read)


def read_trust(folder: Path, deny_list: Path | None = None) -> Trust:
    """Read who may vouch for whom, as at the start; see `watch_trust`."""
    found = {member.name: _authorities(member) for member in _folders(folder)}
    denied = read_denied(deny_list) if deny_list is not None else None
    trust = Trust({organization: read for organization, read in found.items() if read is not None}, denied)
    for organization, read in trust.organizations.items():
        _tell(organization, read)
    return trust


def _reread(folder: Path, deny_list: Path | None, before: Trust) -> tuple[Trust, list[str]]:
    """Return who may vouch for whom now, the same object where nothing is new, and what is wrong."""
    wanted: dict[str, Authorities] = {}
    denied, faults = before.denied, []
    # Whatever is wrong with a file, it holds up nobody else.
    try:
        denied = read_denied(deny_list) if deny_list is not None else denied
    except Exception as error:
        faults.append(f"what was denied stays denied: {error}")
    try:
        members = _folders(folder)
    except OSError as error:
        members, wanted = [], dict(before.organizations)
        faults.append(f"all organizations keep what they had: {error}")
    for member in members:
        try:
            read = _authorities(member)
        except Exception as error:
            read = before.organizations.get(member.name)
            faults.append(f"{member.name} keeps what it had: {error}")
        if read is not None:
            wanted[member.name] = read
    held, collisions = authorities.keep_apart(before.organizations, wanted)
    faults += collisions
    if (held, denied) == (before.organizations, before.denied):
        # What it has verified is still verified.
        return before, faults
    for organization, read in held.items():
        if read != before.organizations.get(organization):
            _tell(organization, read)
    return Trust(held, denied), faults


def _tell(organization: str, read: Authorities) -> None:
    """Log what needs care about an organization's revocation lists."""
    for revocations in read.revocations:
        if not revocations.verified:
            log.warning(
                "certificates.list_of_unknown_issuer",
                organization=organization,
                issuer=revocations.crl.issuer.rfc4514_string(),
            )
    if read.next_update is not None and read.next_update < datetime.now(UTC):
        # What it revokes stays revoked; what was revoked since is not known.
        log.warning("certificates.list_out_of_date", organization=organization, since=read.next_update.isoformat())


def read_denied(file: Path) -> Denied:
    """Read the list of what is not accepted any more.

    Args:
        file: YAML, `serials: {organization: [serial number, …]}` and `authorities: [SHA-256, …]`, of certificates of
            authorities or of their public keys; all hexadecimal, as openssl prints them. Either may be missing.

    Raises:
        OSError: it cannot be read.
        DocumentError: it is something else.
    """
    document = documents.read(file.read_bytes(), str(file))
    if not document:
        raise document.error("serials, authorities or both are expected")
    parts = document.mapping("serials", "authorities")
    numbers = {
        organization: frozenset(int(_digits(entry, _SERIAL_DIGITS), 16) for entry in listed.entries())
        for organization, listed in parts["serials"].mapping().items()
    }
    digests = frozenset(
        bytes.fromhex(_digits(entry, _SHA256_DIGITS, _SHA256_DIGITS)) for entry in parts["authorities"].entries()
    )
    return Denied(numbers, digests)


def _digits(entry: documents.Entry, most: int, least: int = 1) -> str:
    digits = entry.text().replace(":", "").upper().removeprefix("0X")
    if not _HEX.fullmatch(digits) or not least <= len(digits) <= most:
        kind = f"a SHA-256 of {least}" if least == most else f"a serial number of at most {most}"
        raise entry.error(f"{kind} hexadecimal digits is expected here")
    return digits


def _authorities(member: Path) -> Authorities | None:
    """Read an organization's folder; None where nothing is in it."""
    contents = {f"{member.name}/{file.name}": file.read_bytes() for file in _files(member)}
    return authorities.read(contents) if contents else None


def _folders(folder: Path) -> list[Path]:
    """Return the organizations' folders."""
    # Kubernetes keeps what it mounts in folders with such names.
    return [each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith("..")]


def _files(member: Path) -> list[Path]:
    """Return an organization's files."""
    return [each for each in sorted(member.iterdir()) if each.is_file() and not each.name.startswith("..")]


def _listed(listing: Callable[[Path], list[Path]], folder: Path) -> list[Path]:
    """Return what is in a folder; where that cannot be told, itself: reading it says what is wrong."""
    try:
        return listing(folder)
    except OSError:
        return [folder]
