"""Checks that a method or a metric keeps its contract, on toy images."""
