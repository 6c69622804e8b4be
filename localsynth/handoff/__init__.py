"""Handing a job that is too large for this machine to others: pack it, run its shards there, merge what comes back."""
