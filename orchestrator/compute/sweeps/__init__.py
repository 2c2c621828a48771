"""The sweeps over compute plans, one module each."""
