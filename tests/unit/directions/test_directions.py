"""Directions: the two rules of editing, published files, the ways to find them where the truth is known."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from bench.directions import files
from bench.directions.direction import Direction
from bench.directions.finders import ganspace, interfacegan, sefa
from bench.directions.learning import DirectionRequest, Recipe, Request, way, ways
from bench.directions.published import read_pt
from bench.directions.samples import Samples, effects, labelled
from bench.errors import BenchError, DataError, ShapeError, UnknownName
from bench.generator import SharedGenerator
from bench.weights.manifest import WeightManifest

L, D = 6, 16


@pytest.fixture(scope="module")
def toy():
    return SharedGenerator.toy(16, style_dim=D)


def codes(count=3):
    return torch.randn(count, L, D, generator=torch.Generator().manual_seed(0))


def unit(index):
    return torch.eye(D)[index]


# --- rules


def test_adding_moves_all_rows_or_those_chosen():
    w = codes()
    moved = Direction("d", unit(2)).apply(w, 1.5)
    assert torch.allclose(moved - w, 1.5 * unit(2).expand_as(w))
    part = Direction("d", unit(2), rows=(1, 3)).apply(w, 1.5)
    assert torch.equal(part[:, [0, 3, 4, 5]], w[:, [0, 3, 4, 5]]) and torch.equal(part[:, 1:3], moved[:, 1:3])


def test_a_direction_of_all_rows_moves_each_along_its_own():
    w, own = codes(), torch.randn(L, D)
    assert torch.allclose(
        Direction("d", own, rows=(2, 4)).apply(w, 2.0)[:, 2:4] - w[:, 2:4], 2 * own[2:4].expand(3, 2, D)
    )


def test_degree_zero_adds_nothing_and_the_input_is_left_alone():
    w = codes()
    kept = w.clone()
    assert torch.equal(Direction("d", unit(0)).apply(w, 0.0), w)
    Direction("d", unit(0)).apply(w, 3.0)
    assert torch.equal(w, kept)


def test_setting_a_coordinate_is_read_from_row_0_and_written_to_the_rows():
    w, mean = codes(), torch.randn(D)
    moved = Direction("d", unit(4), "set", (0, 2), mean, 2.5).apply(w, -3.0)
    assert torch.allclose((moved[:, 0] - mean) @ unit(4) / 2.5, torch.full((3,), -3.0), atol=1e-5)
    shift = moved[:, 0] - w[:, 0]
    assert torch.allclose(moved[:, 1] - w[:, 1], shift, atol=1e-6)  # row 1 moves by row 0's difference
    assert torch.equal(moved[:, 2:], w[:, 2:])
    again = Direction("d", unit(4), "set", (0, 2), mean, 2.5).apply(moved, -3.0)
    assert torch.allclose(again, moved, atol=1e-5)  # it sets, it does not add


@pytest.mark.parametrize("vector", [torch.ones(D + 1), torch.ones(L + 1, D)])
def test_a_direction_of_another_space_is_refused(vector):
    with pytest.raises(ShapeError, match="another space"):
        Direction("d", vector).apply(codes(), 1.0)


def test_rows_and_degrees_that_cannot_be_are_refused():
    with pytest.raises(BenchError, match="rows the code does not have"):
        Direction("d", unit(0), rows=(4, 9)).apply(codes(), 1.0)
    with pytest.raises(BenchError, match="degree nan"):
        Direction("d", unit(0)).apply(codes(), float("nan"))
    with pytest.raises(BenchError, match="cannot set"):
        Direction("d", unit(0), "set")


# --- published files


@pytest.fixture
def published(tmp_path):
    """Files in the layouts that HFGI, e4e and ReStyle publish, 512 wide."""
    torch.manual_seed(3)
    age = torch.nn.functional.normalize(torch.randn(1, 512), dim=1)
    torch.save(age, tmp_path / "age.pt")
    torch.save(age[:, None].repeat(1, 18, 1), tmp_path / "pose.pt")
    comp = torch.linalg.qr(torch.randn(512, 80))[0].T[:, None].contiguous()
    pca = {"mean": torch.randn(1, 512), "comp": comp, "std": torch.linspace(2.86, 0.4, 80)}
    torch.save(pca, tmp_path / "ffhq_pca.pt")
    return tmp_path


def test_published_vectors_move_all_18_rows(published):
    w = torch.randn(2, 18, 512)
    age = torch.load(published / "age.pt", weights_only=True)
    for name in ("age.pt", "pose.pt"):
        assert torch.allclose(read_pt(published / name).apply(w, -2.0), w - 2 * age, atol=1e-6)


@pytest.mark.parametrize(("pick", "index", "rows"), [("54:7:8", 54, (7, 8)), ("lip", 34, (10, 11)), ("3", 3, (0, 18))])
def test_published_components_set_the_coordinate(published, pick, index, rows):
    w = torch.randn(2, 18, 512)
    held = torch.load(published / "ffhq_pca.pt", weights_only=True)
    v, std = held["comp"][index, 0], held["std"][index]
    c = ((w[:, 0] - held["mean"]) * v).sum(1) / std
    expected = w.clone()
    expected[:, rows[0] : rows[1]] += ((20 - c) * std)[:, None, None] * v
    assert torch.allclose(read_pt(published / "ffhq_pca.pt", pick).apply(w, 20.0), expected, atol=1e-4)


def test_published_files_that_cannot_be_used_say_why(published):
    torch.save({"boundary": torch.ones(3)}, published / "other.pt")
    torch.save(torch.ones(512), published / "flat.pt")
    (published / "broken.pt").write_bytes(b"not a file of torch")
    with pytest.raises(DataError, match="unknown layout; got keys boundary"):
        read_pt(published / "other.pt")
    with pytest.raises(DataError, match="unknown layout"):
        read_pt(published / "flat.pt")
    with pytest.raises(DataError, match="cannot be read"):
        read_pt(published / "broken.pt")
    with pytest.raises(DataError, match="no direction file"):
        read_pt(published / "smile.pt")
    with pytest.raises(BenchError, match="no component 80"):
        read_pt(published / "ffhq_pca.pt", "80")
    with pytest.raises(UnknownName, match="did you mean 'eyes'"):
        read_pt(published / "ffhq_pca.pt", "eye")
    with pytest.raises(BenchError, match="holds one direction"):
        read_pt(published / "age.pt", "3")


def test_a_file_with_code_in_it_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("ran",)

    torch.save(Trap(), tmp_path / "evil.pt")
    with pytest.raises(DataError, match="cannot be read"):
        read_pt(tmp_path / "evil.pt")


# --- ways to find them


def drawn(count=600):
    w = torch.randn(count, D, generator=torch.Generator().manual_seed(1))
    noise = np.random.default_rng(0).normal(0, 0.2, (2, count))
    labels = {"a": w[:, 0].numpy() + noise[0], "b": (w[:, 0] + w[:, 1]).numpy() + noise[1]}
    return Samples(w, labels)


def request_for(toy, samples, **recipe):
    return Request(toy, samples, Recipe(**recipe))


def test_interfacegan_finds_what_the_label_depends_on(toy):
    asked = {
        "a": DirectionRequest(attribute="a"),
        "b": DirectionRequest(attribute="b"),
        "b_alone": DirectionRequest(attribute="b", given=["a"]),
    }
    learned = interfacegan.learn(request_for(toy, drawn(), labelled=asked))
    a, b, alone = (torch.nn.functional.normalize(d.vector, dim=0) for d in learned.directions)
    assert a[0] > 0.97 and learned.measured["a"]["accuracy"] > 0.97
    assert abs(b[0] - b[1]) < 0.15 and b[:2].norm() > 0.95
    assert abs(float(alone @ a)) < 1e-5 and alone[1] > 0.9  # nothing along the condition is left
    assert learned.measured["b_alone"]["kept"] < 0.9 < learned.measured["a"]["rank_corr"]


def test_interfacegan_does_no_better_than_chance_on_labels_of_nothing(toy):
    samples = drawn()
    shuffled = Samples(samples.latents, {"a": np.random.default_rng(5).permutation(samples.labels["a"])})
    learned = interfacegan.learn(request_for(toy, shuffled, labelled={"a": DirectionRequest(attribute="a")}))
    assert learned.measured["a"]["accuracy"] < 0.65


def test_recipes_are_checked_against_the_judge(toy):
    with pytest.raises(UnknownName, match="attribute of the judge 'c'"):
        interfacegan.learn(request_for(toy, drawn(), labelled={"c": DirectionRequest(attribute="c")}))
    with pytest.raises(UnknownName, match="given"):
        interfacegan.learn(request_for(toy, drawn(), labelled={"a": DirectionRequest(attribute="a", given=["x"])}))
    with pytest.raises(BenchError, match="no labelled directions"):
        interfacegan.learn(request_for(toy, drawn()))
    with pytest.raises(BenchError, match="vanishes"):
        interfacegan.conditional(unit(0), [unit(0)])


def test_ganspace_orders_orthonormal_components_by_variance(toy):
    spread = torch.linspace(4, 0.5, D)
    w = torch.randn(2000, D, generator=torch.Generator().manual_seed(2)) * spread + 7
    mean, comp, std, share = ganspace.components(w, 5)
    assert torch.allclose(comp @ comp.T, torch.eye(5), atol=1e-5) and (std[:-1] >= std[1:]).all()
    assert torch.allclose(std, spread[:5], rtol=0.1) and torch.allclose(mean, w.mean(0), atol=1e-4)
    assert (comp[range(5), comp.abs().argmax(1)] > 0).all() and 0 < share.sum() < 1
    learned = ganspace.learn(request_for(toy, Samples(w, {}), components=3))
    moved = learned.directions[1].apply(codes(), 2.0)
    assert torch.allclose(((moved[:, 0] - mean) @ comp[1]) / std[1], torch.full((3,), 2.0), atol=1e-4)


def test_sefa_maximises_the_change_of_styles(toy):
    values, vectors = sefa.factorise(toy.net, [1, 2])
    joined = torch.cat([toy.net.convs[i].conv.modulation.weight.T for i in (0, 1)], 1)
    joined = joined / joined.norm(dim=0)
    change = (vectors @ joined).square().sum(1)
    assert torch.allclose(change, values, atol=1e-4) and (values[:-1] >= values[1:]).all()
    random = torch.nn.functional.normalize(torch.randn(200, D), dim=1)
    assert ((random @ joined).square().sum(1) <= values[0] + 1e-4).all()
    learned = sefa.learn(request_for(toy, drawn(), groups={"low": (0, 3)}, per_group=2))
    assert [d.name for d in learned.directions] == ["low_0", "low_1"] and learned.directions[0].rows == (0, 3)


def test_ways_are_found_by_their_files():
    assert {"interfacegan", "ganspace", "sefa"} <= set(ways())
    for name in ways():
        assert isinstance(way(name).NEEDS_LABELS, bool) and way(name).TITLE
    with pytest.raises(UnknownName, match="did you mean 'interfacegan'"):
        way("interfacegann")


# --- samples


def brightness(pictures):
    return {"bright": pictures.mean((1, 2, 3)), "red": pictures[:, 0].mean((1, 2))}


def test_samples_are_judged_once_and_kept(toy, tmp_path):
    asked = []

    def read(pictures):
        asked.append(len(pictures))
        return brightness(pictures)

    first = labelled(toy, read, 20, 0, tmp_path)
    count = len(asked)
    second = labelled(toy, read, 20, 0, tmp_path)
    assert len(asked) == count == 2
    np.testing.assert_array_equal(first.labels["bright"], second.labels["bright"])
    with torch.no_grad():
        alone = brightness(toy.synthesize(toy.sample_w(20, 0)[7:8]))["bright"]
    assert abs(first.labels["bright"][7] - float(alone)) < 1e-5


def test_effects_are_zero_for_no_direction_and_odd_in_the_direction(toy):
    w = toy.sample_w(4, 1)
    there, back, none = Direction("x", unit(0)), Direction("y", -unit(0)), Direction("z", 0 * unit(0))
    table, errors = effects(toy, brightness, [there, back, none], w, {"bright": 1.0, "red": 2.0})
    assert table["x"]["bright"] == pytest.approx(-table["y"]["bright"], abs=2e-4)
    assert table["z"] == errors["z"] == {"bright": 0.0, "red": 0.0}
    assert errors["x"] == pytest.approx(errors["y"], abs=2e-4) and 0 < errors["x"]["bright"]
    twice, smaller = effects(toy, brightness, [there], torch.cat([w] * 4), {"bright": 1.0})
    assert twice["x"]["bright"] == pytest.approx(table["x"]["bright"], abs=2e-4)
    assert smaller["x"]["bright"] == pytest.approx(errors["x"]["bright"] * (3 / 15) ** 0.5, rel=0.05, abs=2e-4)


# --- sets


@pytest.fixture
def committed(tmp_path):
    """A project with one set of two directions."""
    path = tmp_path / "weights" / "directions" / "toy_x.safetensors"
    path.parent.mkdir(parents=True)
    made = [Direction("smile", unit(0)), Direction("pc00", unit(1), "set", (1, 2), torch.ones(D), 0.5)]
    digest = files.write_set(path, made, {"method": "x"})
    entry = {"id": "toy_x", "file": "directions/toy_x.safetensors", "sha256": digest, "kind": "directions"}
    entry |= {"size_bytes": path.stat().st_size, "domain": "toy", "licence": "MIT"}
    (tmp_path / "weights" / "manifest.yaml").write_text(WeightManifest(weights=[entry]).model_dump_json())
    return tmp_path, made


def test_a_set_comes_back_as_it_was(committed):
    root, made = committed
    w = codes()
    for one in made:
        for name in (one.name, f"toy_x/{one.name}"):
            back = files.find(root, "toy", name)
            assert torch.equal(back.apply(w, 1.2), one.apply(w, 1.2)) and back.about["weights"] == "toy_x"


def test_unknown_directions_are_named_with_the_nearest(committed):
    root, _ = committed
    with pytest.raises(UnknownName, match="did you mean 'smile'"):
        files.find(root, "toy", "smle")
    with pytest.raises(BenchError, match="has no directions"):
        files.find(root, "elsewhere", "smile")


def test_directions_are_listed_without_torch(cli, project):
    """Names, what they move and how; many of a set are one line of the table; a damaged set is named."""
    import json

    path = project / "weights" / "directions" / "toy_many.safetensors"
    path.parent.mkdir()
    made = [Direction(f"pc{n:02d}", unit(1), "set", (1, 2), torch.ones(D), 0.5) for n in range(25)]
    made.append(Direction("smile", unit(0), about={"attribute": "smile_size"}))
    entry = {"id": "toy_many", "file": "directions/toy_many.safetensors", "sha256": files.write_set(path, made, {})}
    entry |= {"size_bytes": path.stat().st_size, "domain": "toy", "kind": "directions", "licence": "none"}
    manifest = project / "weights" / "manifest.yaml"
    listed = yaml.safe_load(manifest.read_text())
    manifest.write_text(yaml.safe_dump({**listed, "weights": [*listed["weights"], entry]}))
    rows = json.loads(cli("ls", "directions", "--json").out)["directions"]
    assert [row["id"] for row in rows] == [*(f"pc{n:02d}" for n in range(25)), "smile"]
    head = {"set": "toy_many", "domain": "toy", "error": ""}
    assert rows[-1] == {"id": "smile", **head, "attribute": "smile_size", "rule": "add", "rows": []}
    assert rows[0] == {"id": "pc00", **head, "attribute": "", "rule": "set", "rows": [1, 2]}
    out = cli("ls", "directions").out
    assert "directions (26)" in out and "pc00 ... smile" in out and "pc07" not in out
    code = "import sys; from bench.cli.app import run_cli; run_cli(['ls', 'directions']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project, timeout=120)
    assert done.stdout.endswith("False\n"), done.stderr
    path.write_bytes(b"torn")
    answer = cli("ls", "directions")
    assert answer.code == 0 and "! toy_many:" in answer.out and "is no safetensors file" in answer.out
