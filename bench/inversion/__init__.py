"""Inverting images: the plan of a run, the runner, timing."""
