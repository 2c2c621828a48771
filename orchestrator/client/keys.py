"""Keys as people give them: what is none is found before anything is sent."""

from orchestrator.core import fields
from orchestrator.core.errors import InvalidAssetError


def checked(key: str, what: str) -> str:
    """Return a key as the orchestrator spells it.

    Args:
        key: as given.
        what: whose, as in `a function`.

    Raises:
        ValueError: it is no UUID.
    """
    try:
        fields.check_key(key)
    except (InvalidAssetError, TypeError):
        shown = fields.shown(key) if isinstance(key, str) else f"a value of type {type(key).__name__}"
        raise ValueError(f"the key of {what} is a UUID, not {shown}") from None
    return key.lower()
