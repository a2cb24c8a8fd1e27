"""Directions of edits in W: files of them, learning them, published ones."""
