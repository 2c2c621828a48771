"""The accounts on a broker, one for each organization: what they are called, what they may do, how they are set up."""
