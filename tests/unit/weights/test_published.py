"""The list of published weights, their layouts, the strict check, conversion and comparison. No file is downloaded."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from bench.errors import UnknownName, WeightsError
from bench.weights import compare, convert, layouts, verify
from bench.weights.listing import Published, PublishedList, published_path, read_published

ROOT = Path(__file__).parents[3]
KEYS = Path(__file__).parents[2] / "golden" / "data"
LISTED = read_published(ROOT)


def recorded(name, prefix=""):
    """Key -> shape as recorded from an official network."""
    state = json.loads((KEYS / f"keys_{name}.json").read_text())["state_dict"]
    return {key[len(prefix) :]: tuple(shape) for key, (shape, _) in state.items() if key.startswith(prefix)}


# --- layouts against official networks ---

OFFICIAL = {
    "generator": (layouts.generator(1024), ("stylegan2_g_ema", "")),
    "generator in a checkpoint": (layouts.generator(1024), ("psp", "decoder.")),
    "discriminator 256": (layouts.discriminator(256), ("stylegan2_d_256", "")),
    "discriminator 1024": (layouts.discriminator(1024), ("stylegan2_d_1024", "")),
    "fpn encoder": (layouts.fpn_encoder(1024), ("psp", "encoder.")),
    "base encoder": (layouts.fpn_encoder(1024), ("hfgi", "encoder.")),
    "backbone encoder": (layouts.backbone_encoder(1024), ("restyle_psp", "encoder.")),
    "consultation": (layouts.consultation_encoder(), ("hfgi", "residue.")),
    "aligner": (layouts.aligner(), ("hfgi", "grid_align.")),
    "arcface": (layouts.arcface_ir_se50(), ("ir_se50", "")),
    "curricularface": (layouts.curricularface_ir101(), ("curricularface", "")),
    **{f"mtcnn {n}": (layouts.mtcnn(n), (f"mtcnn_{n}net", "")) for n in "pro"},
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_layouts_are_those_of_the_official_networks(name):
    rule, source = OFFICIAL[name]
    assert rule == recorded(*source)


def test_layouts_of_torchvision_networks():
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        nets = {
            "alexnet": models.alexnet(),
            "vgg16": models.vgg16(),
            "squeezenet": models.squeezenet1_1(),
            "moco": models.resnet50(),
            "34": models.resnet34(),
        }
    shapes = {name: {k: tuple(v.shape) for k, v in net.state_dict().items()} for name, net in nets.items()}
    for name in ("alexnet", "vgg16", "squeezenet"):
        assert layouts.RULES[name]() == {k: v for k, v in shapes[name].items() if k.startswith("features.")}
    trunk = {k: v for k, v in layouts.moco_resnet50().items() if not k.startswith("fc.")}
    assert trunk == {k: v for k, v in shapes["moco"].items() if not k.startswith("fc.")}
    assert layouts.resnet34() == {k: v for k, v in shapes["34"].items() if not k.startswith("fc.")}
    blocks = iter(f"layer{s}.{b}." for s, n in enumerate((3, 4, 6, 3), 1) for b in range(n))
    names = {f"body.{i}.": block for i, block in enumerate(blocks)}
    rule = {k: v for k, v in layouts.resnet_encoder(256).items() if k.startswith("body.")}
    for ours, theirs in names.items():
        want = {k.removeprefix(theirs): v for k, v in shapes["34"].items() if k.startswith(theirs)}
        assert {k.removeprefix(ours): v for k, v in rule.items() if k.startswith(ours)} == want


@pytest.mark.parametrize(("size", "styles"), [(1024, 18), (512, 16), (256, 14), (128, 12)])
def test_sizes_and_styles(size, styles):
    assert layouts.n_styles(size) == styles and layouts.size_of_styles(styles) == size
    keys = layouts.generator(size)
    assert sum(k.startswith("noises.") for k in keys) == styles - 1
    assert verify.file_size(keys) == size == verify.file_size(layouts.fpn_encoder(size))
    assert verify.file_size(["a.weight"]) is None


def test_the_inception_layout_is_that_of_torch_fidelity():
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    class Empty(module.FeatureExtractorInceptionV3):
        def load_state_dict(self, *args, **kwargs):
            return None

    import io

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with torch.device("meta"):
        net = Empty("inception-v3-compat", ["2048"], feature_extractor_weights_path=nothing)
    assert layouts.RULES["inception_fid"]() == {k: tuple(v.shape) for k, v in net.state_dict().items()}


def test_unknown_layout():
    with pytest.raises(WeightsError, match="unknown layout 'nett'.*generator"):
        layouts.expected("nett", 8, {})
    with pytest.raises(WeightsError, match="cannot be made"):
        layouts.expected("mtcnn", None, {"net": "x"})


# --- the list ---


def test_all_files_the_paper_needs_are_listed():
    have = set(LISTED.ids)
    assert {"stylegan2_ffhq", "psp_ffhq", "e4e_ffhq", "restyle_psp_ffhq", "restyle_e4e_ffhq", "hfgi_ffhq"} <= have
    assert {"lpips_alex", "lpips_vgg", "lpips_squeeze", "inception_fid", "arcface_buffalo_l", "arcface_ir_se50",
            "curricularface", "mtcnn", "moco_v2"} <= have  # fmt: skip
    for entry in LISTED.published:
        assert entry.licence and entry.source and all(file.address and file.by_hand for file in entry.files), entry.id
        domain = LISTED.domains.get(entry.domain)
        assert domain is None or domain.resolution == entry.size, entry.id
    drives = [file.drive for entry in LISTED.published for file in entry.files if file.drive]
    assert len(drives) == len(set(drives)) == 23


def content_of(entry, opts=True):
    """A checkpoint in an entry's published layout, with shapes but no values."""
    content = {"opts": dict(entry.opts)} if opts and entry.opts else {}
    for part in entry.parts.values():
        if part.raw or part.layout in ("", "latent_avg"):
            continue
        keys = layouts.expected(part.layout, entry.size, part.args)
        held = content.setdefault(part.at, {}) if part.at else content
        held.update({part.prefix + key: torch.empty(shape, device="meta") for key, shape in keys.items()})
    if "latent_avg" in entry.parts:
        content["latent_avg"] = torch.zeros(512)
    return content


SINGLE = [e.id for e in LISTED.published if len(e.files) == 1 and all(p.layout for p in e.parts.values())]


@pytest.mark.parametrize("weights_id", SINGLE)
def test_the_published_layout_passes(weights_id):
    entry = LISTED.entry(weights_id)
    ready, notes = convert.checked(entry, entry.files[0].name, content_of(entry), "file.pt", LISTED.published)
    assert set(ready) == set(entry.parts) and not notes


def check(weights_id, content, file="file.pt"):
    entry = LISTED.entry(weights_id)
    return convert.checked(entry, entry.files[0].name, content, file, LISTED.published)


def made(weights_id, change):
    content = content_of(LISTED.entry(weights_id))
    change(content)
    return content


ENCODER = "encoder.body.3.res_layer.1.weight"
MISTAKES = {
    "missing": (lambda c: c["state_dict"].pop(ENCODER), rf"1 missing \({ENCODER}\)"),
    "unexpected": (
        lambda c: c["state_dict"].update({"encoder.extra.weight": torch.zeros(1)}),
        r"1 unexpected \(encoder.extra.weight\)",
    ),
    "shape": (
        lambda c: c["state_dict"].update({ENCODER: torch.empty(3, 4, device="meta")}),
        rf"{ENCODER} is \(3, 4\), not \(128, 64, 3, 3\)",
    ),
    "channels": (
        lambda c: c["state_dict"].update({"encoder.input_layer.0.weight": torch.empty(64, 6, 3, 3, device="meta")}),
        "its first layer takes 6 channels",
    ),
    "noise maps": (
        lambda c: [c["state_dict"].pop(f"decoder.noises.noise_{i}") for i in range(17)],
        "noise maps are missing.*17 missing.*decoder.noises.noise_0.* and 13 more",
    ),
    "one noise map": (lambda c: c["state_dict"].pop("decoder.noises.noise_3"), "1 missing .decoder.noises.noise_3"),
    "blur kernel": (lambda c: c["state_dict"].pop("decoder.convs.0.conv.blur.kernel"), "1 missing"),
    "mean code absent": (lambda c: c.pop("latent_avg"), "file.pt has no 'latent_avg'.*keys opts, state_dict"),
    "mean code": (lambda c: c.update(latent_avg=torch.zeros(18, 256)), r"latent_avg has the wrong shape.*\(18, 256\)"),
    "mean of another size": (lambda c: c.update(latent_avg=torch.zeros(16, 512)), "made for a 512 px generator"),
    "no state": (lambda c: c.pop("state_dict"), "has no 'state_dict'"),
    "no tensor": (lambda c: c["state_dict"].update({ENCODER: "text"}), "is no plain tensor; got str"),
    "another network inside": (
        lambda c: c["state_dict"].update({"residue.a": torch.zeros(1)}),
        r"holds more than 'e4e_ffhq' has.*1 unexpected keys \(residue.a\)",
    ),
    "no mean code added": (
        lambda c: c["opts"].update(start_from_latent_avg=False),
        "trained with start_from_latent_avg False, which nothing here computes; expected start_from_latent_avg True",
    ),
    "one code for all layers": (
        lambda c: c["opts"].update(learn_in_w=True),
        "trained with learn_in_w True, which nothing here computes; expected learn_in_w False",
    ),
    "other encoder": (
        lambda c: c["opts"].update(encoder_type="GradualStyleEncoder"),
        "is not 'e4e_ffhq'.*encoder_type 'GradualStyleEncoder'.*expected 'Encoder4Editing'.*one of: psp_ffhq",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_wrong_file_is_told_apart(case):
    change, message = MISTAKES[case]
    with pytest.raises(WeightsError, match=message) as error:
        check("e4e_ffhq", made("e4e_ffhq", change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("given", "wanted", "message"), [
    ("psp_ffhq", "e4e_ffhq", "one of: psp_ffhq"),
    ("restyle_e4e_ffhq", "e4e_ffhq", "one of: restyle_e4e_ffhq"),
    ("hfgi_ffhq", "e4e_ffhq", "400 unexpected keys .residue"),
    ("e4e_ffhq", "hfgi_ffhq", "holds no residue"),
    ("e4e_ffhq", "e4e_cars", r"made for a 1024 px generator \(18 codes\), not 512 px \(16 codes\).*styles.16"),
    ("e4e_church", "e4e_ffhq", r"made for a 256 px generator \(14 codes\), not 1024 px \(18 codes\)"),
    ("stylegan2_cars", "stylegan2_ffhq", "made for a 512 px generator"),
    ("stylegan2_ffhq", "e4e_ffhq", "has no 'state_dict'"),
    ("arcface_ir_se50", "curricularface", "missing.*unexpected"),
])  # fmt: skip
def test_a_file_given_under_another_id(given, wanted, message):
    with pytest.raises(WeightsError, match=message):
        check(wanted, content_of(LISTED.entry(given)))


def test_what_may_vary():
    """Mean codes of three shapes, counters absent in old files, options that do not say, more top-level keys."""
    for shape in ((512,), (1, 512), (18, 512)):
        ready, _ = check("e4e_ffhq", made("e4e_ffhq", lambda c, s=shape: c.update(latent_avg=torch.ones(s))))
        assert ready["latent_avg"][0]["latent_avg"].shape == (18, 512)

    def old(content):
        content["opts"] = {}
        content["optimizer"] = {"state": {}}
        for key in [k for k in content["state_dict"] if k.endswith("num_batches_tracked")]:
            del content["state_dict"][key]

    for opts in ({}, {"start_from_latent_avg": True, "learn_in_w": False}, {"start_from_latent_avg": 1}):
        kind = {"encoder_type": "Encoder4Editing"}
        assert check("e4e_ffhq", made("e4e_ffhq", lambda c, o={**kind, **opts}: c.update(opts=o)))[1] == []
    # ReStyle's code adds its mean code whatever the option says
    check("restyle_psp_ffhq", made("restyle_psp_ffhq", lambda c: c["opts"].update(start_from_latent_avg=False)))
    ready, notes = check("e4e_ffhq", made("e4e_ffhq", old))
    assert any("no encoder_type" in note for note in notes) and any("counters" in note for note in notes)
    assert set(ready["encoder"][0]) == set(layouts.fpn_encoder(1024))


def test_a_clean_layout_has_no_differences():
    want = layouts.aligner()
    assert not verify.compare_layout(want, want)
    assert str(verify.compare_layout({}, {"a": (1,)}, "p.")) == "1 missing (p.a)"


def test_options_are_kept_without_paths():
    entry = LISTED.entry("psp_ffhq")
    content = content_of(entry)
    content["opts"] |= {"exp_dir": "/home/someone", "start_from_latent_avg": True, "lr": 1e-4, "bad": float("nan")}
    meta = check("psp_ffhq", content)[0]["encoder"][1]
    assert meta["opts"] == {**entry.opts, "lr": 1e-4}


# --- the list's own mistakes ---

ENTRY = {"id": "a", "title": "A", "kind": "network", "licence": "MIT", "source": "https://a",
         "files": [{"name": "a.pt", "url": "https://a/a.pt"}], "parts": {"network": {"layout": "alexnet"}}}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), [
    ({"files": [{"name": "../a.pt"}]}, "name"),
    ({"files": [{"name": "a.pt", "url": "file:///etc/passwd"}]}, "url"),
    ({"parts": {"network": {"layout": "alexnet", "file": "b.pt"}}}, "not among the files"),
    ({"parts": {"network": {}}}, "needs a layout: no hash vouches"),
    ({"parts": {"network": {"raw": True, "member": "../x"}}}, "cannot be taken out"),
    ({"parts": {"../x": {"layout": "alexnet"}}}, "not a lower-case name"),
    ({"parts": {"network": {"layout": "alexnet", "compare": "b/network"}}}, "named but not listed: b"),
    ({"colour": "red"}, "colour"),
    ({"id": "A b"}, "id"),
])  # fmt: skip
def test_an_invalid_list(tmp_path, change, message):
    published_path(tmp_path).parent.mkdir()
    published_path(tmp_path).write_text(yaml.safe_dump({"published": [ENTRY | change]}))
    with pytest.raises(WeightsError, match=message) as error:
        read_published(tmp_path)
    assert "\n" not in str(error.value) and "published.yaml" in str(error.value)


def test_ids_are_unique_and_known():
    with pytest.raises(ValueError, match="listed twice: a"):
        PublishedList.model_validate({"published": [ENTRY, ENTRY]})
    with pytest.raises(UnknownName, match="did you mean 'e4e_ffhq'"):
        LISTED.entry("e4e_fhq")


# --- writing and comparing ---


def test_written_files_are_safetensors(tmp_path):
    tensors = {
        "b": torch.randn(3, 5).t(),
        "a": torch.tensor(7),
        "empty": torch.zeros(0, 2),
        "half": torch.ones(2).half(),
    }
    stamp = convert.write_safetensors(tmp_path / "x.safetensors", tensors, {"k": 1})
    back = load_file(tmp_path / "x.safetensors")
    assert set(back) == set(tensors) and torch.equal(back["b"], tensors["b"]) and back["a"] == 7
    assert back["half"].dtype == torch.float32 and back["empty"].shape == (0, 2)
    again = convert.write_safetensors(tmp_path / "y.safetensors", dict(reversed(tensors.items())), {"k": 1})
    assert stamp == again and stamp.size_bytes == (tmp_path / "x.safetensors").stat().st_size
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "y.safetensors").read_bytes()


def test_values_that_are_not_finite_are_refused_without_a_trace(tmp_path):
    with pytest.raises(WeightsError, match="'b' holds values that are not finite"):
        convert.write_safetensors(tmp_path / "x" / "n.safetensors", {"b": torch.tensor([1.0, float("inf")])}, {})
    assert not list((tmp_path / "x").iterdir())


def compared(tmp_path, change):
    tensors = {f"w{i}": torch.randn(4) for i in range(5)} | {"noise": torch.zeros(2)}
    convert.write_safetensors(tmp_path / "a.safetensors", tensors | {"latent_avg": torch.ones(1)}, {})
    other = dict(tensors)
    change(other)
    convert.write_safetensors(tmp_path / "b.safetensors", other, {})
    return compare.compare_files(tmp_path / "b.safetensors", tmp_path / "a.safetensors")


def test_comparison_is_bit_by_bit(tmp_path):
    assert compared(tmp_path, lambda t: None) == (6, [], None)
    assert compared(tmp_path, lambda t: t.update(noise=-torch.zeros(2))) == (6, ["noise"], 0.0)
    assert compared(tmp_path, lambda t: t.update(w1=t["w1"] + 0.5, w3=t["w3"] - 2))[:2] == (6, ["w1", "w3"])
    assert compared(tmp_path, lambda t: t.update(w3=t["w3"] - 2))[2] == pytest.approx(2, abs=1e-6)
    assert compared(tmp_path, lambda t: t.pop("w2")) == (6, ["w2"], None)
    assert compared(tmp_path, lambda t: t.update(w2=torch.zeros(5))) == (6, ["w2"], None)


def test_entry_size_is_known():
    assert LISTED.entry("e4e_ffhq").about_bytes == 4 * 300_327_568 and isinstance(LISTED.entry("mtcnn"), Published)
