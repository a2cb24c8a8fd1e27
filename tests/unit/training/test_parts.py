"""Parts of generator training that can be checked in closed form."""

import numpy as np
import pandas as pd
import pytest
import torch

from bench.errors import BenchError, DataError, WeightsError
from bench.training import checkpoint, losses
from bench.training.config import Known, read_config
from bench.training.data import PackedImages, Sampler
from bench.training.evaluate import frechet_distance, linear_probe
from bench.training.generator import GeneratorTraining
from bench.training.known import MIRROR, known_targets
from bench.training.scaffold import LatentCritic, ScaffoldEncoder, take_over

CONFIG = """
dataset: toy
domain: toy
size: 16
style_dim: 8
n_mlp: 2
channels: {4: 8, 8: 8, 16: 4}
phases: [{name: a, resolution: 8, images: 64, batch: 8}, {name: b, resolution: 16, images: 32, batch: 8}]
"""


def packed(n=6, side=8):
    rng = np.random.default_rng(0)
    return PackedImages(
        [f"{i:06d}" for i in range(n)],
        rng.integers(0, 256, (n, side, side, 3), np.uint8),
        rng.integers(0, 3, (n, side, side), np.uint8),
    )


def test_sampler_visits_every_picture_once_per_pass_and_resumes_anywhere():
    whole = Sampler(10, 0, "x").rows(0, 30)
    for start in (0, 10, 20):
        assert sorted(whole[start : start + 10]) == list(range(10))
    assert list(whole[:10]) != list(whole[10:20])
    np.testing.assert_array_equal(Sampler(10, 0, "x").rows(7, 16), whole[7:23])


def test_box_average_equals_the_mean_of_each_block():
    data = packed()
    small = data.resized(4)
    expected = data.images.reshape(6, 4, 2, 4, 2, 3).mean((2, 4))
    assert np.abs(small.images - expected).max() <= 0.5
    assert small.labels.shape == (6, 4, 4)
    with pytest.raises(DataError, match="divisor"):
        data.resized(3)


def test_batch_mirrors_picture_and_labels_together():
    data = packed()
    x, labels = data.batch(np.array([2, 2]), np.array([False, True]))
    torch.testing.assert_close(x[1], x[0].flip(-1))
    torch.testing.assert_close(labels[1], labels[0].flip(-1))
    assert x.min() >= -1 and x.max() <= 1


def test_pyramid_of_a_constant_offset_is_that_offset():
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(losses.pyramid_l1(x + 0.25, x), torch.tensor(0.25))
    assert losses.pyramid_l1(x, x) == 0


def test_part_weights_have_mean_one_and_keep_ratios():
    labels = torch.tensor([[[0, 0], [0, 1]]])
    weight = losses.part_weights(labels, torch.tensor([1.0, 5.0]))
    torch.testing.assert_close(weight.mean(), torch.tensor(1.0))
    torch.testing.assert_close(weight[0, 0, 1, 1] / weight[0, 0, 0, 0], torch.tensor(5.0))


def test_r1_of_a_linear_critic_is_its_squared_weight():
    critic = torch.nn.Linear(12, 1, bias=False)
    net = torch.nn.Sequential(torch.nn.Flatten(), critic)
    penalty = losses.r1_penalty(net, torch.rand(5, 3, 2, 2))
    torch.testing.assert_close(penalty, critic.weight.square().sum())


def test_path_length_of_a_linear_map_is_its_jacobian_norm():
    torch.manual_seed(0)
    matrix = torch.randn(4, 12, dtype=torch.float64)
    w = torch.randn(2000, 1, 4, dtype=torch.float64, requires_grad=True)
    images = (w[:, 0] @ matrix).view(-1, 3, 2, 2)
    _, mean = losses.path_length(images, w, torch.zeros((), dtype=torch.float64), torch.randn_like(images), decay=1.0)
    lengths = torch.linalg.norm(matrix @ torch.randn(12, 200_000, dtype=torch.float64) / 2, dim=0)
    torch.testing.assert_close(mean, lengths.mean(), rtol=0.03, atol=0)


def test_moment_prior_prefers_unit_gaussian_codes():
    torch.manual_seed(0)
    round_codes = torch.randn(4096, 8)
    assert losses.moment_prior(round_codes) < 0.01
    for wrong in (round_codes + 1, round_codes * 2, round_codes @ torch.ones(8, 8)):
        assert losses.moment_prior(wrong) > 0.5


def test_checkpoint_round_trip_and_random_state(tmp_path):
    path = tmp_path / "deep" / "c.pt"
    torch.manual_seed(3)
    np.random.seed(4)
    checkpoint.save(path, {"x": torch.arange(3), "random": checkpoint.random_state()})
    expected = torch.rand(4), np.random.rand(3)
    state = checkpoint.load(path)
    checkpoint.restore_random_state(state["random"])
    torch.testing.assert_close(torch.rand(4), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])
    assert [p.name for p in path.parent.iterdir()] == ["c.pt"]


def test_damaged_or_hostile_checkpoints_are_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"x": Hostile()}, tmp_path / "hostile.pt")
    whole = tmp_path / "whole.pt"
    checkpoint.save(whole, {"x": torch.zeros(100)})
    (tmp_path / "half.pt").write_bytes(whole.read_bytes()[:200])
    for name in ("hostile.pt", "half.pt", "absent.pt"):
        with pytest.raises(WeightsError):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_grown_encoder_takes_over_all_smaller_blocks():
    channels = {4: 8, 8: 8, 16: 4}
    small, large = ScaffoldEncoder(8, 6, {4: 8, 8: 8}), ScaffoldEncoder(16, 6, channels)
    fresh = take_over(large, small.state_dict())
    assert fresh and all(name.startswith(("stem.16", "blocks.16")) for name in fresh)
    torch.testing.assert_close(large.out.weight, small.out.weight)
    assert large(torch.rand(2, 3, 16, 16)).shape == (2, 6)


def test_critic_sees_a_collapsed_batch():
    torch.manual_seed(0)
    critic = LatentCritic(8)
    same, spread = torch.ones(16, 8), torch.randn(16, 8)
    assert critic(same).std() < 1e-6 < critic(spread).std()


def test_frechet_distance_closed_form():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(20_000, 4))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 3) == pytest.approx(36, rel=1e-6)  # 4 dimensions, 3 squared each
    assert frechet_distance(a, 2 * a) == pytest.approx(
        np.trace(np.cov(a, rowvar=False)) + (a.mean(0) ** 2).sum(), rel=1e-6
    )


def test_linear_probe_finds_a_linear_factor_and_not_noise():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(2000, 8))
    value = codes @ rng.normal(size=8)
    assert linear_probe(codes[:1500], value[:1500], codes[1500:], value[1500:]) > 0.99
    noise = rng.normal(size=2000)
    assert linear_probe(codes[:1500], noise[:1500], codes[1500:], noise[1500:]) < 0.05


def test_configuration_errors_name_the_key(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    assert read_config(path).resolve(64)[0].name == "b" and read_config(path).resolve(96) is None
    for text, word in (
        (CONFIG.replace("style_dim: 8", "style_dim: 0"), "style_dim"),
        (CONFIG + "wrong_key: 1\n", "wrong_key"),
        ("phases: [", "not YAML"),
    ):
        path.write_text(text)
        with pytest.raises(BenchError, match=word):
            read_config(path)
    with pytest.raises(BenchError, match="no training configuration"):
        read_config(tmp_path / "absent.yaml")


def truth_of(marks):
    table = pd.DataFrame({"smile": [0.0, 1.0, 3.0], "yaw": [0.5, -0.5, 0.2]})
    points = {f"lm_{i:02d}_{axis}": marks[:, i, a] for i in range(68) for a, axis in enumerate("xy")}
    return pd.concat([table, pd.DataFrame(points)], axis=1)


def test_known_targets_of_a_mirror_image_keep_factors_negate_odd_ones_and_swap_landmarks():
    marks = np.random.default_rng(0).uniform(10, 118, (3, 68, 2))
    known = Known(factors=["smile"], odd_factors=["yaw"], landmarks=True)
    targets = known_targets(known, truth_of(marks), np.array([0, 2]), 128)
    assert targets is not None and targets.upright.shape == (2, 2 + 136)
    torch.testing.assert_close(targets.upright[:, 0], targets.mirrored[:, 0])
    torch.testing.assert_close(targets.upright[:, 1], -targets.mirrored[:, 1])
    assert float(targets.weight[:2].sum()) == pytest.approx(1) and float(targets.weight[2:].sum()) == pytest.approx(1)
    # a face that is its own mirror image has the same targets both ways
    symmetric = (marks + np.stack([128 - marks[..., 0], marks[..., 1]], -1)[:, list(MIRROR)]) / 2
    twin = known_targets(Known(landmarks=True), truth_of(symmetric), np.arange(3), 128)
    torch.testing.assert_close(twin.upright, twin.mirrored, atol=1e-4, rtol=0)
    mixed = targets.batch(np.array([0, 0, 1]), np.array([False, True, True]))
    torch.testing.assert_close(mixed, torch.stack([targets.upright[0], targets.mirrored[0], targets.mirrored[1]]))


def test_known_targets_name_an_absent_column():
    with pytest.raises(BenchError, match="no column 'grin'"):
        known_targets(Known(factors=["grin"]), truth_of(np.zeros((3, 68, 2))), np.arange(3), 128)
    assert known_targets(Known(), truth_of(np.zeros((3, 68, 2))), np.arange(3), 128) is None


def test_mirror_is_an_involution_that_leaves_the_midline():
    assert sorted(MIRROR) == list(range(68)) and all(MIRROR[MIRROR[i]] == i for i in range(68))
    assert [i for i in range(68) if MIRROR[i] == i] == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_a_phase_without_drawing_moves_the_discriminator_alone(tmp_path):
    file = tmp_path / "c.yaml"
    judge = "{name: j, resolution: 8, images: 16, batch: 8, adversarial: 1, drawing: no}"
    file.write_text(CONFIG.replace("phases: [", f"phases: [{judge}, "))
    data = packed(16, 16)
    training = GeneratorTraining(read_config(file), data, torch.ones(3), None, torch.device("cpu"))
    assert training.enter_phase()
    before = {k: v.clone() for k, v in training.nets.state_dict().items()}
    training.step()
    moved = {k.split(".")[0] for k, v in training.nets.named_parameters() if not torch.equal(v, before[k])}
    assert moved == {"discriminator"}
    training.step()
    training.enter_phase()
    training.step()
    moved = {k.split(".")[0] for k, v in training.nets.named_parameters() if not torch.equal(v, before[k])}
    assert {"generator", "encoder", "average_generator"} <= moved
