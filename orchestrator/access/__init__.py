"""Who may come in without a certificate: bearer tokens."""
