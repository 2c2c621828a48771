"""The sweeps over events, one module each."""
