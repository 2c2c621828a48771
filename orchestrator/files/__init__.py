"""What lies in files beside the settings and may change while a process runs."""
