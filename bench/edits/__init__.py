"""Edits of attributes: applying them, targets, strength, scores."""
