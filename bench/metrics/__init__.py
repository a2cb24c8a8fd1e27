"""Metrics, one file each: the stem is the id, the class is called ``Metric``. Importing this imports no torch."""
