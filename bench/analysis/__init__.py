"""What is computed from scores: summaries, statistics, significance, gates."""
