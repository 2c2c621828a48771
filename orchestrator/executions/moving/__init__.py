"""Moving over: executions of another service of this kind, read through its API and kept here under their ids."""
