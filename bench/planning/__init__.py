"""What would run: weights needed, code hashes of stages, time and disk."""
