"""Records: facts that fix numbers are stable; those of the machine name no one."""

import getpass
import hashlib
import json
import platform
import subprocess
import weakref

import pytest
import torch

import annyfaces
from bench import device
from bench.errors import BenchError
from bench.store import provenance
from bench.store.imports import Sources, package_root


def test_versions_name_what_moves_numbers():
    found = provenance.versions()
    assert found["python"] == platform.python_version() and found["torch"] == torch.__version__.split("+")[0]


def test_code_hash_sees_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("x = 1")
    one = provenance.code_sha256([tmp_path / "a.py"])
    assert one == provenance.code_sha256([tmp_path / "a.py"]) != provenance.code_sha256()
    (tmp_path / "a.py").write_text("x = 2")
    assert provenance.code_sha256([tmp_path / "a.py"]) != one


def test_code_hash_follows_imports(tmp_path):
    """A method's file, the networks it imports and the runner are in the hash of its runs; what reports is not."""
    mine = tmp_path / "mine.py"
    mine.write_text("from bench.nets import fusion\n")
    plain = tmp_path / "plain.py"
    plain.write_text("x = 1\n")
    sources = Sources(package_root())
    used = sources.closure([provenance.RUNNER, mine.as_posix()])
    assert {provenance.RUNNER, "bench/generator.py", "bench/seeds.py", "bench/nets/fusion.py"} <= used
    assert "bench/nets/fusion.py" in sources.closure([mine.as_posix()])
    assert not any(file.startswith(("bench/report/", "bench/metrics/")) for file in used)
    before = provenance.code_sha256([mine])
    mine.write_text("from bench.nets import alignment\n")
    assert provenance.code_sha256([mine]) != before


def test_code_that_is_not_there_is_refused(tmp_path, monkeypatch):
    """A hash of nothing would never go stale."""
    monkeypatch.setattr(provenance, "RUNNER", "bench/moved_away.py")
    with pytest.raises(BenchError, match="bench/moved_away.py is not there"):
        provenance.code_sha256()


def test_renderer_hash_is_of_its_files(monkeypatch, tmp_path):
    assert annyfaces.code_sha256() != hashlib.sha256(b"").hexdigest()
    names = {path.name for path in annyfaces.source_files()}
    assert {"render.py", "scene.py", "geometry.py"} <= names
    changed = tmp_path / "render.py"
    changed.write_text("x = 2\n")
    before = annyfaces.code_sha256()
    monkeypatch.setattr(annyfaces, "source_files", lambda: [changed])
    annyfaces.code_sha256.cache_clear()
    assert annyfaces.code_sha256() != before
    monkeypatch.undo()
    annyfaces.code_sha256.cache_clear()


def test_machine_is_described_without_its_name():
    text = json.dumps(provenance.machine())
    assert provenance.cpu_name() in text and platform.node() not in text.replace(provenance.cpu_name(), "")
    assert len(getpass.getuser()) < 3 or getpass.getuser() not in provenance.machine_id()
    assert provenance.machine_id() == provenance.machine_id().lower() and " " not in provenance.machine_id()


def test_git_revision(tmp_path):
    assert provenance.git_revision(tmp_path) == {"revision": None, "dirty": False}

    def git(*args):
        subprocess.run(["git", "-C", str(tmp_path), *args], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "x")
    clean = provenance.git_revision(tmp_path)
    assert len(clean["revision"]) == 40 and clean["dirty"] is False
    (tmp_path / "a").write_text("2")
    assert provenance.git_revision(tmp_path) == {**clean, "dirty": True}


def test_record_has_its_parts(tmp_path):
    found = provenance.record(tmp_path, "run", provenance.now(), 1.23456, run_id="a-b")
    assert found["seconds"] == 1.235 and found["run_id"] == "a-b"
    assert {"verb", "started", "git", "machine", "versions"} <= found.keys()
    assert found["started"].endswith("+00:00")


def test_ids_hash_sees_order():
    assert provenance.ids_sha256(["a", "b"]) != provenance.ids_sha256(["b", "a"]) != provenance.ids_sha256(["ba"])


def test_devices():
    assert device.resolve_device("cpu").type == "cpu"
    assert device.resolve_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(BenchError, match="unknown device 'tpu'"):
        device.resolve_device("tpu")


def test_cuda_computes_in_full_float32(monkeypatch):
    """torch rounds the inputs of convolutions to 10 bits by default."""
    products, networks = torch.backends.cuda.matmul, torch.backends.cudnn
    products.allow_tf32 = networks.allow_tf32 = networks.benchmark = True
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.resolve_device("cuda").type == "cuda" == device.resolve_device("auto").type
    assert not (products.allow_tf32 or networks.allow_tf32 or networks.benchmark) and networks.deterministic


def test_memory_of_a_failed_computation_is_freed():
    """A traceback holds the variables of its frames; pictures that are tried again need the room."""

    def compute():
        held = torch.zeros(3)
        kept.append(weakref.ref(held))
        raise ValueError("no")

    kept = []
    try:
        compute()
    except ValueError as error:
        assert kept[0]() is not None
        assert device.free_after(error, alone=True) is False
        assert kept[0]() is None


def test_engines_of_devices():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert device.engine_for(cpu, "processes", requested=False) == "processes"
    assert device.engine_for(cuda, "processes", requested=False) == "serial"
    assert device.engine_for(cuda, "serial", requested=True) == "serial"
    with pytest.raises(BenchError, match="does not run on cuda"):
        device.engine_for(cuda, "processes", requested=True)


def test_autocast():
    x = torch.ones(2, 2)
    with device.autocast(torch.device("cpu"), "bf16"):
        assert (x @ x).dtype == torch.bfloat16
    with device.autocast(torch.device("cpu"), "fp32"):
        assert (x @ x).dtype == torch.float32
    with pytest.raises(BenchError, match="unknown precision"):
        device.autocast(torch.device("cpu"), "fp16")
