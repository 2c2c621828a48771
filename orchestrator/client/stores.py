"""How asset stores are reached: with which certificates, and whom they are believed to be."""

import ssl
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import protos as pb
from orchestrator.client.certificates import Certificates
from orchestrator.client.errors import StoreError

if TYPE_CHECKING:
    from orchestrator.client.transfers import Connection


class Stores:
    """How asset stores are reached; connections are made with the certificates of now.

    Args:
        certificates: who we are, and whom we trust; None where we have none.
        proxy_from_environment: whether to connect by the proxy that `https_proxy` and the like name.
    """

    def __init__(self, certificates: Certificates | None, proxy_from_environment: bool = False) -> None:
        self._certificates = certificates
        self._proxy = proxy_from_environment

    def connect(self) -> "Connection":
        """Return a connection, to be closed afterwards.

        Raises:
            StoreError: there are no certificates, or no good ones.
        """
        certificates = self._certificates
        if certificates is None or certificates.peers is None:
            raise StoreError(
                "asset stores are reached over mutual TLS: give Certificates with all four files, a command --ca-cert, "
                "--cert, --key and --peer-ca-cert; the last, `peers`, are the CA certificates of the organizations' "
                "asset stores"
            )
        # HTTP takes a tenth of a second to import, and most programs and commands need none.
        from orchestrator.client.transfers import connect

        return connect(tls(certificates, certificates.peers), self._proxy)

    def get(self, address: pb.Addressable, what: str, path: Path, limit: int | None = None) -> None:
        """Download a file; what was there is replaced when all has come and is what was registered.

        Args:
            address: its URL and SHA-256.
            what: the file for people, as in `the model 1f0c…`.
            path: where to.
            limit: most bytes.

        Raises:
            StoreError: it cannot be had, is too large, or is not the registered one.
            OSError: the file cannot be written.
        """
        with closing(self.connect()) as connection:
            connection.get(address, what, path, limit)


def tls(certificates: Certificates, authority: Path) -> ssl.SSLContext:
    """Return what is needed for mutual TLS with those whom an authority vouches for.

    Raises:
        StoreError: the files are no certificates, or the key is not the certificate's.
    """
    from orchestrator.files.tls import calling_context

    try:
        certificates.check()
        return calling_context(authority, certificates.certificate, certificates.key)
    except ssl.SSLError as error:
        raise StoreError(
            f"{authority}, {certificates.certificate} and {certificates.key} are no PEM files of a CA certificate, a "
            f"certificate and its key: {error}"
        ) from error
    except (ValueError, OSError) as error:
        raise StoreError(str(error)) from error
