"""Nodes whose work is a function: see `sustainml_py.nodes`."""
