"""Where the file of an asset lies: in the asset store of its owner, under a name that its key alone decides."""

from orchestrator import protos as pb
from orchestrator.client.errors import StoreError
from orchestrator.client.printing import printable
from orchestrator.client.steps import Steps


def check(owner: str, address: pb.Addressable, name: str, what: str) -> Steps[None]:
    """Refuse what lies elsewhere than in its owner's store: nobody leads our certificate to another's.

    Args:
        owner: whose asset it is.
        address: the registered one.
        name: of the file in the store.
        what: the file for people, as in `the model 1f0c…`.

    Raises:
        StoreError: it lies elsewhere.
    """
    answer = yield lambda client: client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
    stores = {known.id: known.address for known in answer.organizations}
    base = stores.get(owner, "")
    if address.storage_address != f"{base.rstrip('/')}/{name}":
        raise StoreError(
            f"{what} is registered at {printable(address.storage_address)!r}, not in its place in the asset store of "
            f"{owner}, {printable(base) or 'whose address nobody says'}: it is not fetched from there"
        )
