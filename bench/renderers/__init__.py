"""Renderers of rendered datasets, one adapter file each; manifests name theirs (section ``render``)."""
