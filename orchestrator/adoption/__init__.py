"""Moving a running network over: what another server of the same contract has, read by that contract alone."""
