"""An organization's asset store, and how assets are brought from and to it."""
