"""What an organization's asset store must be told, from variables named `ORCHESTRATOR_…`."""

from pathlib import Path
from typing import Self

from pydantic import (
    DirectoryPath,
    Field,
    FilePath,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from workers.settings import Address, OrganizationSettings, StoreUrl

_GIB = 1024**3


class StoreSettings(OrganizationSettings):
    """What an asset store's HTTPS server needs besides."""

    store_url: StoreUrl | None = Field(
        None,
        description="the public https URL of the asset store, as its assets' addresses begin; the address that the "
        "organization has registered when not set",
    )
    store_address: Address = Field("0.0.0.0:9443", description="host:port that the asset store listens on")
    store_connections: PositiveInt = Field(
        256, description="most connections to the asset store; more are closed at once (1 or more)"
    )
    store_connections_per_address: PositiveInt = Field(
        64, description="most connections to the asset store from one address; more are closed at once (1 or more)"
    )
    store_request_time: PositiveFloat = Field(
        10.0,
        description="the seconds that a TLS handshake with the asset store, and after it a request's headers, may take "
        "(more than 0)",
    )
    store_uploads: DirectoryPath | None = Field(
        None,
        description="a folder for uploads that are not whole yet, where the store is no folder of this machine: such a "
        "store takes none without it; a store that is a folder keeps them in itself",
    )
    store_upload_limit: PositiveInt = Field(
        100 * _GIB, description="most bytes of one file or data sample that is uploaded (1 or more)"
    )
    store_upload_age: PositiveFloat = Field(
        24 * 3600.0,
        description="the seconds after which an upload that nobody went on with is removed (more than 0)",
    )
    store_unnamed_age: NonNegativeFloat = Field(
        7 * 24 * 3600.0,
        description="the seconds after which an upload is removed that no asset names, as nobody has registered it (0 "
        "or more): 0 keeps it; what was put into the store by another way is never removed",
    )
    store_disk_reserve: NonNegativeInt = Field(
        _GIB,
        description="the bytes of the disk that uploads leave free (0 or more): what would take them is refused",
    )
    store_cert: FilePath = Field(description="a file with the asset store's certificate")
    store_key: FilePath = Field(description="a file with the key of the asset store's certificate")
    tls_client_ca_cert_dir: Path = Field(
        description="a folder with a folder per organization that holds its CA certificates, and, if there are any, "
        "their revocation lists (CRLs); read again when a file changes"
    )
    tls_deny_list: FilePath | None = Field(
        None,
        description="a YAML file of what is not accepted any more, serials: {organization: [serial number, …]} and "
        "authorities: [SHA-256, …]; read again when it changes",
    )

    @model_validator(mode="after")
    def _has_authorities(self) -> Self:
        if not any(self.tls_client_ca_cert_dir.glob("*/*")):
            raise ValueError(
                "ORCHESTRATOR_TLS_CLIENT_CA_CERT_DIR is wrong: expected "
                "a folder with a folder per organization that holds its CA certificates"
            )
        return self
