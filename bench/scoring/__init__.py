"""Scoring a run: metrics built, applied to pairs and to sets, written as tidy rows."""
