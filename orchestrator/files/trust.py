"""The folder of the organizations' authorities, and the list of what is denied."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog

from orchestrator.core import authorities, documents
from orchestrator.core.identity import Denied, Trust
from orchestrator.files.watched import Watched

log = structlog.get_logger()

_HEX = re.compile(r"[0-9A-F]+")
_SERIAL_DIGITS, _SHA256_DIGITS = 40, 64


def watch_trust(folder: Path, deny_list: Path | None = None) -> Watched[Trust]:
    """Return who may vouch for whom, as files say it.

    Args:
        folder: with a folder per organization, in it the organization's CA certificates and revocation lists.
        deny_list: see `read_denied`; None denies nothing.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what it should be.
    """

    def files() -> Iterator[Path]:
        for _, file in _members(folder):
            yield file
        if deny_list is not None:
            yield deny_list

    return Watched("certificates", files, lambda: read_trust(folder, deny_list))


def read_trust(folder: Path, deny_list: Path | None = None) -> Trust:
    """Read who may vouch for whom; see `watch_trust`."""
    contents: dict[str, dict[str, bytes]] = {}
    for organization, file in _members(folder):
        contents.setdefault(organization, {})[f"{organization}/{file.name}"] = file.read_bytes()
    denied = read_denied(deny_list) if deny_list is not None else None
    trust = Trust({organization: authorities.read(files) for organization, files in contents.items()}, denied)
    for organization, read in trust.organizations.items():
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
    return trust


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


def _members(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield each organization's files."""
    for member in sorted(folder.iterdir()):
        # Kubernetes keeps what it mounts in folders with such names.
        if member.is_dir() and not member.name.startswith(".."):
            for file in sorted(member.iterdir()):
                if file.is_file() and not file.name.startswith(".."):
                    yield member.name, file
