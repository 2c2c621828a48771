"""A module for each kind of node, with a class of its name."""
