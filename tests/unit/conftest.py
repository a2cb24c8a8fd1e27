"""The toy project with all that edits need: a judge, a direction, masks, and other pictures to calibrate on."""

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bench import attributes
from bench.editing import files
from bench.editing.direction import Direction

EDITS = {
    "images": 3,
    "directions": {"bright": [0.02]},
    "degrees": [0.2, 0.4, 0.8],
    "judge": "toy_judge",
    "calibration": {"dataset": "held", "images": 3},
    "metrics": ["mae"],
    "round_trips": 1,
    "cycles": 2,
    "shown": 1,
    "frames": 3,
}


@pytest.fixture
def edit_settings():
    """The key `edits` of the toy profile."""
    return EDITS


@pytest.fixture
def ask(edited):
    """Change keys of `edits` in the toy profile; None takes it out."""

    def change(nothing=EDITS, /, **keys):
        write_settings(edited, nothing and {**nothing, **keys})

    return change


@pytest.fixture
def edited(project, monkeypatch):
    """The toy project with a judge of brightness, a direction, masks, and other pictures to calibrate on."""
    from bench.config import load_config
    from bench.folders import FolderRequest
    from bench.prepare import prepare

    def load(root, device):
        return lambda x: {"bright": x.mean((1, 2, 3)), "red": x[:, 0].mean((1, 2))}

    monkeypatch.setitem(attributes.SOURCES, "toy_judge", attributes.Source(("toy",), ("toy_generator",), load))
    path = project / "weights" / "directions" / "toy_d.safetensors"
    path.parent.mkdir()
    vector = torch.ones(16) * brighter(project)
    made = [Direction("bright", vector, about={"attribute": "bright"}), Direction("small", torch.ones(8))]
    entry = {"id": "toy_d", "file": "directions/toy_d.safetensors", "sha256": files.write_set(path, made, {})}
    entry |= {"size_bytes": path.stat().st_size, "domain": "toy", "kind": "directions", "licence": "none"}
    manifest = project / "weights" / "manifest.yaml"
    held = yaml.safe_load(manifest.read_text())
    held["weights"].append(entry)
    manifest.write_text(yaml.safe_dump(held))
    for folder in ("others", "masks"):
        (project / folder).mkdir()
    for n in range(4):
        picture = np.asarray(Image.open(project / "pictures" / f"head_{n}.png"))
        Image.fromarray(np.ascontiguousarray(picture[:, ::-1])).save(project / "others" / f"other_{n}.png")
        mask = np.zeros((32, 32), np.uint8)
        mask[8:24, 8:24] = 1
        Image.fromarray(mask).save(project / "masks" / f"head_{n}.png")
    asked = FolderRequest(images=project / "others", domain="toy", resolution=32)
    prepare(load_config(project), "held", asked, engine="serial")
    write_settings(project, EDITS)
    return project


def brighter(root):
    """Sign of a step along ones that makes the toy generator's pictures brighter."""
    from bench.generator import SharedGenerator

    generator = SharedGenerator.load("toy", torch.device("cpu"), root)
    w = generator.latent_avg[None]
    return float(torch.sign((generator.synthesize(w + 0.5) - generator.synthesize(w)).clamp(-1, 1).mean()))


def write_settings(root, edits):
    path = root / "profiles" / "toy.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "edits": edits}))
