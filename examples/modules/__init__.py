"""Six module scripts that solve a user's problem on data that scikit-learn ships; see docs/modules.md."""
