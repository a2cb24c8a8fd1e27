"""What a user may get wrong with `bench train METHOD`: one line each, and nothing computed is lost."""

import errno
import os

import numpy as np
import torch

from bench.files import write_png
from bench.training import checkpoint


def test_refusals(one_line_error, training):
    """What a user may get wrong, each in one line."""
    path = training.preset("e4e", images=8)
    call = ["train", "e4e", "--config", path]
    training.run(path)
    assert "--resume" in one_line_error(*call)
    assert "trains another method; got e4e" in one_line_error("train", "psp", "--config", path)
    assert "weights/absent/e4e.yaml" in one_line_error("train", "e4e", "--preset", "absent")
    assert "toy_copy" in one_line_error("train", "toy_copy")
    training.preset("e4e", images=8, seed=5)
    assert "seed: 0 in the checkpoint, 5 now" in one_line_error(*call, "--resume")
    training.preset("e4e", images=8)
    training.preset("e4e", images=8, micro_batch=2)
    line = one_line_error(*call, "--resume")
    assert "passes of another size; got 2 pictures a pass; expected 4" in line and "micro_batch: 4" in line
    training.preset("e4e", held_out=8)
    assert "too small to train on" in one_line_error(*call, "--resume")
    assert "unknown dataset 'nothing'" in one_line_error(*call, "--resume", "--dataset", "nothing")
    training.preset("e4e", options={"depth": 3})
    assert "no option 'depth'" in one_line_error(*call, "--resume")
    training.preset("e4e", seed=3, weights={"l2": 1, "identity": 0.1})
    assert "an identity loss needs a recogniser" in one_line_error(*call, "--resume")
    seen = {"l2": 1, "perceptual": 0.8}
    training.preset("e4e", seed=3, weights=seen, options={"perceptual": "lpips_alx"})
    assert "perceptual loss 'lpips_alx'; expected one of: lpips_alex" in one_line_error(*call, "--resume")
    training.preset("e4e", seed=3, weights=seen, options={"perceptual": "lpips_alex"})
    assert "weights 'lpips_alex'" in one_line_error(*call, "--resume")
    path.write_text("method: e4e\nimages: many\n")
    assert "images" in one_line_error(*call, "--resume")


def test_empty_folder_and_other_size(project, one_line_error, training):
    path = training.preset("psp")
    picture = project / "datasets" / "prepared" / "toy" / "images" / "head_3.png"
    write_png(picture, np.zeros((16, 16, 3), np.uint8))
    line = one_line_error("train", "psp", "--config", path)
    assert "head_3.png" in line and "16x16" in line and "32x32" in line
    for file in picture.parent.iterdir():
        file.unlink()
    assert "missing" in one_line_error("train", "psp", "--config", path)


def test_diverging_training_keeps_its_checkpoint(one_line_error, training):
    path = training.preset("psp", images=400, optimizer={"lr": 1e18}, checkpoint_every=4, ema_images=0)
    line = one_line_error("train", "psp", "--config", path)
    assert "stopped at step" in line and "l2" in line and "not finite" in line
    state = training.saved("psp")["loop"]
    assert all(torch.isfinite(v).all() for v in state["net"].values())


def test_what_a_diverged_training_is_advised_to_do_works(one_line_error, training):
    """Lower the rate, add `clip: 1`, go on with --resume: from the checkpoint, at the new rate, to the end."""
    path = training.preset("e4e", images=32, checkpoint_every=8)
    training.run(path, stop_after=8)
    high = {"lr": 1e18}
    training.preset("e4e", images=32, checkpoint_every=8, optimizer=high, opponents={"latent_discriminator": high})
    line = one_line_error("train", "e4e", "--config", path, "--resume")
    assert "lower the learning rate or add `clip: 1` and go on with --resume" in line
    assert training.saved("e4e")["loop"]["position"] == 8
    low = {"lr": 0.0005}
    path = training.preset("e4e", images=32, optimizer=low, opponents={"latent_discriminator": low}, clip=1)
    training.run(path, resume=True)
    state = training.saved("e4e")["loop"]
    assert state["position"] == 32 and all(torch.isfinite(v).all() for v in state["net"].values())
    for optimizer in (state["optimizer"], state["optimizers"]["latent_discriminator"]):
        assert [group["lr"] for group in optimizer["param_groups"]] == [0.0005] * len(optimizer["param_groups"])
    training.preset("e4e", images=32, optimizer={"name": "adamw", "lr": 0.0005}, clip=1)
    assert "another configuration" in one_line_error("train", "e4e", "--config", path, "--resume"), "other optimisers"


def test_full_disk_keeps_the_old_checkpoint(one_line_error, monkeypatch, training):
    path = training.preset("psp")
    sync, file = os.fsync, training.folder / "toy" / "psp" / "checkpoint.pt"

    def full(handle):
        if file.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return sync(handle)

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    line = one_line_error("train", "psp", "--config", path)
    assert "No space left" in line and "free some disk space" in line
    assert training.saved("psp")["loop"]["position"] == 8


def test_dry_run_tells_and_leaves_nothing(project, cli, training):
    path = training.preset("e4e", precision="bf16")
    before = sorted(project.rglob("*"))
    answer = cli("train", "e4e", "--config", path, "--dry-run")
    assert answer.code == 0, answer.err
    for word in ("6 training pictures, 2 held out", "latent_discriminator: ", "frozen", "memory: about", "time: "):
        assert word in answer.out
    left = {p for p in sorted(project.rglob("*")) if p not in before and "packed" not in p.name}
    assert not {p for p in left if "__pycache__" not in str(p)}
