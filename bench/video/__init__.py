"""Edits of clips: frames, tracks, motion, scores."""
