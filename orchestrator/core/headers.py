"""The names of what travels in a call's metadata beside its message."""

FORGOTTEN_UNTIL = "forgotten-until"
"""In the initial metadata of `SubscribeToEvents`: up to when events of the channel were forgotten, in ISO 8601."""
