"""The tests of this folder need an accelerator: that of ``--device``, else the machine's own; without one they are skipped.

They run on pictures drawn by the committed generator, so no dataset need be prepared.
"""

import gc
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml

from bench import registry
from bench.config.project import load_config
from bench.device import accelerators, resolve_device
from bench.inversion.runner import load_method

ROOT = Path(__file__).parents[2]
COUNT, DOMAIN, DATASET = 8, "annyfaces", "drawn"
PROFILE = {
    "protocol": "strict128",
    "datasets": [DATASET],
    "engine": "serial",
    "batch_size": COUNT,
    "shard_size": COUNT,
    "time": {"images": 4, "budget_s": 2},
}


class Drawn(NamedTuple):
    """A project, its dataset of so many pictures, and their domain."""

    root: Path
    dataset: str
    domain: str
    count: int


@pytest.fixture(scope="session", autouse=True)
def accelerator(request):
    """Its kind: "cuda" or "mps"."""
    wanted, there = request.config.getoption("device"), accelerators()
    found = [kind for kind in there if wanted in (None, kind)]
    if not found:
        pytest.skip(
            f"torch sees no accelerator{f' {wanted!r}' if wanted else ''} (there: {', '.join(there) or 'none'})"
        )
    return resolve_device(found[0]).type


@pytest.fixture(scope="session")
def drawn(accelerator, tmp_path_factory):
    """A project with the committed weights and a dataset of eight faces that its generator draws."""
    from bench.data.import_folder import FolderRequest
    from bench.data.prepare import prepare
    from bench.engine import SERIAL
    from bench.files import write_png
    from bench.generator import SharedGenerator
    from bench.images import to_uint8

    root = tmp_path_factory.mktemp("device")
    (root / "weights").symlink_to(ROOT / "weights")
    (root / "pictures").mkdir()
    (root / "profiles").mkdir()
    own = yaml.safe_load((ROOT / "profiles" / "annyfaces.yaml").read_text())
    profile = {**PROFILE, "metrics": own["metrics"]}
    (root / "profiles" / "here.yaml").write_text(yaml.safe_dump(profile))
    (root / "params.yaml").write_text(yaml.safe_dump({"profile": "here", "seed": 0, "methods": ["e4e"]}))
    generator = SharedGenerator.load(DOMAIN, "cpu", ROOT)
    for n, picture in enumerate(to_uint8(generator.synthesize(generator.sample_w(COUNT, seed=1)))):
        write_png(root / "pictures" / f"face_{n}.png", picture)
    asked = FolderRequest(images=root / "pictures", domain=DOMAIN, resolution=generator.resolution)
    prepare(load_config(root), DATASET, asked, execution=SERIAL)
    return Drawn(root, DATASET, DOMAIN, COUNT)


@pytest.fixture
def command(drawn, monkeypatch, capfd):
    """Run ``bench`` in the project; returns (exit code, stderr)."""
    from bench.cli.app import run_cli

    def call(*args):
        registry.forget()
        monkeypatch.chdir(drawn.root)
        code = run_cli([str(a) for a in args])
        return code, capfd.readouterr().err

    return call


@pytest.fixture
def pictures(drawn):
    """(N, 3, R, R) in [-1, 1] and a seed for each."""
    from bench.data.dataset import PreparedDataset

    dataset = PreparedDataset.open(drawn.root, DATASET)
    return dataset.tensor(dataset.manifest.ids), list(range(COUNT))


@pytest.fixture
def ready(drawn):
    """A method with the committed weights, as the profile of annyfaces would have it."""

    def make(name, device, **options):
        known = registry.methods(drawn.root).load(name)
        return load_method(drawn.root, name, DOMAIN, {**known.domain_options.get(DOMAIN, {}), **options}, device)

    return make


class Limited:
    """A CUDA device with less memory."""

    @staticmethod
    def peak(work):
        """Bytes that torch reserves at most while ``work`` runs."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_reserved()

    @staticmethod
    @contextmanager
    def to(size):
        """Let torch reserve so many bytes in all."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(size / torch.cuda.mem_get_info()[1])
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.fixture
def limited(accelerator):
    if accelerator != "cuda":
        pytest.skip(f"no way to limit the memory of {accelerator}")
    return Limited
