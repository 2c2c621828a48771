"""What clients send, field by field: read, and what is wrong with it told in their words."""
