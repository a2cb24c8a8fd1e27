"""The training run as a whole, on a toy set: it learns, it resumes exactly, it refuses what it must."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.errors import BenchError, DataError
from bench.files import write_png
from bench.generator import SharedGenerator
from bench.training import run_generator
from bench.training.config import read_config

CONFIG = """
dataset: toy
domain: toy
size: 16
style_dim: 8
n_mlp: 2
channels: {4: 8, 8: 8, 16: 4}
held_out: 10
precision: fp32
log_every: 16
checkpoint_every: 48
sheet_every: 1000000
known: {factors: [height], odd_factors: [tilt]}
phases:
  - {name: small, resolution: 8, images: 64, batch: 16}
  - {name: large, resolution: 16, images: 64, batch: 16, known: 1, adversarial: 0.1, r1_every: 2, path: 0.1,
     path_every: 2}
"""


@pytest.fixture(autouse=True)
def one_thread():
    """Sums are ordered by the number of threads: exact comparisons need the same number everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def project(tmp_path):
    """40 coloured discs, prepared as a rendered dataset would be."""
    folder = tmp_path / "datasets" / "prepared" / "toy"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    yy, xx = np.mgrid[:16, :16]
    ids = [f"{i:06d}" for i in range(40)]
    for i, image_id in enumerate(ids):
        disc = (yy - 5 - i % 6) ** 2 + (xx - 8) ** 2 < 16
        write_png(
            folder / "images" / f"{image_id}.png",
            np.where(disc[..., None], (200, 40 + 4 * i, 60), (20, 30, 90)).astype(np.uint8),
        )
        write_png(folder / "labels" / f"{image_id}.png", disc.astype(np.uint8))
    truth = {"image_id": ids, "detail_hat": [float(i % 5 == 0) for i in range(40)]}
    truth |= {"height": [float(i % 6) for i in range(40)], "tilt": np.linspace(-1, 1, 40)}
    pd.DataFrame(truth).to_parquet(folder / "truth.parquet")
    (tmp_path / "weights").mkdir()
    config = tmp_path / "weights" / "toy.yaml"
    config.write_text(CONFIG)
    return tmp_path, config


def curve(root: Path) -> pd.DataFrame:
    tables = sorted((root / "weights" / "training" / "toy" / "curves").rglob("*.tsv"))
    frames = [pd.read_csv(t, sep="\t").drop(columns=["timestamp"], errors="ignore").set_index("step") for t in tables]
    return pd.concat(frames, axis=1)


def test_killed_run_resumes_with_the_same_curve_and_weights(project, tmp_path_factory):
    """kill -9 between checkpoints: the resumed run repeats the lost steps and ends with identical weights."""
    root, config = project
    run_generator.main(config, root)
    whole = curve(root)
    reference = torch.load(root / "weights/training/toy/checkpoint.pt", weights_only=True)["training"]["nets"]

    other = tmp_path_factory.mktemp("killed")
    for name in ("datasets", "weights"):
        (other / name).mkdir()
    os.rmdir(other / "datasets")
    (other / "datasets").symlink_to(root / "datasets")
    config = other / "weights" / "toy.yaml"
    config.write_text(CONFIG)
    script = textwrap.dedent(f"""
        import os, signal, torch
        from pathlib import Path
        from bench.training import generator, run_generator
        torch.set_num_threads(1)
        step = generator.GeneratorTraining.step
        def dying(self):
            if self.position >= 80:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self)
        generator.GeneratorTraining.step = dying
        run_generator.main(Path({str(config)!r}), Path({str(other)!r}))
    """)
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    with pytest.raises(BenchError, match="--resume"):
        run_generator.main(config, other)
    run_generator.main(config, other, resume=True)
    pd.testing.assert_frame_equal(curve(other), whole, check_exact=True)
    resumed = torch.load(other / "weights/training/toy/checkpoint.pt", weights_only=True)["training"]["nets"]
    for name, value in reference.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0, msg=name)


def test_reconstruction_improves(project):
    root, config = project
    config.write_text(
        CONFIG.split("phases:")[0] + "phases: [{name: a, resolution: 8, images: 3200, batch: 16, lr: 0.01}]\n"
    )
    run_generator.main(config, root)
    mae = curve(root)["mae"]
    assert mae.iloc[-10:].mean() < 0.5 * mae.iloc[:3].mean()


def test_refusals_name_the_remedy(project):
    root, config = project
    config.write_text(CONFIG + "part_weights: {noses: 2}\n")
    with pytest.raises(BenchError, match="noses"):
        run_generator.main(config, root)
    config.write_text(CONFIG.replace("dataset: toy", "dataset: absent"))
    with pytest.raises(DataError, match="bench prepare --dataset absent"):
        run_generator.main(config, root)
    config.write_text(CONFIG.replace("held_out: 10", "held_out: 40"))
    with pytest.raises(DataError, match="too small"):
        run_generator.main(config, root)
    config.write_text(CONFIG)
    run_generator.main(config, root, stop_after=16)
    config.write_text(CONFIG.replace("style_dim: 8", "style_dim: 16"))
    with pytest.raises(BenchError, match="another configuration"):
        run_generator.main(config, root, resume=True)


def test_a_diverged_run_goes_on_at_a_lower_rate(project):
    """The message's advice: the phase's rate may change between two stretches, and the checkpoint is a good one."""
    root, config = project
    high = CONFIG.replace("name: large,", "name: large, lr: 1.0e+30,")
    high = high.replace("checkpoint_every: 48", "checkpoint_every: 64")
    config.write_text(high)
    with pytest.raises(BenchError, match="the generator in phase large stopped at step .* not finite") as caught:
        run_generator.main(config, root)
    assert "lower `lr` and go on with --resume" in str(caught.value)
    assert torch.load(root / "weights/training/toy/checkpoint.pt", weights_only=True)["training"]["position"] == 64
    config.write_text(high.replace("1.0e+30", "0.001"))
    run_generator.main(config, root, resume=True)
    state = torch.load(root / "weights/training/toy/checkpoint.pt", weights_only=True)["training"]
    assert state["position"] == 128 and all(torch.isfinite(v).all() for v in state["nets"].values())


def test_dry_run_writes_nothing(project, capsys):
    root, config = project
    assert run_generator.main(config, root, dry_run=True) == []
    out = capsys.readouterr().out
    assert "phase large: 16 px" in out and "generator:" in out
    assert not (root / "weights" / "training").exists()


def test_export_writes_verified_weights_that_load(project, monkeypatch):
    """The exported generator is the averaged one, to float16, under its hash; a run that is not finished is refused."""
    root, config = project
    (root / "weights" / "manifest.yaml").write_text("# kept\nweights: []\ndomains: {}\n")
    run_generator.main(config, root, stop_after=32)
    with pytest.raises(BenchError, match="has not reached 16 px"):
        run_generator.main(config, root, export=True)
    run_generator.main(config, root, resume=True)
    monkeypatch.chdir(root)
    written = run_generator.main(config.relative_to(root), root, export=True)
    assert all(p.stat().st_size for p in written)
    shared = SharedGenerator.load("toy", "cpu", root)
    state = torch.load(root / "weights/training/toy/checkpoint.pt", weights_only=True)["training"]["nets"]
    for name, value in shared.net.state_dict().items():
        torch.testing.assert_close(value, state[f"average_generator.{name}"].half().float(), rtol=0, atol=0, msg=name)
    assert (root / "weights" / "manifest.yaml").read_text().startswith("# kept")
    card = (root / "weights" / "generator.md").read_text()
    assert "| held-out MAE" in card and "| time of training | 0.0" in card
    assert json.loads((root / "weights" / "generator.json").read_text())["seconds"] > 0


def test_warm_start_takes_over_what_was_exported(project):
    """Encoder, critic and reading from the scaffold; generator and discriminator from files of their own."""
    root, config = project
    (root / "weights" / "manifest.yaml").write_text("weights: []\ndomains: {}\n")
    run_generator.main(config, root)
    run_generator.main(config, root, export=True)
    settings = read_config(config).model_copy(update={"warm_start": "toy_scaffold"})
    found = run_generator.warm_networks(root, settings)
    state = torch.load(root / "weights/training/toy/checkpoint.pt", weights_only=True)["training"]["nets"]
    kept = {k: v for k, v in state.items() if k.split(".")[0] in ("encoder", "critic", "reader", "discriminator")}
    kept |= {k.removeprefix("average_"): v for k, v in state.items() if k.startswith("average_generator.")}
    assert set(found) == set(kept)
    for name, value in kept.items():
        torch.testing.assert_close(found[name].float(), value.float(), rtol=1e-3, atol=1e-4, msg=name)
    settings = settings.model_copy(update={"phases": [settings.phases[1]]})
    config.write_text(CONFIG.split("phases:")[0] + "warm_start: toy_scaffold\nphases:\n" + CONFIG.split("\n", 15)[15])
    shutil.rmtree(root / "weights/training/toy")
    run_generator.main(config, root, stop_after=16)
