"""Datasets: manifests, preparation from renderers and folders, reading."""
