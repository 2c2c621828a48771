"""The sweeps that repair work of any kind, one module each."""
