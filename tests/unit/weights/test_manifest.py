"""Weight manifest and verified loading: every way a file can be wrong gives one line that names file and fix."""

import hashlib
import subprocess
import sys

import pytest
import safetensors.torch
import torch
import yaml

from bench.errors import BenchError, UnknownName, WeightsError
from bench.weights import manifest as weights

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2]), "c": torch.tensor([1 / 3])}


@pytest.fixture()
def project(tmp_path):
    """A project with one weight file."""
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "net.safetensors"
    sha256 = weights.save(path, TENSORS, {"steps": 7})
    write(tmp_path, [entry(path, sha256)], {"faces": {"generator": "net", "resolution": 32}})
    return tmp_path


def entry(path, sha256, **changes):
    size = path.stat().st_size
    return {"id": "net", "file": path.name, "sha256": sha256, "size_bytes": size, "domain": "faces",
            "kind": "generator", "licence": "MIT", "card": "net.md", **changes}  # fmt: skip


def write(root, entries, domains=None):
    weights.manifest_path(root).write_text(yaml.safe_dump({"weights": entries, "domains": domains or {}}))


def change(root, **changes):
    manifest = yaml.safe_load(weights.manifest_path(root).read_text())
    manifest["weights"][0].update(changes)
    weights.manifest_path(root).write_text(yaml.safe_dump(manifest))


def test_round_trip(project):
    tensors, meta = weights.load_with_meta(project, "net")
    assert meta == {"steps": 7} and set(tensors) == {"a", "b", "c"}
    assert tensors["a"].dtype == torch.float32 and torch.equal(tensors["a"], TENSORS["a"])
    assert torch.equal(tensors["b"], TENSORS["b"])
    assert torch.equal(tensors["c"], TENSORS["c"].half().float())  # float16 on disk
    assert all(torch.equal(a, b) for a, b in zip(weights.load(project, "net").values(), tensors.values(), strict=True))


def test_equal_tensors_give_equal_bytes(tmp_path):
    backwards = dict(reversed(TENSORS.items()))
    first = weights.save(tmp_path / "1.safetensors", TENSORS, {"a": 1, "b": 2})
    assert first == weights.save(tmp_path / "2.safetensors", backwards, {"b": 2, "a": 1})
    assert first == hashlib.sha256((tmp_path / "1.safetensors").read_bytes()).hexdigest()
    assert first != weights.save(tmp_path / "3.safetensors", TENSORS, {"a": 2})


def test_shared_memory_is_stored_twice(tmp_path):
    """safetensors refuses tensors that share memory; state dicts of tied weights do."""
    whole = torch.arange(4.0)
    weights.save(tmp_path / "x.safetensors", {"whole": whole, "part": whole[:2]}, {})
    assert torch.equal(safetensors.torch.load_file(tmp_path / "x.safetensors")["part"].float(), whole[:2])


def test_statistics_of_batch_norms_keep_their_precision(tmp_path):
    """Variances of deep networks exceed what float16 can hold."""
    state = {"norm.running_var": torch.tensor([91013.77]), "norm.weight": torch.tensor([1 / 3])}
    weights.save(tmp_path / "x.safetensors", state, {})
    found = safetensors.torch.load_file(tmp_path / "x.safetensors")
    assert torch.equal(found["norm.running_var"], state["norm.running_var"])
    assert found["norm.weight"].dtype == torch.float16


def test_values_beyond_float16_are_refused(tmp_path):
    with pytest.raises(BenchError, match="'big' cannot be stored.*half=False"):
        weights.save(tmp_path / "x.safetensors", {"big": torch.tensor([1e5])}, {})
    weights.save(tmp_path / "x.safetensors", {"big": torch.tensor([1e5])}, {}, half=False)
    with pytest.raises(BenchError, match="not finite"):
        weights.save(tmp_path / "x.safetensors", {"bad": torch.tensor([float("nan")])}, {}, half=False)


def test_wrong_hash(project):
    change(project, sha256="0" * 64)
    with pytest.raises(
        WeightsError, match=r"net\.safetensors is not the file.*got sha256 [0-9a-f]{64}.*expected 0{64}.*Fix"
    ):
        weights.load(project, "net")


def test_one_changed_bit(project):
    path = project / "weights" / "net.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="is not the file the manifest names"):
        weights.load(project, "net")


def test_truncated(project):
    path = project / "weights" / "net.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="wrong size; got [0-9]+ bytes; expected [0-9]+ bytes"):
        weights.load(project, "net")


def test_missing_file(project):
    (project / "weights" / "net.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"cannot read .*net\.safetensors.*git checkout"):
        weights.load(project, "net")


def test_right_hash_of_something_else(project):
    """A pickle under the right name and hash is not opened as one."""
    path = project / "weights" / "net.safetensors"
    torch.save(TENSORS, path)
    change(project, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), size_bytes=path.stat().st_size)
    with pytest.raises(WeightsError, match="expected a safetensors file"):
        weights.load(project, "net")


def test_unknown_id(project):
    with pytest.raises(UnknownName, match="unknown weights 'nett'.*did you mean 'net'"):
        weights.load(project, "nett")


@pytest.mark.parametrize(("changes", "message"), [
    ({"file": "../net.safetensors"}, "leaves the weights folder"),
    ({"file": "/tmp/net.safetensors"}, "leaves the weights folder"),
    ({"file": "net.pt"}, "not a .safetensors or .onnx file"),
    ({"sha256": "abc"}, "sha256"),
    ({"size_bytes": 0}, "size_bytes"),
    ({"colour": "red"}, "colour"),
])  # fmt: skip
def test_invalid_entry(project, changes, message):
    change(project, **changes)
    with pytest.raises(WeightsError, match=message) as error:
        weights.read_manifest(project)
    assert "\n" not in str(error.value) and "manifest.yaml" in str(error.value)


def test_duplicate_and_dangling_ids(project):
    one = yaml.safe_load(weights.manifest_path(project).read_text())["weights"][0]
    write(project, [one, one])
    with pytest.raises(WeightsError, match="listed twice: net"):
        weights.read_manifest(project)
    write(project, [one], {"faces": {"generator": "other", "resolution": 32}})
    with pytest.raises(WeightsError, match="not listed: other"):
        weights.read_manifest(project)


def test_not_yaml(project):
    weights.manifest_path(project).write_text("weights: [")
    with pytest.raises(WeightsError, match="is not YAML") as error:
        weights.read_manifest(project)
    assert "\n" not in str(error.value)


def test_project_without_weights(tmp_path):
    assert weights.read_manifest(tmp_path).weights == []
    with pytest.raises(WeightsError, match=r"no generator for domain 'faces'.*\(none\)"):
        weights.needed(tmp_path, "faces", {})


def test_what_a_method_needs(project):
    path = project / "weights" / "net.safetensors"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    write(project, [entry(path, sha256), entry(path, sha256, id="encoder")],
          {"faces": {"generator": "net", "resolution": 32}})  # fmt: skip
    assert weights.needed(project, "faces", {}) == {"net": sha256}
    assert list(weights.needed(project, "faces", {"faces": "encoder", "cars": "other"})) == ["net", "encoder"]
    with pytest.raises(WeightsError, match="no generator for domain 'cars'.*one of: faces"):
        weights.needed(project, "cars", {"cars": "encoder"})


@pytest.fixture()
def three(project):
    """A project with a generator and two more weights, and the hashes of all."""
    path = project / "weights" / "net.safetensors"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    entries = [entry(path, sha256)]
    for n, name in enumerate(("encoder", "base"), start=1):
        other = path.with_name(f"{name}.safetensors")
        digest = weights.save(other, {"a": torch.tensor([float(n)])}, {})
        entries.append(entry(other, digest, id=name))
    write(project, entries, {"faces": {"generator": "net", "resolution": 32}})
    return project, {e["id"]: e["sha256"] for e in entries}


def test_several_weights_are_all_recorded(three):
    """Each counts with its own hash, once, in the order they are named."""
    root, hashes = three
    assert len(set(hashes.values())) == 3
    found = weights.needed(root, "faces", {"faces": ["encoder", "base", "encoder", "net"]})
    assert found == hashes and list(found) == ["net", "encoder", "base"]
    assert weights.needed(root, "faces", {"faces": ("base",)}) == {k: hashes[k] for k in ("net", "base")}
    with pytest.raises(UnknownName, match="unknown weights 'bse'.*did you mean 'base'"):
        weights.needed(root, "faces", {"faces": ["encoder", "bse"]})


def test_weights_an_option_chooses_are_recorded(three):
    root, hashes = three
    options = {"base_weights": "base", "other_weights": "", "loss_weight": 0.5, "weights_of": "nothing"}
    assert weights.needed(root, "faces", {"faces": "encoder"}, options) == hashes
    assert list(weights.needed(root, "faces", {}, options)) == ["net", "base"]
    with pytest.raises(UnknownName, match="unknown weights 'bse'"):
        weights.needed(root, "faces", {}, {"base_weights": "bse"})


@pytest.mark.parametrize("given", [7, ["encoder", 7], [""], "", {"encoder": "base"}, None])
def test_weights_that_are_not_named(three, given):
    with pytest.raises(WeightsError, match="weights for domain 'faces' are not named.*expected an id or a list of ids"):
        weights.needed(three[0], "faces", {"faces": given})


def test_reading_the_manifest_imports_no_torch():
    code = (
        "import sys; from bench.weights import manifest; manifest.read_manifest('.'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
