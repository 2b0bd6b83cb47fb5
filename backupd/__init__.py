"""backupd backs up Docker images and containers by a policy, and brings them back."""

__version__ = "0.1.0"
