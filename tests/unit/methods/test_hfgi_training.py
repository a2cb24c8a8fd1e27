"""How HFGI learns: what moves and what stays, each loss, warps, resume, the two sides of paper and release."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.api import Context
from bench.errors import BenchError, UnknownName, WeightsError
from bench.generator import SharedGenerator
from bench.nets.encoders import ProgressiveEncoder
from bench.nets.image_adversarial import ImageAdversarialLoss, discriminator_from
from bench.nets.perspective import random_perspective
from bench.nets.recogniser import SqueezedRecogniser
from bench.nets.stylegan2 import Discriminator
from bench.training.loop import Loop
from bench.training.preset import Preset, read_preset
from methods.hfgi import Method

ROOT = Path(__file__).parents[3]
WEIGHTS = {"l2": 1, "align": 0.1, "adversarial": 0.05, "image_discriminator": 1, "image_r1": 10}
SMALL = {
    "base_weights": "base", "layers": [3], "distortion_size": 32, "widths": (4, 6), "align_widths": (4, 6),
    "discriminator": "judge", "recogniser": "recogniser", "perceptual_stages": [0],
}  # fmt: skip
RELEASE = {"fusion": "release", "warp_shared": True, "base_norms": "drifting"}


@pytest.fixture(scope="module")
def toy():
    return SharedGenerator.toy(32)


@pytest.fixture(scope="module")
def files():
    """Weights by id, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        encoder = ProgressiveEncoder(8, 16, groups=[(16, 1), (20, 1), (24, 1)], input_size=32)
        base = {f"encoder.{k}": v.clone() for k, v in encoder.state_dict().items()} | {"latent_avg": torch.zeros(8, 16)}
        judge = Discriminator(32, channels=dict.fromkeys((4, 8, 16, 32), 8)).state_dict()
        recogniser = SqueezedRecogniser(16, [(16, 1), (20, 1)], 8).state_dict()
    return {"base": base, "judge": judge, "recogniser": recogniser}


class Pictures:
    """Renders of sampled codes, another crop of colours for each."""

    def __init__(self, toy, count=16):
        self.ids = [str(n) for n in range(count)]
        noise = 0.2 * torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        self.x = (toy.synthesize(toy.sample_w(count, seed=5)) + noise).clamp(-1, 1)

    def batch(self, rows, flip):
        return self.x[torch.from_numpy(rows)], None


def started(toy, files, weights=None, **options):
    """A method whose training has begun, as `bench train` begins it."""
    method = Method.__new__(Method)
    copies = {name: {k: v.clone() for k, v in state.items()} for name, state in files.items()}
    method.context = Context("toy", toy, toy.device, copies.__getitem__)
    method.generator, method.device, method.opt = toy, toy.device, dict(Method.options)
    torch.manual_seed(0)
    method.start_training({**Method.training, **SMALL, **options}, weights or WEIGHTS)
    return method


def loop(toy, files, weights=None, optimizer="adam_lookahead", recompute=False, **options):
    preset = Preset(
        method="hfgi", dataset="toy", domain="toy", images=400, batch=4, flip=False, recompute=recompute,
        optimizer={"name": optimizer, "lr": 1e-3}, opponents={"image_discriminator": {"lr": 1e-3}},
        weights=weights or WEIGHTS,
    )  # fmt: skip
    return Loop(preset, started(toy, files, weights, **options), Pictures(toy), toy.device)


def copied(net):
    return {key: value.clone() for key, value in net.state_dict().items()}


def same(now, before):
    return [key for key, value in now.state_dict().items() if not torch.equal(value, before[key])]


# --- what moves ---


@pytest.mark.parametrize("options", [{}, RELEASE], ids=["paper", "release"])
def test_frozen_means_not_a_bit(toy, files, options):
    run = loop(toy, files, **options)
    method = run.method
    frozen, own = copied(toy.net), copied(method.base)
    nets = {name: copied(net) for name, net in run.net.items()}
    judge = copied(method.learning.adversarial_loss)
    for _ in range(2):
        run.step()
    assert same(toy.net, frozen) == []
    moved = same(method.base, own)
    if options:  # drifting: statistics follow the batches, weights do not
        assert moved and all(".running_" in key or "num_batches" in key for key in moved)
    else:
        assert moved == [] and not any(m.training for m in method.base.modules())
    assert all(same(run.net[name], nets[name]) for name in ("grid_align", "residue"))
    assert same(method.learning.adversarial_loss, judge)


def test_export(toy, files):
    """What the adapter loads, in the published layout; the base goes along only if its norms moved."""
    run = loop(toy, files)
    state = run.method.trained(run.net)
    assert {key.split(".")[0] for key in state} == {"residue", "grid_align"}
    adapter = type("Method", (Method,), {"weights": {"toy": "own"}})
    names = {"base_weights": {"toy": "base"}, "fusion": "paper", "layers": [3], "distortion_size": 32}
    again = adapter(Context("toy", toy, toy.device, {"own": state, **files}.__getitem__), **names)
    run.net.eval()
    x, method = Pictures(toy).x[:2], run.method
    with torch.no_grad():
        found, expected = again.embed(x), method.embed(x)
        assert torch.equal(again.render(found.w_plus, found), method.render(expected.w_plus, expected))
    drifting = loop(toy, files, base_norms="drifting")
    kinds = {key.split(".")[0] for key in drifting.method.trained(drifting.net)}
    assert kinds == {"residue", "grid_align", "encoder", "latent_avg"}


def test_resume_gives_the_same_bits(toy, files):
    """Between two returns of the slow weights and two gradient penalties."""
    whole, first = loop(toy, files), loop(toy, files)
    expected = [whole.step() for _ in range(4)]
    assert [first.step() for _ in range(2)] == expected[:2]
    second = loop(toy, files)
    second.restore(first.state())
    assert [second.step() for _ in range(2)] == expected[2:]
    assert same(second.net, copied(whole.net)) == []
    assert same(second.discriminators["image_discriminator"], copied(whole.discriminators["image_discriminator"])) == []


def test_recomputed_layers_change_nothing(toy, files):
    """As the presets for 1024 px ask: the maps that are consulted and fresh noise are the same the second time."""
    plain, recomputed = loop(toy, files), loop(SharedGenerator.toy(32), files, recompute=True)
    assert [recomputed.step() for _ in range(2)] == [plain.step() for _ in range(2)]
    assert same(recomputed.net, copied(plain.net)) == []
    for name in ("paper", "release"):
        presets = [read_preset(path) for path in (ROOT / "weights" / name).glob("*.yaml")]
        assert presets and all(preset.recompute for preset in presets)


def test_four_pictures_are_learnt(toy, files):
    """The least that a sound training does: errors of pictures it sees again and again fall by far."""
    run = loop(toy, files, {"l2": 1, "align": 0.1}, optimizer="adam", warp_probability=0.0, noise="stored")
    run.data.x = run.data.x[:4].repeat(4, 1, 1, 1)
    losses = [run.step()["l2"] for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]


# --- losses ---


def test_alignment_is_judged_against_the_map_in_place(toy, files):
    """An aligner that changes nothing pays for the warp, and nothing where there is none."""
    x = Pictures(toy).x[:4]
    for probability, expected in ((0.0, 0.0), (1.0, None)):
        learning = started(toy, files, {"l2": 1, "align": 1}, warp_probability=probability, noise="stored").learning
        learning.aligner.forward = lambda target, distortion: distortion
        with torch.no_grad():
            loss = learning.losses(x, torch.Generator(), [1, 2, 3, 4])["align"]
            clean, _ = learning.distortion(x, learning.base(x))
            warped = learning.misaligned(clean, torch.Generator(), [1, 2, 3, 4])
        expected = float((warped - clean).abs().mean()) if expected is None else expected
        assert float(loss) == pytest.approx(expected, abs=1e-6)
    assert expected > 0.01


def test_reconstruction_sees_the_aligned_warp(toy, files):
    """Not the clean map: else edits would be consulted with maps never seen in training."""
    learning = started(toy, files, {"l2": 1, "align": 1}, warp_probability=1.0, noise="stored").learning
    consulted, aligned = [], []
    learning.consultation.register_forward_pre_hook(lambda net, given: consulted.append(given[0]))
    learning.aligner.register_forward_hook(lambda net, given, result: aligned.append((given[1], result)))
    x = Pictures(toy).x[:2]
    with torch.no_grad():
        learning.losses(x, torch.Generator(), [1, 2])
        clean, _ = learning.distortion(x, learning.base(x))
    (given, result), warped = aligned[0], learning.misaligned(clean, torch.Generator(), [1, 2])
    assert torch.equal(consulted[0], result)
    assert torch.equal(given, warped) and not torch.equal(given, clean)


class Linear(nn.Module):
    """A discriminator whose losses are known: the sum of a picture, weighted."""

    size = 32

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((3, 32, 32), 0.01))

    def forward(self, x):
        assert x.dtype == torch.float32
        return (x * self.weight).sum((1, 2, 3)).unsqueeze(1)


def test_adversarial_losses_in_closed_form():
    judge, x, x_hat = (
        ImageAdversarialLoss(Linear(), r1_every=8),
        torch.full((2, 3, 32, 32), 0.1),
        torch.zeros(2, 3, 32, 32),
    )
    real = 0.01 * 0.1 * 3 * 32 * 32
    assert judge.verdict(x_hat).item() == pytest.approx(math.log(2))
    assert judge.verdict(x).item() == pytest.approx(math.log1p(math.exp(-real)))
    losses = judge.losses(x, x_hat, step=8)
    assert losses["image_discriminator"].item() == pytest.approx(math.log1p(math.exp(-real)) + math.log(2))
    assert losses["image_r1"].item() == pytest.approx(8 / 2 * 3 * 32 * 32 * 0.01**2)
    assert set(judge.losses(x, x_hat, step=9)) == {"image_discriminator"}


def test_small_pictures_are_judged_against_renders_as_small(toy, files):
    """Pictures of 16 px, renders and discriminator of 32: enlarged pictures are made of blocks, so renders must be."""
    learning = started(toy, files).learning
    seen = []
    learning.adversarial_loss.net.register_forward_pre_hook(lambda net, given: seen.append(given[0]))
    x = Pictures(toy).x[:4, :, ::2, ::2]
    losses = learning.losses(x, torch.Generator(), [1, 2, 3, 4])
    learning.discriminator_loss(step=1)
    assert losses["adversarial"].requires_grad and len(seen) == 3
    for given in seen:  # the method's renders, then pictures and renders for the discriminator
        blocks = given.unfold(2, 2, 2).unfold(3, 2, 2)
        assert given.shape[-1] == 32 and torch.equal(blocks, blocks[..., :1, :1].expand_as(blocks))
    assert torch.equal(seen[1][..., ::2, ::2], x)


def test_pictures_of_the_render_s_side_are_judged_as_they_are(toy, files):
    learning = started(toy, files, judged=2).learning
    seen = []
    learning.adversarial_loss.net.register_forward_pre_hook(lambda net, given: seen.append(given[0]))
    renders = []
    synthesize = learning.generator.synthesize
    learning.generator = type("Spy", (), {"synthesize": lambda self, *a, **k: renders.append(synthesize(*a, **k)) or
                                          renders[-1]})()  # fmt: skip
    learning.losses(Pictures(toy).x[:4], torch.Generator(), [1, 2, 3, 4])
    assert torch.equal(seen[0], renders[-1][:2])


def test_gradient_penalty_is_float32_under_autocast(files):
    """A double backward in bfloat16 kills some processors; and it would be another number."""
    judge = ImageAdversarialLoss(discriminator_from(files["judge"], "judge"))
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    real = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(judge.net(real).sum(), real)
    with torch.autocast("cpu", torch.bfloat16):
        found = judge.losses(x, x, step=0)["image_r1"]
    expected = gradient.square().sum((1, 2, 3)).mean().item() * 16 / 2
    assert found.item() == pytest.approx(expected, rel=1e-6) and expected > 0


def test_discriminator_starts_from_its_weights(toy, files):
    net = started(toy, files).learning.adversarial_loss.net
    assert all(torch.equal(value, files["judge"][key]) for key, value in net.state_dict().items())
    with pytest.raises(WeightsError, match="no discriminator"):
        discriminator_from(files["base"], "weights 'base'")


def test_a_fresh_discriminator_has_the_generator_s_side_and_other_start_values(toy, files):
    method = started(toy, files, discriminator="fresh")
    net = method.learning.adversarial_loss.net
    assert net.size == toy.resolution and net.channels == toy.net.channels
    assert method.learning.losses(Pictures(toy).x[:4], torch.Generator(), [1, 2, 3, 4])["adversarial"].isfinite()


def test_an_absent_discriminator_says_how_to_do_without(toy, files):
    """Published generator files need not hold one; both ways that the message names work."""

    def absent(name):
        raise WeightsError("weights 'stylegan2' have no part 'discriminator'", expected="generator, latent_avg")

    method = Method.__new__(Method)
    method.context = Context("toy", toy, toy.device, lambda name: files[name] if name in files else absent(name))
    method.generator, method.device, method.opt = toy, toy.device, dict(Method.options)
    options = {**Method.training, **SMALL, "discriminator": "stylegan2/discriminator"}
    with pytest.raises(WeightsError, match="no part.*Fix: set `adversarial: 0`.*or `discriminator: fresh`") as error:
        method.start_training(options, WEIGHTS)
    assert "\n" not in str(error.value)
    method.start_training(options, {**WEIGHTS, "adversarial": 0})
    assert method.discriminators() == {}
    method.start_training({**options, "discriminator": "fresh"}, WEIGHTS)
    assert set(method.discriminators()) == {"image_discriminator"}


def test_identity_loss_follows_the_recogniser(toy, files):
    weights = {"l2": 1, "identity": 0.1}
    method = started(toy, files, weights)
    losses = method.learning.losses(Pictures(toy).x[:2], torch.Generator(), [1, 2])
    assert set(losses) == {"l2", "identity"} and 0 < losses["identity"].item() < 2
    assert losses["identity"].requires_grad
    with pytest.raises(BenchError, match="option `recogniser` is empty"):
        started(toy, files, weights, recogniser="")


# --- warps ---


def test_each_picture_has_a_warp_of_its_own_whatever_the_batch(toy, files):
    learning = started(toy, files, warp_probability=1.0).learning
    maps = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).expand(3, -1, -1, -1)
    together = learning.misaligned(maps, torch.Generator(), [7, 8, 9])
    assert not torch.equal(together[0], together[1])
    assert torch.equal(together[1:2], learning.misaligned(maps[1:2], torch.Generator(), [8]))


def test_released_warp_is_one_for_the_batch(toy, files):
    learning = started(toy, files, warp_probability=1.0, warp_shared=True).learning
    maps = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).expand(3, -1, -1, -1)
    found = learning.misaligned(maps, torch.Generator().manual_seed(5), [7, 8, 9])
    assert torch.equal(found[0], found[2]) and not torch.equal(found, maps)
    assert torch.equal(found, random_perspective(maps, torch.Generator().manual_seed(5), 0.15, 1.0, shared=True))


# --- options ---


@pytest.mark.parametrize(
    ("options", "message"),
    [({"discriminator": ""}, "option `discriminator` is empty"), ({"base_norms": "thawed"}, "batch norms")],
)
def test_wrong_options(toy, files, options, message):
    with pytest.raises((BenchError, UnknownName), match=message):
        started(toy, files, **options)


def test_base_encoder_must_be_known(toy, files):
    with pytest.raises(UnknownName, match="base encoder"):
        started(toy, files, base_encoder="e5e")


def test_paper_and_release_are_presets():
    """Every difference that the two state is there, and none by accident."""
    paper, release = (read_preset(ROOT / "weights" / name / "hfgi.yaml") for name in ("paper", "release"))
    options = [{**Method.training, **preset.options} for preset in (paper, release)]
    assert not (set(paper.options) | set(release.options)) - set(Method.training)
    differing = {key for key in Method.training if options[0][key] != options[1][key]}
    assert differing == {"fusion", "layers", "widths", "warp_shared", "base_norms", "discriminator"}
    assert (paper.optimizer.name, release.optimizer.name) == ("adam_lookahead", "ranger")
    assert (paper.images, release.images) == (8 * 90_000, 8 * 100_000)
    assert paper.weights["adversarial"] > 0 and not release.weights.get("adversarial")


def test_training_needs_a_base_with_a_mean_code(toy, files):
    lacking = {k: v for k, v in files["base"].items() if k != "latent_avg"}
    with pytest.raises(WeightsError, match="mean code"):
        started(toy, {**files, "base": lacking})


def test_start_values_from_the_base(toy, files):
    """With them the first render is the base's; with the published ones it is not."""
    x = Pictures(toy).x[:2]
    for from_base in (True, False):
        method = started(toy, files, from_base=from_base)
        method.learning.nets.eval()
        with torch.no_grad():
            found = method.embed(x)
            same_render = torch.allclose(method.render(found.w_plus, found), toy.synthesize(found.w_plus), atol=1e-5)
        assert same_render == from_base
