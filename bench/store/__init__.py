"""Everything that lies under results/: paths, runs, latents, provenance, tables of results."""
