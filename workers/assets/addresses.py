"""Where the file of an asset must lie: in the asset store of its owner, under the asset's own key.

An address that a client registered is only ever compared, letter by letter, with the one that follows from the owner,
its store's URL and the key: so none can lead to another's file, nor to another file of the same store.
"""

import re
from dataclasses import dataclass

from orchestrator import protos as pb
from workers.assets.store import url

# Nothing that one reader of URLs takes for another than the next does: no user, query, fragment, escape, backslash,
# empty or dotted segment, and no port with leading zeros.
_STORE_URL = re.compile(
    r"https://(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._~@+=,-]+)*"
)


@dataclass(frozen=True)
class Asset:
    """A file that the orchestrator knows.

    Args:
        owner: the organization whose store must have it.
        name: its name in that store, which its key alone decides.
        address: what was registered; its URL is empty when the asset was deleted.
        what: the asset for people, as in `the model 1f0c…`.
    """

    owner: str
    name: str
    address: pb.Addressable
    what: str

    def lies_in(self, store_url: str) -> bool:
        """Say whether the registered address is the file of this name in the store with this URL."""
        return self.address.storage_address == url(store_url, self.name)


def check_store_url(store_url: str) -> str:
    """Return the public URL of an asset store, without a slash at its end.

    Raises:
        ValueError: it is not one that every program reads in the same way.
    """
    plain = store_url.removesuffix("/")
    match = _STORE_URL.fullmatch(plain)
    if match is None or int(match["port"] or 443) > 65535:
        raise ValueError("not a plain https URL of a host, a port and a path, without user, query, escapes or dots")
    return plain


def model_name(key: str) -> str:
    """Return the name of a model in the store of the worker that made it: no other file is ever deleted as a model."""
    return f"models/{key}"


def model(found: pb.Model) -> Asset:
    """Return the file of a model."""
    return Asset(found.owner, model_name(found.key), found.address, f"the model {found.key}")


def archive(function: pb.Function) -> Asset:
    """Return the archive of a function."""
    name = f"functions/{function.key}/archive"
    return Asset(function.owner, name, function.archive, f"the archive of function {function.key}")


def opener(manager: pb.DataManager) -> Asset:
    """Return the opener of a data manager."""
    name = f"data_managers/{manager.key}/opener"
    return Asset(manager.owner, name, manager.opener, f"the opener of data manager {manager.key}")


def description(found: pb.Function | pb.DataManager) -> Asset:
    """Return the description of a function or a data manager."""
    kind, word = ("functions", "function") if isinstance(found, pb.Function) else ("data_managers", "data manager")
    name = f"{kind}/{found.key}/description"
    return Asset(found.owner, name, found.description, f"the description of {word} {found.key}")


def log(report: pb.FailureReport, name: str) -> Asset:
    """Return the log of a failure report.

    Args:
        report: the report.
        name: which of the logs of its task or function is meant, as in `logs/<key>-<attempt>`.
    """
    return Asset(report.owner, name, report.logs_address, f"the log of {report.asset_key}")
