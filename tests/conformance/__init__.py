"""The gRPC contract as a client of the wire meets it: one module per heading of the contract's behaviour."""
