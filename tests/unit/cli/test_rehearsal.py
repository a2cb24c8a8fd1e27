"""The rehearsal: its rule against that of the golden vectors, files in the published layouts, and the whole way."""

import importlib.util
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from bench.cli.rehearsal import files, marking
from bench.cli.rehearsal.fill import fill, normal
from bench.cli.rehearsal.project import MARKER, without_hashes
from bench.errors import BenchError
from bench.weights import layouts
from bench.weights.listing import Part, read_published
from bench.weights.lock import present, read_lock
from bench.weights.reading import read_checkpoint

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "data"
LISTED = read_published(ROOT)


@pytest.fixture(scope="module")
def golden():
    """The rule as it came with the golden vectors."""
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the rule ---

PARTS = {  # layout, prefix: one of each kind of tensor; the largest are left out
    "aligner": (layouts.aligner(), "grid_align."),
    "consultation": (layouts.consultation_encoder(), "residue."),
    "generator": (layouts.generator(16), "decoder."),
    "mean": (layouts.latent_avg(1024), ""),
    "encoder": (layouts.backbone_encoder(8), "encoder."),
}


@pytest.mark.parametrize("name", PARTS)
def test_the_rule_is_that_of_the_golden_vectors(golden, name):
    layout, prefix = PARTS[name]
    small = {k: s for k, s in layout.items() if np.prod(s) < 400_000 or name in ("aligner", "mean")}
    ours, theirs = fill(small, 105, prefix), golden.fill(small, 105, prefix)
    assert list(ours) == list(theirs)
    for key in small:
        assert ours[key].dtype == theirs[key].dtype and np.array_equal(ours[key], theirs[key]), key


def test_each_tensor_is_its_own():
    a, b, c = normal("a", (5,), 1), normal("b", (5,), 1), normal("a", (5,), 2)
    assert not np.allclose(a, b) and not np.allclose(a, c)
    assert np.array_equal(normal("a", (3,), 1), a[:3])
    many = normal("many", (100_000,), 0)
    assert abs(many.mean()) < 0.02 and abs(many.std() - 1) < 0.02 and np.abs(many).max() <= 3.47


def test_seeds_are_those_the_vectors_were_recorded_with():
    seeds = {e.id: {n: files.seed_of(e, p) for n, p in e.parts.items()} for e in LISTED.published if e.size}
    assert seeds["hfgi_ffhq"] == {"encoder": 102, "decoder": 100, "residue": 105, "grid_align": 106, "latent_avg": 112}
    assert [seeds[i]["encoder"] for i in ("psp_ffhq", "e4e_ffhq", "restyle_psp_ffhq", "restyle_e4e_ffhq")] == [
        101, 102, 103, 104,
    ]  # fmt: skip
    assert seeds["restyle_psp_cars"]["encoder"] >= files.FIRST_FREE_SEED
    assert seeds["restyle_psp_cars"]["encoder"] != seeds["restyle_e4e_cars"]["encoder"]


def test_copies_of_the_generator_are_equal():
    """Under whatever section and prefix a file keeps them."""
    tiny = {"size": 8}
    shared = LISTED.entry("stylegan2_ffhq").model_copy(update=tiny)
    copy = LISTED.entry("psp_ffhq").model_copy(update=tiny)
    one = files.part_arrays(shared, shared.parts["generator"])
    other = files.part_arrays(copy, copy.parts["decoder"])
    assert list(one) == list(other) and all(np.array_equal(one[k], other[k]) for k in one)


def sealed(pack):
    """A pack of which nothing is known."""
    return pack.model_copy(update={"id": "sealed_pack", "parts": {"net": Part(raw=True, member="net.onnx")}})


def test_a_network_kept_unread_has_a_stand_in_with_its_interface(tmp_path):
    """Through the library that runs the real one."""
    from bench.measures.faces import recogniser

    entry = LISTED.entry("arcface_buffalo_l")
    path = files.write_file(entry, entry.files[0], tmp_path)
    again = files.write_file(entry, entry.files[0], tmp_path / "again")
    assert path.name == "buffalo_l.zip" and path.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(path) as archive:
        archive.extract("w600k_r50.onnx", tmp_path)
    faces = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
    features = recogniser(tmp_path / "w600k_r50.onnx")(list(faces))
    assert features.shape == (2, 512) and not np.allclose(features[0], features[1])


def test_what_cannot_be_stood_in_for():
    reasons = {e.id: files.can_stand_in(e) for e in LISTED.published}
    assert reasons["hfgi_ffhq"] is None and reasons["mtcnn"] is None
    assert not any(reasons.values()), "every published file has a stand-in"
    pack = LISTED.entry("arcface_buffalo_l")
    assert "unread" in files.can_stand_in(sealed(pack))
    entry = LISTED.entry("inception_fid")
    bare = entry.model_copy(update={"parts": {"network": Part()}})
    assert "not known" in files.can_stand_in(bare)


def test_a_file_has_the_keys_and_sections_of_the_published_one(tmp_path):
    """HFGI's own two networks, whose key list was recorded from the official code, without the large parts."""
    entry = LISTED.entry("hfgi_ffhq")
    own = {name: entry.parts[name] for name in ("residue", "grid_align", "latent_avg")}
    entry = entry.model_copy(update={"parts": own})
    content = read_checkpoint(files.write_file(entry, entry.files[0], tmp_path))
    assert list(content) == ["state_dict", "latent_avg", "opts"]
    assert content["opts"]["encoder_type"] == "Encoder4Editing" and content["opts"]["device"] == "cuda:0"
    recorded = json.loads((GOLDEN / "keys_hfgi.json").read_text())["state_dict"]
    wanted = {k: tuple(s) for k, (s, _) in recorded.items() if k.startswith(("residue.", "grid_align."))}
    assert {k: tuple(v.shape) for k, v in content["state_dict"].items()} == wanted
    assert tuple(content["latent_avg"].shape) == (18, 512)


def test_detector_files_are_pickled_dicts_as_published(tmp_path):
    """The other kind of file there is; reading one is not reading a checkpoint."""
    entry = LISTED.entry("mtcnn")
    path = files.write_file(entry, entry.files[0], tmp_path)
    assert path.name == "pnet.npy" and path.read_bytes().startswith(b"\x93NUMPY")
    shapes = {k: tuple(v.shape) for k, v in read_checkpoint(path).items()}
    assert shapes == layouts.mtcnn("p")


def test_hashes_of_real_files_do_not_bind_stand_ins():
    entry = LISTED.entry("hfgi_ffhq")
    bound = entry.files[0].model_copy(update={"sha256": "0" * 64, "size_bytes": 7})
    known = LISTED.model_copy(update={"published": [entry.model_copy(update={"files": [bound]})]})
    assert without_hashes(known, ["hfgi_ffhq"]).published[0].files[0].sha256 == ""
    assert without_hashes(known, []).published[0].files[0].sha256 == "0" * 64


# --- marks ---


def test_every_kind_of_report_is_marked(tmp_path):
    black = np.zeros((50, 600, 4), np.uint8)
    black[..., 3] = 255
    Image.fromarray(black).save(tmp_path / "grid.png")
    (tmp_path / "table.md").write_text("# Table 1\n\n## Inversion\n| a |\n")
    (tmp_path / "table.tex").write_text("\\begin{table}\n\\caption{Means.}\n\\end{table}\n")
    (tmp_path / "plot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>\n')
    (tmp_path / "data.json").write_text("{}")
    assert len(marking.mark_reports(tmp_path)) == 4
    assert (tmp_path / "table.md").read_text().count(marking.MARK) == 2
    assert f"\\caption{{\\textbf{{{marking.MARK}.}} Means.}}" in (tmp_path / "table.tex").read_text()
    assert (tmp_path / "plot.svg").read_text().endswith(f"{marking.MARK}</text></svg>\n")
    picture = np.asarray(Image.open(tmp_path / "grid.png"))
    assert picture.shape[0] > 50 and (picture[:3] == marking.BAND).all() and not picture[-50:].any()
    assert (picture[:-50] == 255).all(-1).any(), "the band carries no letters"
    assert not [p for p in marking.mark_reports(tmp_path) if p.suffix != ".png"], "marked twice"


# --- the whole way, at 32 px ---

OWN_METHOD = """
from bench import api
class Method(api.Method):
    '''The mean code of its weights, which hold an aligner beside it.'''
    title, source = "Own", "test"
    weights = {"faces": ["own_aligner"]}
    def setup(self):
        state = self.context.load_weights("own_aligner")
        assert any(key.startswith("grid_align.") for key in state)
        self.mean = state["latent_avg"]
    def embed(self, x):
        return api.Inversion(self.mean.expand(len(x), -1, -1).clone())
"""
OWN_METRIC = """
from bench import api
class Metric(api.PairMetric):
    '''Mean absolute error; it says that it needs weights, and which.'''
    title, source, weights = "Net", "test", ("WEIGHTS",)
    def __call__(self, x, x_hat):
        x, x_hat = self.pair(x, x_hat)
        return (x - x_hat).abs().mean((1, 2, 3))
"""
DOMAIN = {"faces": {"generator": "small_generator", "resolution": 32}}


def small_list():
    """A generator of 32 px with the layout of the published one, and weights of the form of HFGI's."""
    generator = LISTED.entry("stylegan2_ffhq").model_copy(update={"id": "small_generator", "size": 32})
    mean = {"latent_avg": Part(at="latent_avg", layout="latent_avg")}
    own = LISTED.entry("hfgi_ffhq")
    parts = {"grid_align": own.parts["grid_align"], **mean}
    own = own.model_copy(update={"id": "own_aligner", "size": 32, "parts": parts})
    measured = (LISTED.entry("lpips_alex"), sealed(LISTED.entry("arcface_buffalo_l")))
    published = [e.model_dump(mode="json", exclude_defaults=True) for e in (generator, own, *measured)]
    return {"domains": DOMAIN, "published": published}


@pytest.fixture()
def real(project):
    """A project with published weights of a domain, none of which has been fetched."""
    (project / "weights" / "published.yaml").write_text(yaml.safe_dump(small_list()))
    (project / "methods" / "own.py").write_text(OWN_METHOD)
    (project / "metrics").mkdir()
    (project / "metrics" / "net.py").write_text(OWN_METRIC.replace("WEIGHTS", "lpips_alex"))
    (project / "metrics" / "sealed.py").write_text(OWN_METRIC.replace("WEIGHTS", "sealed_pack"))
    profile = yaml.safe_load((project / "profiles" / "toy.yaml").read_text())
    profile["metrics"] += ["net", "sealed"]
    (project / "profiles" / "toy.yaml").write_text(yaml.safe_dump(profile))
    return project


def rehearse(cli, *more):
    return cli(
        "rehearse", "--profile", "toy", "--into", "../rehearsal", "--method", "own", "--method", "toy_copy", *more
    )


def test_from_files_to_the_table(real, cli):
    before = {p: p.read_bytes() for p in real.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    answer = rehearse(cli)
    assert answer.code == 0, answer.err
    after = {p: p.read_bytes() for p in real.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert after == before, "the project itself was changed"
    folder = real.parent / "rehearsal"
    table = (folder / "reports" / "tables" / "table1.md").read_text()
    assert marking.MARK in table and "| Own" in table and "protocol `rehearsal-toy32`" in table
    assert marking.MARK in (folder / "reports" / "index.md").read_text()
    assert "rehearsal-toy32" in (folder / "results" / "summary.csv").read_text()
    run = json.loads((folder / "results/runs/rehearsal/own/rehearsal/run.json").read_text())
    assert sorted(run["weights"]) == ["own_aligner", "small_generator"]
    summary = pd.read_csv(folder / "results" / "summary.csv")
    assert set(summary.metric) == {"mae", "psnr", "rate", "net"}, "metrics whose weights can be filled, and no others"
    assert "sealed was left out: sealed_pack: kept as published, unread" in answer.err
    assert present(folder, read_lock(folder)["lpips_alex"]), "the metric's weights were not filled"
    timings = {p.stem for p in folder.glob("results/timing/rehearsal/*/*/*.json")}
    assert timings == {"own-rehearsal", "toy_copy-rehearsal"}
    steps = json.loads((folder / "steps.json").read_text())["steps"]
    assert {"run: own", "score: own", "time: own"} < {s["step"] for s in steps} and steps[-1]["peak_gib"] > 0.1
    assert all(0 <= s["cpu_s"] for s in steps) and sum(s["cpu_s"] for s in steps) > 0.1
    assert run["n"] == 2 and not run["failures"]
    assert not list((folder / "published_files").iterdir()), "originals take up space"
    assert "peak memory" in answer.err and "run: own" in answer.err and answer.out.count("table1") == 2
    (real / "methods" / "own.py").write_text(OWN_METHOD.replace("clone()", "clone() * 0.5"))
    again = rehearse(cli)
    assert again.code == 0 and "own_aligner: already here" in again.err
    changed = json.loads((folder / "results/runs/rehearsal/own/rehearsal/run.json").read_text())
    assert changed["config_hash"] != run["config_hash"], "a run of older code was kept"


@pytest.mark.parametrize(
    ("prepare", "words", "message"),
    [
        (None, ("--domain", "cars"), "domain 'cars' has no published generator; expected one of: faces"),
        (None, ("--images", "0"), "--images"),
        (None, ("--profile", "papr"), "unknown profile 'papr'"),
        (None, ("--method", "onw"), "did you mean 'own'"),
        (None, ("--into", "."), "a rehearsal needs a folder of its own"),
        ("foreign", (), "holds something else than a rehearsal"),
        ("other", (), "holds a rehearsal of other settings"),
    ],
)
def test_what_is_refused(real, cli, one_line_error, prepare, words, message):
    folder = real.parent / "rehearsal"
    if prepare:
        folder.mkdir()
        (folder / ("thesis.txt" if prepare == "foreign" else MARKER)).write_text("mine")
    args = ["--profile", "toy", "--into", "../rehearsal", *words]
    assert message in one_line_error("rehearse", *args)
    assert not (folder / "weights").exists()


def test_methods_that_cannot_take_part_are_named(real):
    from bench.api import DatasetInfo
    from bench.cli.rehearsal.run import able
    from bench.config.project import load_config

    source = OWN_METHOD.replace("own_aligner", "nowhere")
    (real / "methods" / "lost.py").write_text(source)
    known = read_published(real)
    chosen, left_out = able(load_config(real), DatasetInfo("r", "faces", 32, 2), known, ["own", "lost"])
    assert chosen == ["own"] and left_out == {"lost": "nowhere is no published file"}
    with pytest.raises(BenchError, match="no method can take part.*lost: nowhere"):
        able(load_config(real), DatasetInfo("r", "faces", 32, 2), known, ["lost"])
