"""Ways to find directions, one file each, found by its name: ``learn(request)``, ``TITLE``, ``NEEDS_LABELS``."""
