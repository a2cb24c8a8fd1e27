"""Settings of a project: params.yaml, profiles, ablations, checked before anything starts."""
