"""Weight files that others published: what they are, fetching, distrustful reading, checks, conversion, comparison.

``listing`` and ``lock`` are data and import no torch; everything a run needs of a published file is a verified
safetensors file that ``fetch`` made once.
"""
