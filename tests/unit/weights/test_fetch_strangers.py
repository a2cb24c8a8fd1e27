"""`bench fetch` with files that are not what they should be: one line, exit 2; nothing run, recorded or kept."""

import os
import pathlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bench.weights import layouts
from bench.weights.listing import read_published
from bench.weights.lock import lock_path
from bench.weights.reading import read_checkpoint

ROOT = Path(__file__).parents[3]
ENTRY = {
    "id": "own", "title": "O", "kind": "encoder", "domain": "toy", "licence": "MIT", "source": "x", "size": 32,
    "opts": {"encoder_type": "Own"}, "files": [{"name": "own.pt", "url": "https://nowhere.invalid/own.pt"}],
    "parts": {"aligner": {"at": "state_dict", "prefix": "a.", "layout": "aligner"}},
}  # fmt: skip


class Payload:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def honest():
    return {"a." + key: torch.zeros(shape) for key, shape in layouts.aligner().items()}


def write(path, kind, marker):
    """A file of the right name with code in it (or none, for ``honest``), in each format there is."""
    payload = Payload(marker)
    content = {"state_dict": honest(), "opts": {"encoder_type": "Own"}}
    hostile = {**content, "opts": payload}
    if kind in ("zip", "pre-zip"):
        torch.save(hostile, path, _use_new_zipfile_serialization=kind == "zip")
    elif kind == "bare pickle":
        path.write_bytes(pickle.dumps({"state_dict": payload}))
    elif kind == "NVIDIA network":
        path.write_bytes(b"\x80\x03cdnnlib.tflib.network\nNetwork\n" + pickle.dumps(payload)[2:])
    elif kind == "npy":
        np.save(path.with_suffix(".npy"), np.array({"a": payload}, dtype=object), allow_pickle=True)
        path.with_suffix(".npy").rename(path)
    else:
        torch.save(content, path)


@pytest.fixture()
def downloads(project, tmp_path):
    (project / "weights" / "published.yaml").write_text(yaml.safe_dump({"published": [ENTRY]}))
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads"


@pytest.mark.parametrize("kind", ["zip", "pre-zip", "bare pickle", "NVIDIA network", "npy"])
def test_code_in_a_file_is_not_run_and_nothing_of_it_is_kept(project, downloads, tmp_path, one_line_error, kind):
    marker = tmp_path / "the_payload_ran"
    write(downloads / "own.pt", kind, marker)
    before = (downloads / "own.pt").read_bytes()
    line = one_line_error("fetch", "own", "--from", downloads)
    assert "own.pt" in line and not marker.exists()
    assert ("carries code" in line) == (kind == "NVIDIA network")
    assert not lock_path(project).exists() and not list((project / "weights").glob("published/*/*"))
    assert (downloads / "own.pt").read_bytes() == before, "the user's own file was touched"


def test_the_same_file_without_code_is_taken(project, downloads, tmp_path, cli):
    """Else the test above would prove nothing."""
    write(downloads / "own.pt", "honest", tmp_path / "the_payload_ran")
    answer = cli("fetch", "own", "--from", downloads)
    assert answer.code == 0 and lock_path(project).exists(), answer.err


def test_a_file_of_another_system_says_whose_it_is(project, downloads, one_line_error):
    """Equal keys and shapes: only the options tell."""
    torch.save({"state_dict": honest(), "opts": {"encoder_type": "Other"}}, downloads / "own.pt")
    assert "encoder_type 'Other'" in one_line_error("fetch", "own", "--from", downloads)
    assert not lock_path(project).exists()


def test_every_copy_is_compared_with_what_it_was_copied_from():
    """All generators in encoder files with the domain's one, and HFGI's base encoder, trained on, with e4e's."""
    known = read_published(ROOT)
    for entry in known.published:
        for name, part in entry.parts.items():
            if name == "decoder":
                assert part.compare == f"{known.domains[entry.domain].generator}/generator", entry.id
    assert known.entry("hfgi_ffhq").parts["encoder"].compare == "e4e_ffhq/encoder"


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
@pytest.mark.parametrize("kind", ["PosixPath", "WindowsPath"])
def test_folders_in_options_are_read_whoever_wrote_them(tmp_path, monkeypatch, module, kind):
    """Python 3.13 writes another module name; training on Windows another class."""

    class Stranger:
        def __reduce__(self):
            return Named, ("runs", "ours")

    class Named:
        """Pickled by reference: the name is what counts."""

    Named.__module__, Named.__qualname__, Named.__name__ = module, kind, kind
    monkeypatch.setattr(pathlib, kind, Named)
    if module == "pathlib._local":
        import sys
        import types

        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{kind: Named}))
    torch.save({"opts": {"exp_dir": Stranger()}}, tmp_path / "a.pt")
    monkeypatch.undo()
    back = read_checkpoint(tmp_path / "a.pt")["opts"]["exp_dir"]
    assert back.parts == ("runs", "ours")
