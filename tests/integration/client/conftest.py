"""The fixtures of the SDK's tests."""

from tests.kit.home import home
from tests.kit.partners import free_channels, network, served_address, served_database
from tests.kit.study import study

__all__ = ["free_channels", "home", "network", "served_address", "served_database", "study"]
