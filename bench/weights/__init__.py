"""Weight files: what the project has, what others published, fetching, reading with distrust, checks, conversion.

``manifest``, ``listing`` and ``lock`` are data and import no torch; everything a run needs of a published file is a
verified safetensors file that ``fetch`` made once.
"""
