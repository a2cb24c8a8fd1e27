"""What tests of whole commands share."""

import pytest
import yaml

from bench.store.paths import RunStore


@pytest.fixture
def slow(project):
    """toy_deadly in the profile, a third of a second for each of four shards."""
    path = project / "profiles/toy.yaml"
    settings = {**yaml.safe_load(path.read_text()), "options": {"toy_deadly": {"sleep": 0.3}}}
    path.write_text(yaml.safe_dump(settings))
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump({**params, "methods": [*params["methods"], "toy_deadly"]}))
    return RunStore(project, "toy").run("toy", "toy_deadly", "toy")


@pytest.fixture
def files_of():
    """A run's files as {path in its folder: bytes}."""
    return lambda run: {str(p.relative_to(run.folder)): p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
