"""The fixtures of the tests of commands."""

from tests.kit.home import home
from tests.kit.partners import free_channels, network, served_address, served_database

__all__ = ["free_channels", "home", "network", "served_address", "served_database"]
