"""Text of others, for a terminal."""


def printable(text: str) -> str:
    """Return text of others without what could steer a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
