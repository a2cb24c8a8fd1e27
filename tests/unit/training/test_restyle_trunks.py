"""ReStyle's encoders outside faces: the other trunk, pictures that are not square, published start values."""

from pathlib import Path

import pytest
import torch

from bench.api import Context
from bench.errors import UnknownName, WeightsError
from bench.generator import SharedGenerator
from bench.nets.encoder_start import fresh_encoder, one_of
from bench.nets.encoder_state import ASPECTS, encoder_from
from bench.nets.encoders import ResNetEncoder
from bench.nets.resnet34 import RESNET34
from bench.nets.resnet_ir import IR50
from bench.training.preset import read_preset
from methods.restyle_e4e import KINDS as PROGRESSIVE
from methods.restyle_psp import KINDS, Method

ROOT = Path(__file__).parents[3]
GROUPS = [[8, 1], [12, 2], [16, 1]]
BASE = {**Method.training, "groups": GROUPS, "head_width": 6, "input_size": 32}


@pytest.fixture(scope="module")
def toy():
    return SharedGenerator.toy(32)


def torchvision_like(groups=GROUPS, entry=3):
    """A trunk in torchvision's names, every tensor another constant, with a classifier."""
    net = ResNetEncoder(8, 16, channels_in=entry, groups=groups, input_size=32, head_width=6)
    layers = [(layer, block) for layer, (_, count) in enumerate(groups, 1) for block in range(count)]
    names = {f"body.{n}.": f"layer{layer}.{block}." for n, (layer, block) in enumerate(layers)}
    state = {}
    for number, (key, value) in enumerate(net.state_dict().items()):
        for ours, theirs in names.items():
            key = theirs + key.removeprefix(ours) if key.startswith(ours) else key
        if not key.startswith(("styles.", "relu.")):
            state[key] = torch.full_like(value, 0.01 * number if value.is_floating_point() else 3)
    return {**state, "fc.weight": torch.ones(10, 16)}


def encoder(toy, domain="church", weights=None, kinds=KINDS, **options):
    context = Context(domain, toy, toy.device, {"trunk": weights or {}}.__getitem__)
    torch.manual_seed(0)
    options = {**BASE, **options}
    return fresh_encoder(one_of(kinds, options), context, options)


@pytest.mark.parametrize("kinds", [KINDS, PROGRESSIVE], ids=["psp", "e4e"])
def test_a_resnet_trunk_is_taken_over_from_torchvision(toy, kinds):
    trunk = torchvision_like()
    net = encoder(toy, weights=trunk, kinds=kinds, kind="resnet", trunk="trunk", groups=None)
    assert type(net) is kinds["resnet"] and net.widths == [8, 12, 16] and len(net.body) == 4
    state = net.state_dict()
    assert torch.equal(state["conv1.weight"][:, :3], trunk["conv1.weight"]) and not state["conv1.weight"][:, 3:].any()
    for ours, theirs in (("body.0.", "layer1.0."), ("body.2.", "layer2.1."), ("body.3.", "layer3.0.")):
        assert any(key.startswith(theirs) for key in trunk)
        for key in (k for k in trunk if k.startswith(theirs)):
            assert torch.equal(state[ours + key.removeprefix(theirs)], trunk[key]), key
    assert torch.equal(state["bn1.weight"], trunk["bn1.weight"])
    rebuilt = encoder_from(state, tuple(kinds.values()), "them")
    assert type(rebuilt) is type(net)


def test_published_sizes_where_nothing_else_is_asked_for(toy):
    for kind, groups in (("ir", IR50), ("resnet", RESNET34)):
        net = encoder(toy, kind=kind, groups=None)
        assert [width for width, _ in groups] == net.widths and len(net.body) == sum(n for _, n in groups)


def test_the_render_s_half_of_the_entry_starts_as_asked(toy):
    trunk = torchvision_like()
    entry = encoder(toy, weights=trunk, kind="resnet", trunk="trunk", render_start="normal").conv1.weight
    half = entry[:, 3:].detach()
    assert torch.equal(entry[:, :3], trunk["conv1.weight"])
    assert abs(float(half.mean())) < 0.1 and abs(float(half.std()) - 1) < 0.1  # 1,176 draws of N(0, 1)
    for name in ("restyle_psp", "restyle_e4e"):
        assert read_preset(ROOT / "weights" / "paper" / f"{name}.yaml").options["render_start"] == "normal"
        assert "render_start" not in read_preset(ROOT / "weights" / "annyfaces" / f"{name}.yaml").options


def test_cars_are_seen_in_their_aspect(toy):
    """As published encoders of cars see them, and as weights are read again: 192 x 256, here 24 x 32."""
    assert ASPECTS["cars"] == (3, 4)
    net = encoder(toy, "cars", kind="resnet")
    assert net.input_size == (24, 32)
    rebuilt = encoder_from(net.state_dict(), tuple(KINDS.values()), "them", ASPECTS["cars"])
    assert rebuilt.input_size == (24, 32)
    method = Method.__new__(Method)
    method.context, method.generator, method.opt = Context("cars", toy, toy.device, {}.__getitem__), toy, {"steps": 2}
    method.start_training({**BASE, "kind": "resnet", "inner_steps": 2}, {"l2": 1})
    losses = list(method.training_losses(torch.rand(2, 3, 32, 32) * 2 - 1, torch.Generator(), 0))
    assert len(losses) == 2 and all(step["l2"].isfinite() and step["l2"].requires_grad for step in losses)


def test_what_does_not_fit_is_refused(toy):
    with pytest.raises(UnknownName, match="kind of trunk 'vgg'; expected one of: ir, resnet"):
        encoder(toy, kind="vgg")
    with pytest.raises(UnknownName, match="start of the render's half 'one'"):
        encoder(toy, render_start="one")
    ir = {"input_layer.0.weight": torch.ones(8, 3, 3, 3), "body.0.res_layer.3.weight": torch.ones(8, 8, 3, 3)}
    with pytest.raises(WeightsError, match="'trunk' hold no ResNet trunk; got input_layer.*or change `kind`"):
        encoder(toy, weights=ir, kind="resnet", trunk="trunk")
    with pytest.raises(WeightsError, match="'trunk' hold no IR trunk"):
        encoder(toy, weights=torchvision_like(), kind="ir", trunk="trunk")
