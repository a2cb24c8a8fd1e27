"""Training of a recogniser: margin, verification, and ONNX as insightface reads it."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from bench.nets.recogniser import build
from bench.training.arcface import ArcFaceMargin
from bench.training.data import PackedImages
from bench.training.recogniser import RecogniserConfig, RecogniserTraining, verification
from bench.training.run_recogniser import save_onnx

IR_SE = {"kind": "ir_se", "side": 16, "groups": [(16, 1), (32, 2)], "features": 6}
RESIDUAL = {"kind": "residual", "side": 112, "groups": [(4, 1), (6, 2), (8, 1)], "features": 6}


# --- margin ---


def test_margin_is_added_to_the_angle():
    head = ArcFaceMargin(3, 2, scale=8)
    angles = torch.tensor([0.0, 2.0, 4.0])
    head.directions.data = 3 * torch.stack([angles.cos(), angles.sin()], 1)  # lengths do not matter
    features = torch.tensor([[math.cos(0.5), math.sin(0.5)]])
    logits = 8 * torch.tensor([[math.cos(0.5 + 0.3), math.cos(1.5), math.cos(3.5)]])
    assert head(features, torch.tensor([0]), 0.3).item() == pytest.approx(
        F.cross_entropy(logits, torch.tensor([0])).item()
    )
    assert head(features, torch.tensor([0]), 0.0) < head(features, torch.tensor([0]), 0.3)


def test_margin_keeps_the_loss_monotonic():
    """Beyond pi - margin the cosine of angle plus margin would rise again."""
    head = ArcFaceMargin(2, 2, scale=4)
    head.directions.data = torch.tensor([[1.0, 0.0], [0.0, 1e-9]])
    angles = torch.linspace(math.pi / 2 + 0.1, math.pi - 0.01, 20)
    cosines = torch.stack([angles.cos(), torch.zeros(20)], 1)  # the cosine to the other direction stays 0
    losses = [head(f[None], torch.tensor([0]), 0.5).item() for f in cosines]
    assert all(a < b for a, b in itertools.pairwise(losses))


# --- verification ---


def test_verification_of_perfect_and_of_no_recognition():
    identity = np.repeat(np.arange(20), 4)
    perfect = np.eye(20, dtype=np.float32)[identity]
    found = verification(perfect, identity)
    assert found["roc_auc"] == 1 and found["tar_at_far_0.001"] == 1
    assert (found["genuine_pairs"], found["impostor_pairs"]) == (20 * 6, 80 * 79 // 2 - 120)
    blind = verification(np.ones((80, 1), np.float32), identity)
    assert blind["roc_auc"] == 0.5 and blind["tar_at_far_0.01"] == 0
    noise = np.random.default_rng(0).standard_normal((80, 16)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    assert 0.4 < verification(noise, identity)["roc_auc"] < 0.6


def test_verification_counts_pairs_of_two_by_hand():
    """Cosines of the one pair of one face: 0.8; of strangers: 0.9, 0.6, 0, 0.1, 0.2: four of five below."""
    gram = np.array([[1, 0.8, 0.9, 0.0], [0.8, 1, 0.6, 0.1], [0.9, 0.6, 1, 0.2], [0, 0.1, 0.2, 1]])
    values, vectors = np.linalg.eigh(gram)
    features = vectors * np.sqrt(values.clip(0))
    found = verification(features, np.array([0, 0, 1, 2]))
    assert found["roc_auc"] == pytest.approx(4 / 5)


# --- training ---


def config(**changes):
    base = {
        "id": "toy", "format": "safetensors", "dataset": "toy", "domain": "toy", "network": IR_SE,
        "identities": (0, 4), "verified": (4, 6), "images": 64, "batch": 4, "warm_up_images": 8,
        "factors": ["age"], "guide": 0.5, "precision": "fp32",
    }  # fmt: skip
    return RecogniserConfig(**{**base, **changes})


def training(**changes):
    rng = np.random.default_rng(0)
    images = PackedImages([str(n) for n in range(24)], rng.integers(0, 256, (24, 32, 32, 3), np.uint8), None)
    truth = pd.DataFrame({"identity": [f"p{n % 6}" for n in range(24)], "age": np.arange(24.0)})
    return RecogniserTraining(config(**changes), images, truth, torch.device("cpu"))


def test_rows_are_those_of_the_identities():
    run = training()
    assert sorted(set(run.rows % 6)) == [0, 1, 2, 3] and list(run.identity[:4]) == [0, 1, 2, 3]


def test_margin_and_rate_follow_the_plan():
    run = training(images=400, margin=0.4, margin_from=0.25, warm_up_images=40)
    plan = {}
    for position in (0, 100, 200, 300, 400):
        run.position = position
        plan[position] = (run.margin(), run.lr_factor())
    assert [m for m, _ in plan.values()] == pytest.approx([0, 0, 0.2, 0.4, 0.4])
    assert [r for _, r in plan.values()] == pytest.approx([0.1, 0.8536, 0.5, 0.1464, 0.0], abs=1e-3)


# --- export ---


def test_onnx_as_insightface_reads_it(tmp_path):
    """Its class takes BGR bytes; the features are those of the network on RGB in [-1, 1], for any batch."""
    from insightface.model_zoo import get_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = build(RESIDUAL).train()
        net(torch.rand(4, 3, 112, 112) * 2 - 1)  # statistics that are not those of the start
    net, path = net.eval(), tmp_path / "recogniser.onnx"
    digest = save_onnx(net, 112, path)
    assert len(digest) == 64 and [p.name for p in tmp_path.iterdir()] == ["recogniser.onnx"]
    model = get_model(str(path))
    assert type(model).__name__ == "ArcFaceONNX"
    faces = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), np.uint8)
    found = model.get_feat([face[..., ::-1] for face in faces])
    with torch.no_grad():
        expected = net(torch.from_numpy(faces).permute(0, 3, 1, 2) / 127.5 - 1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(model.get_feat(list(faces)) - expected).max() > 1e-3
