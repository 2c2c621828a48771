"""The sweeps over functions and models, one module each."""
