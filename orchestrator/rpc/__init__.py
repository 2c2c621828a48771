"""The gRPC server: identity, channel, errors, and a use case behind each method."""
