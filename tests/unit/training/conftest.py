"""Presets for the toy project and what a training left, for the tests of `bench train METHOD`."""

from pathlib import Path

import pytest
import torch
import yaml

from bench.nets.encoders import ProgressiveEncoder
from bench.nets.stylegan2 import Discriminator
from bench.training import checkpoint
from bench.training.run_method import main
from bench.training.spent import KEY
from bench.weights import manifest as weights
from bench.weights.manifest import enter

ENCODER = {"groups": [[16, 1], [20, 1], [24, 1]], "head_width": 6, "input_size": 32}
SEEN = {"perceptual_stages": [0], "perceptual_size": 16}
PROGRESS = {"first_difference": 16, "next_difference": 2, "pool": 8, "r1_every": 2}
JUDGED = {"l2": 1, "delta": 0.001, "latent_adversarial": 0.1, "latent_discriminator": 1, "latent_r1": 10}
OPPONENT = {"latent_discriminator": {"lr": 0.001}}
SPECIAL = {
    "psp": {"weights": {"l2": 1}, "options": ENCODER},
    "e4e": {"weights": JUDGED, "options": ENCODER | PROGRESS, "opponents": OPPONENT},
    "restyle_psp": {"weights": {"l2": 1, "perceptual": 0.1}, "options": ENCODER | SEEN | {"inner_steps": 2}},
    "restyle_e4e": {"weights": JUDGED, "options": ENCODER | PROGRESS | {"inner_steps": 2}, "opponents": OPPONENT},
    "hfgi": {
        "weights": {"l2": 1, "align": 0.1, "adversarial": 0.05, "image_discriminator": 1, "image_r1": 10},
        "opponents": {"image_discriminator": {"lr": 0.001}},
        "options": {
            "base_weights": "toy_base",
            "discriminator": "toy_judge",
            "layers": [3],
            "distortion_size": 32,
            "widths": [4, 6],
            "align_widths": [4, 6],
            "r1_every": 2,
        },
    },
}


@pytest.fixture(autouse=True)
def one_thread():
    """Sums are ordered by the number of threads: exact comparisons need the same number everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Training:
    """Trainings of one toy project.

    Args:
        project: the fixture of that name.
    """

    encoder, special = ENCODER, SPECIAL

    def __init__(self, project: Path):
        self.project, self.folder = project, project / "weights" / "training"

    def preset(self, method: str, **changes) -> Path:
        """A preset of four pictures a step on the toy dataset, six of whose pictures are learnt from."""
        settings = {"method": method, "dataset": "toy", "domain": "toy", "images": 32, "batch": 4, "held_out": 2}
        settings |= {"optimizer": {"lr": 0.002}, "ema_images": 8, "log_every": 4, "checkpoint_every": 8}
        settings |= {"validate_every": 16, **self.special.get(method, {}), **changes}
        path = self.project / "weights" / "toy" / f"{method}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(settings))
        return path

    def add(self, name: str, tensors: dict) -> None:
        """Put weights into the project's manifest."""
        file = self.project / "weights" / f"{name}.safetensors"
        digest = weights.save(file, tensors, {}, half=False)
        entry = {"id": name, "file": file.name, "sha256": digest, "size_bytes": file.stat().st_size, "domain": "toy"}
        enter(self.project, {**entry, "kind": "scaffold", "licence": "none", "card": ""})

    def add_hfgis(self) -> None:
        """The frozen base and the discriminator that the preset of hfgi names."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            base = ProgressiveEncoder(8, 16, groups=[(16, 1), (20, 1), (24, 1)], input_size=32)
            judge = Discriminator(32, channels=dict.fromkeys((4, 8, 16, 32), 8))
        encoder = {f"encoder.{k}": v for k, v in base.state_dict().items() if v.is_floating_point()}
        self.add("toy_base", encoder | {"latent_avg": torch.zeros(8, 16)})
        self.add("toy_judge", judge.state_dict())

    def run(self, path: Path, **how) -> list[Path]:
        return main(path, self.project, **how)

    def saved(self, method: str) -> dict:
        """The last checkpoint without what no two trainings share, the time they took."""
        state = checkpoint.load(self.folder / "toy" / method / "checkpoint.pt")
        return {key: value for key, value in state.items() if key != KEY}

    def curve(self, method: str, name: str) -> list[float]:
        table = next((self.folder / "toy" / method / "curves").rglob(f"{name}.tsv"))
        return [float(line.split("\t")[-1]) for line in table.read_text().splitlines()[1:]]


@pytest.fixture
def training(project: Path) -> Training:
    return Training(project)


def _flat(state, name=""):
    """Name -> leaf of nested dicts and lists."""
    parts = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else None
    if parts is None:
        return {name: state}
    return {k: v for key, value in parts for k, v in _flat(value, f"{name}.{key}").items()}


@pytest.fixture
def assert_same():
    """Compare states: exactly, or tensors and numbers within a tolerance."""

    def check(a, b, **tolerance):
        a, b = _flat(a), _flat(b)
        assert a.keys() == b.keys()
        for key in a:
            if isinstance(a[key], torch.Tensor):
                torch.testing.assert_close(a[key], b[key], msg=key, **(tolerance or {"rtol": 0, "atol": 0}))
            else:
                close = tolerance and isinstance(a[key], float)
                assert a[key] == (pytest.approx(b[key], rel=1e-4) if close else b[key]), key

    return check
