"""Two toy projects: ``edited`` has all that edits need, ``Project`` finished results written by hand."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from bench import files, images
from bench.analysis.score_table import ROW_COLUMNS
from bench.config.project import Config, load_config
from bench.data.manifest import load_manifest
from bench.directions import files as direction_files
from bench.directions.direction import Direction
from bench.errors import BenchError
from bench.names import label, run_id
from bench.predictors import attributes
from bench.scoring.set_metrics import SetScores, SetValue, read_sets, write_sets
from bench.store.paths import RunStore

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
    from bench.config.project import load_config
    from bench.data.import_folder import FolderRequest
    from bench.data.prepare import prepare
    from bench.engine import SERIAL

    def load(root, device):
        return lambda x: {"bright": x.mean((1, 2, 3)), "red": x[:, 0].mean((1, 2))}

    monkeypatch.setitem(attributes.SOURCES, "toy_judge", attributes.Source(("toy",), ("toy_generator",), load))
    path = project / "weights" / "directions" / "toy_d.safetensors"
    path.parent.mkdir()
    vector = torch.ones(16) * brighter(project)
    made = [Direction("bright", vector, about={"attribute": "bright"}), Direction("small", torch.ones(8))]
    entry = {"id": "toy_d", "file": "directions/toy_d.safetensors", "sha256": direction_files.write_set(path, made, {})}
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
    prepare(load_config(project), "held", asked, execution=SERIAL)
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


DATASET, SIZE, COUNT = "tiny_set", 32, 12
METHODS = ["copy_input", "latent_avg", "optimize_w_plus"]
METRICS = ["mae", "psnr", "ssim_gauss", "rate"]


@dataclass
class Project:
    """A project folder with results of METHODS; ``values[label][metric]`` is what its score files hold."""

    root: Path
    values: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        return load_config(self.root)

    @property
    def store(self) -> RunStore:
        return RunStore(self.root, self.config.main_profile)

    @property
    def ids(self) -> list[str]:
        return [f"{i:06d}" for i in range(COUNT)]

    def picture(self, image_id: str) -> np.ndarray:
        """A smooth coloured blob, (SIZE, SIZE, 3) uint8, another one for each id."""
        y, x = np.mgrid[:SIZE, :SIZE] / SIZE
        phase = int(image_id) / COUNT * 2 * np.pi
        waves = [np.sin(2 * np.pi * (x + k / 3) + phase) * np.cos(2 * np.pi * y + k) for k in range(3)]
        return (np.stack(waves, -1) * 110 + 128).astype(np.uint8)

    def add_run(
        self,
        method: str,
        values: dict[str, dict[str, float]],
        *,
        variant: str = "",
        scope: str = "toy",
        failures: dict[str, str] | None = None,
        blend: float = 0.0,
    ) -> None:
        """Write a run's pictures (source blended with grey) and record, and its scores ``{metric: {id: value}}``."""
        failures = failures or {}
        ids = sorted({*next(iter(values.values())), *failures})
        run = self.store.run(scope, method, DATASET, variant)
        run.images.mkdir(parents=True, exist_ok=True)
        for image_id in (i for i in ids if i not in failures):
            mixed = self.picture(image_id) * (1 - blend) + 128 * blend
            files.write_png(run.image(image_id), mixed.round().astype(np.uint8))
        record = {
            "run_id": str(run.name),
            "ids": ids,
            "n": len(ids) - len(failures),
            "failures": failures,
            "rate_floats": 6144,
            "config": {"method": method},
            "config_hash": "0123456789abcdef",
        }
        run.json.write_text(json.dumps(record))
        rows = [
            (
                run_id(method, DATASET, variant),
                DATASET,
                method,
                variant,
                image_id,
                "inversion",
                metric,
                f"{metric}|v1{'|run' * (metric == 'rate')}",
                value,
            )
            for metric, column in values.items()
            for image_id, value in column.items()
        ]
        path = self.store.scores_path(scope, label(method, variant))
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=ROW_COLUMNS).to_parquet(path)
        self.values[label(method, variant)] = values

    def add_sets(self, method: str, metric: str, values: dict[str, float], variant: str = "") -> None:
        """Write a run's set values ``{part or "": value}`` and made-up features, those of the sources for both."""
        run = self.store.run("toy", method, DATASET, variant).read()
        ids = [i for i in run["ids"] if i not in run["failures"]]
        rng = np.random.default_rng(0)
        source = rng.standard_normal((COUNT, 8)).astype(np.float32)[: len(ids)]
        found = [
            SetValue(f"{metric}.{part}" if part else metric, f"{metric}|v1", len(ids), v, *[float("nan")] * 3)
            for part, v in values.items()
        ]
        scores = SetScores(str(run["run_id"]), DATASET, method, variant, "state", ids, found)
        arrays = {"efflite0": source, "efflite0.source": source}
        folder = self.store.sets_dir("toy", label(method, variant), DATASET)
        kept = read_sets(folder)
        write_sets(folder, replace(scores, values=[*(kept.values if kept else []), *found]), arrays)


@pytest.fixture
def tiny(tmp_path: Path) -> Project:
    """copy_input exact and latent_avg poor on 12 images, optimize_w_plus in between on the first 5."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"profile": "toy", "seed": 0, "methods": METHODS}))
    profile = {
        "protocol": "strict32",
        "datasets": [DATASET],
        "metrics": METRICS,
        "bootstrap": 200,
        "limits": {"optimize_w_plus": 5},
    }
    (tmp_path / "profiles" / "toy.yaml").write_text(yaml.safe_dump(profile))
    made = Project(tmp_path)
    hashes = [{"id": i, "sha256": images.pixel_sha256(made.picture(i))} for i in made.ids]
    manifest = {
        "id": DATASET,
        "title": "Tiny set",
        "domain": "blobs",
        "kind": "folder",
        "resolution": SIZE,
        "count": COUNT,
        "licence": "CC0-1.0",
        "hash": "pixels",
        "folder": {"source": "raw"},
        "images": hashes,
    }
    (tmp_path / "datasets" / f"{DATASET}.yaml").write_text(yaml.safe_dump(manifest))
    prepared = tmp_path / "datasets" / "prepared" / DATASET
    (prepared / "images").mkdir(parents=True)
    for image_id in made.ids:
        files.write_png(prepared / "images" / f"{image_id}.png", made.picture(image_id))
    state = {"manifest_sha256": load_manifest(tmp_path, DATASET).sha256}
    (prepared / "prepared.json").write_text(json.dumps(state))
    rng = np.random.default_rng(0)
    for method, centre, count, blend in (
        ("copy_input", 0.0, COUNT, 0.0),
        ("latent_avg", 0.3, COUNT, 0.8),
        ("optimize_w_plus", 0.1, 5, 0.3),
    ):
        mae = {i: centre and centre + 0.02 * rng.standard_normal() for i in made.ids[:count]}
        made.add_run(
            method,
            {
                "mae": mae,
                "psnr": {i: 100.0 if v == 0 else -20 * float(np.log10(v)) for i, v in mae.items()},
                "ssim_gauss": {i: 1 - v for i, v in mae.items()},
                "rate": {i: 6144.0 for i in mae},
            },
            blend=blend,
        )
    return made


@pytest.fixture
def ranked(tiny: Project) -> Project:
    """Two methods more, on all 12 images: hfgi is better than e4e on each of them, both worse than optimize_w_plus."""
    params = yaml.safe_load((tiny.root / "params.yaml").read_text())
    (tiny.root / "params.yaml").write_text(yaml.safe_dump({**params, "methods": [*METHODS, "e4e", "hfgi"]}))
    for method, centre in (("e4e", 0.25), ("hfgi", 0.2)):
        mae = {i: centre + 0.002 * n + (0.001 * (n % 3)) * (method == "hfgi") for n, i in enumerate(tiny.ids)}
        psnr = {i: -20 * float(np.log10(v)) for i, v in mae.items()}
        tiny.add_run(method, {"mae": mae, "psnr": psnr, "ssim_gauss": {i: 1 - v for i, v in mae.items()}})
    return tiny


@pytest.fixture
def on_a_disk_that_fills(tmp_path, monkeypatch):
    """Repeat a write with room for 0, 1, 2, ... renames; while it is refused, all that was there must stay.

    The function takes the folder that is replaced, the write, and after how many renames it succeeds. The last refused
    one can no longer rename the earlier folder back; its files then lie beside.
    """

    def files_there():
        return {str(p.relative_to(tmp_path)): p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()}

    def check(folder, write, renames):
        before, real, refused = files_there(), os.replace, 0
        for room in range(renames + 1):
            left = room

            def replace(source, target):
                nonlocal left
                left -= 1
                if left < 0:
                    raise OSError(28, "No space left on device")
                real(source, target)

            with monkeypatch.context() as patch:
                patch.setattr(os, "replace", replace)
                try:
                    write()
                except BenchError as error:
                    refused += "No space left" in str(error)
                    moved = {name.replace(".new/toy.old", "toy"): data for name, data in files_there().items()}
                    assert moved == before and (room == renames - 1) == (not folder.exists())
        assert refused == renames and not (tmp_path / ".new").exists()

    return check
