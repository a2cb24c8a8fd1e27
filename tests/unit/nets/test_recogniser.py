"""Recognisers of the embedded domain: crop, margin, verification, training, and ONNX as insightface reads it."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import yaml

from bench.errors import BenchError, DataError, UnknownName, WeightsError
from bench.measures.faces import ARCFACE_POINTS, FFHQ_POINTS
from bench.nets.moco import MocoFeatures
from bench.nets.recogniser import aligned_crop, build, identity_features, recogniser_from
from bench.nets.reconstruction import OPTIONS as RECONSTRUCTION
from bench.nets.reconstruction import Reconstruction
from bench.training.arcface import ArcFaceMargin
from bench.training.data import PackedImages
from bench.training.recogniser import RecogniserConfig, RecogniserTraining, identity_rows, read_config, verification
from bench.training.run_recogniser import save_onnx

KINDS = {
    "ir_se": {"kind": "ir_se", "side": 16, "groups": [(16, 1), (32, 2)], "features": 6},
    "residual": {"kind": "residual", "side": 112, "groups": [(4, 1), (6, 2), (8, 1)], "features": 6},
}


def network(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = build(KINDS[kind]).train()
        net(torch.rand(4, 3, net.side, net.side) * 2 - 1)  # statistics that are not those of the start
    return net.eval()


# --- crop ---


def test_crop_puts_the_face_where_arcface_wants_it():
    """Points of an aligned picture, cut out, against insightface's template in 112 px, its middle at the picture's."""
    cut = (FFHQ_POINTS - 1 / 8) / (3 / 4) * 112
    assert np.abs(cut - (ARCFACE_POINTS + [8.0, 0.0])).max() < 6
    assert np.abs(cut.mean(0) - (ARCFACE_POINTS + [8.0, 0.0]).mean(0)).max() < 3


def test_crop_is_the_middle():
    x = torch.zeros(1, 3, 128, 128)
    x[:, :, 16:112, 16:112] = 1
    assert aligned_crop(x, 96).min() == 1 and aligned_crop(x, 64).shape == (1, 3, 64, 64)


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
        "id": "toy", "format": "safetensors", "dataset": "toy", "domain": "toy", "network": KINDS["ir_se"],
        "identities": (0, 4), "verified": (4, 6), "images": 64, "batch": 4, "warm_up_images": 8,
        "factors": ["age"], "guide": 0.5, "precision": "fp32",
    }  # fmt: skip
    return RecogniserConfig(**{**base, **changes})


def training(**changes):
    rng = np.random.default_rng(0)
    images = PackedImages([str(n) for n in range(24)], rng.integers(0, 256, (24, 32, 32, 3), np.uint8), None)
    truth = pd.DataFrame({"identity": [f"p{n % 6}" for n in range(24)], "age": np.arange(24.0)})
    return RecogniserTraining(config(**changes), images, truth, torch.device("cpu"))


def test_identities_are_kept_apart():
    run = training()
    assert sorted(set(run.rows % 6)) == [0, 1, 2, 3] and list(run.identity[:4]) == [0, 1, 2, 3]
    with pytest.raises(BenchError, match="trained on"):
        training(verified=(3, 5))
    with pytest.raises(DataError, match="no such identities"):
        training(identities=(0, 9), verified=(10, 11))
    with pytest.raises(DataError, match="known identities"):
        identity_rows(pd.DataFrame({"age": [1.0]}), (0, 1))


def test_resume_gives_the_same_bits():
    whole, first = training(), training()
    expected = [whole.step() for _ in range(6)]
    assert [first.step() for _ in range(3)] == expected[:3]
    second = training()
    second.restore(first.state())
    assert [second.step() for _ in range(3)] == expected[3:]
    with pytest.raises(BenchError, match="margin"):
        training(margin=0.1).restore(first.state())


def test_margin_and_rate_follow_the_plan():
    run = training(images=400, margin=0.4, margin_from=0.25, warm_up_images=40)
    plan = {}
    for position in (0, 100, 200, 300, 400):
        run.position = position
        plan[position] = (run.margin(), run.rate())
    assert [m for m, _ in plan.values()] == pytest.approx([0, 0, 0.2, 0.4, 0.4])
    assert [r for _, r in plan.values()] == pytest.approx([0.1, 0.8536, 0.5, 0.1464, 0.0], abs=1e-3)


def test_wrong_configuration(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({**config().model_dump(mode="json"), "margins": 2}))
    with pytest.raises(BenchError, match="margins"):
        read_config(path)
    with pytest.raises(UnknownName, match="kind of recogniser"):
        training(network={**KINDS["ir_se"], "kind": "mobile"})


# --- weights ---


def test_recogniser_of_losses_comes_from_its_weights_alone():
    net = network("ir_se")
    state = {key: value for key, value in net.state_dict().items() if value.is_floating_point()}
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = net.of_pictures(x)
        assert torch.equal(recogniser_from(state, "weights 'toy'").of_pictures(x), expected)
        assert torch.equal(identity_features(state, "weights 'toy'", torch.device("cpu"))(x), expected)
    assert torch.allclose(expected.norm(dim=1), torch.ones(2))
    with pytest.raises(WeightsError, match="toy"):
        recogniser_from({"trunk.input_layer.0.weight": torch.zeros(1)}, "weights 'toy'")


def test_onnx_as_insightface_reads_it(tmp_path):
    """Its class takes BGR bytes; the features are those of the network on RGB in [-1, 1], for any batch."""
    from insightface.model_zoo import get_model

    net, path = network("residual"), tmp_path / "recogniser.onnx"
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


def test_identity_outside_faces_is_moco_s():
    """Weights of `moco_v2` reach the loss as those of a recogniser do; what is neither is refused."""
    torch.manual_seed(0)
    net = MocoFeatures(depths=(1, 2), width=4).eval()
    state = {**net.state_dict(), "fc.0.weight": torch.ones(2, 32)}  # with the head of the pre-training
    features = identity_features(state, "weights 'moco_v2'", torch.device("cpu"))
    losses = Reconstruction(RECONSTRUCTION, {"identity": 0.5}, torch.device("cpu"), features)
    x = torch.rand(2, 3, 48, 48) * 2 - 1
    x_hat = (x + 0.3 * torch.randn_like(x)).requires_grad_(True)
    loss = losses(x_hat, x)["identity"]
    torch.testing.assert_close(loss, (1 - (net(x_hat) * net(x)).sum(1)).mean())
    loss.backward()
    assert x_hat.grad.abs().max() > 0 and loss > 0
    assert float(losses(x, x)["identity"]) == pytest.approx(0, abs=1e-6)
    del state["layer2.1.bn3.weight"]
    with pytest.raises(WeightsError, match=r"'moco_v2'.*layer2\.1\.bn3\.weight"):
        identity_features(state, "weights 'moco_v2'", torch.device("cpu"))
