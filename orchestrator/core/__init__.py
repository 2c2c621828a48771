"""Pure rules: states, permissions, validation, graphs, errors. Values in, values out; no I/O."""
