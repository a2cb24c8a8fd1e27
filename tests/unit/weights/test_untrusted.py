"""Files made by strangers: values come out, code never runs. Each payload is first shown to work when it is let."""

import argparse
import io
import os
import pathlib
import pickle
import types
import zipfile

import numpy as np
import pytest
import torch

from bench.errors import WeightsError
from bench.weights import npy
from bench.weights.reading import read_checkpoint

TENSOR = torch.arange(6.0).reshape(2, 3)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.fixture()
def marker(tmp_path):
    return tmp_path / "the_payload_ran"


def torch_zip(path, content):
    torch.save(content, path)


def torch_old(path, content):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def bare_pickle(path, content):
    path.write_bytes(pickle.dumps(content))


def npy_pickle(path, content):
    with open(path, "wb") as stream:
        np.save(stream, np.array(content, dtype=object), allow_pickle=True)


RUN = {
    torch_zip: lambda p: torch.load(p, weights_only=False),
    torch_old: lambda p: torch.load(p, weights_only=False),
    bare_pickle: lambda p: pickle.loads(p.read_bytes()),
    npy_pickle: lambda p: np.load(p, allow_pickle=True),
}
PLACES = {
    "whole file": lambda payload: payload,
    "beside tensors": lambda payload: {"state_dict": {"a": TENSOR}, "latent_avg": payload},
    "in the options": lambda payload: {"state_dict": {"a": TENSOR}, "opts": {"encoder_type": [payload]}},
    "in a namespace": lambda payload: {"opts": argparse.Namespace(a=payload)},
    "as a key": lambda payload: {"state_dict": [(payload, TENSOR)]},
}


@pytest.mark.parametrize("write", RUN, ids=lambda f: f.__name__)
@pytest.mark.parametrize("place", PLACES)
def test_a_payload_does_not_run(tmp_path, marker, write, place):
    path = tmp_path / "file.bin"
    write(path, PLACES[place](Payload(marker)))
    with pytest.raises(WeightsError) as error:
        read_checkpoint(path)
    assert not marker.exists()
    assert "\n" not in str(error.value) and "file.bin" in str(error.value)
    RUN[write](path)  # the payload is live: were it not, the test above would prove nothing
    assert marker.exists()


def test_the_error_names_what_was_asked_for(tmp_path, marker):
    torch_zip(tmp_path / "a.pt", {"x": Payload(marker)})
    with pytest.raises(WeightsError, match=r"asks for posix\.mkdir|asks for nt\.mkdir"):
        read_checkpoint(tmp_path / "a.pt")
    npy_pickle(tmp_path / "a.npy", {"x": Payload(marker)})
    with pytest.raises(WeightsError, match=r"(posix|nt)\.mkdir.*nothing in it was run"):
        read_checkpoint(tmp_path / "a.npy")


@pytest.mark.parametrize("write", [torch_zip, torch_old], ids=lambda f: f.__name__)
def test_honest_checkpoints_are_read(tmp_path, write):
    """Both formats of torch.save, with what options may hold: a namespace, numpy numbers, paths, ordered dicts."""
    content = {
        "state_dict": torch.nn.Linear(2, 3).state_dict(),
        "latent_avg": TENSOR,
        "opts": {"lr": np.float64(1e-4), "n": np.int64(3), "exp_dir": pathlib.Path("a/b"), "w": None},
        "best_val_loss": np.float32(0.5),
        "parameter": torch.nn.Parameter(TENSOR),
        "half": TENSOR.half(),
    }  # fmt: skip
    write(tmp_path / "a.pt", content)
    back = read_checkpoint(tmp_path / "a.pt")
    assert torch.equal(back["latent_avg"], TENSOR) and torch.equal(back["half"], TENSOR.half())
    assert list(back["state_dict"]) == ["weight", "bias"]
    assert back["opts"]["lr"] == 1e-4 and back["opts"]["n"] == 3 and str(back["opts"]["exp_dir"]) == "a/b"
    write(tmp_path / "b.pt", {"opts": argparse.Namespace(encoder_type="X")})
    assert read_checkpoint(tmp_path / "b.pt")["opts"].encoder_type == "X"


def test_safetensors_are_read(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": TENSOR}, tmp_path / "a.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "a.safetensors")["a"], TENSOR)


def nvidia(stream, module):
    """A pickle like NVIDIA's: an object of a class that only their code has."""
    stub = types.ModuleType(module)
    cls = type("Network", (), {"__module__": module, "__qualname__": "Network"})
    stub.Network = cls
    import sys

    sys.modules[module] = stub
    try:
        pickle.dump({"G_ema": cls()}, stream)
    finally:
        del sys.modules[module]


@pytest.mark.parametrize("module", ["dnnlib_tflib_network", "torch_utils_persistence"])
def test_nvidia_pickles_are_refused_with_what_to_use(tmp_path, module):
    with open(tmp_path / "stylegan2-ffhq-config-f.pkl", "wb") as stream:
        nvidia(stream, module)
    with pytest.raises(WeightsError, match=r"NVIDIA.*not opened.*rosinality.*stylegan2-ffhq-config-f\.pt") as error:
        read_checkpoint(tmp_path / "stylegan2-ffhq-config-f.pkl")
    assert "\n" not in str(error.value)


def damaged(path):
    torch_zip(path, {"a": torch.zeros(5000)})
    return bytearray(path.read_bytes())


def flipped(path):
    data = damaged(path)
    data[len(data) // 2] ^= 1
    return bytes(data)


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return path.read_bytes()


def torchscript(path):
    with zipfile.ZipFile(path, "w") as archive:  # what torch.jit.save writes, in outline
        for name in ("net/data.pkl", "net/constants.pkl", "net/code/__torch__.py"):
            archive.writestr(name, b"")
    return path.read_bytes()


def old_truncated(path):
    torch_old(path, {"a": torch.zeros(5000)})
    return path.read_bytes()[:-100]


WRONG = {
    "web page": (lambda p: b"\n<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>", "is a web page"),
    "empty": (lambda p: b"", "an empty file"),
    "other bytes": (lambda p: b"\x7fELF" + bytes(100), "no weight file known here; got bytes 7f 45"),
    "truncated zip": (lambda p: bytes(damaged(p)[:-2000]), "damaged or incomplete"),
    "one bit": (flipped, "wrong checksum"),
    "another zip": (other_zip, "without a checkpoint.*readme.txt"),
    "program": (torchscript, "TorchScript program; it is not run"),
    "truncated old": (old_truncated, "cannot be read as a checkpoint"),
    "list": (lambda p: (torch_zip(p, [TENSOR]), p.read_bytes())[1], "holds no dict.*got list"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_named(tmp_path, case):
    make, message = WRONG[case]
    path = tmp_path / "some.pt"
    path.write_bytes(make(path))
    with pytest.raises(WeightsError, match=message) as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value) and "some.pt" in str(error.value)


def test_missing_and_folder(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(WeightsError, match="cannot read"):
            read_checkpoint(path)


# --- .npy dicts of arrays ---


def npy_bytes(pickled):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    return stream.getvalue() + pickled


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_npy_dicts_of_every_age(tmp_path, protocol):
    arrays = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "conv.bias": np.zeros(2, np.float32)}
    arrays["by column"] = np.asfortranarray(arrays["conv.weight"])
    pickled = pickle.dumps(np.array(arrays, dtype=object), protocol)
    for data in (
        pickled,
        pickled.replace(b"numpy._core.multiarray", b"numpy.core.multiarray") if protocol < 4 else pickled,
    ):
        (tmp_path / "a.npy").write_bytes(npy_bytes(data))
        back = read_checkpoint(tmp_path / "a.npy")
        assert set(back) == set(arrays)
        assert all(np.array_equal(back[key].numpy(), value) for key, value in arrays.items())
        assert back["conv.weight"].dtype == torch.float32


class Calls:
    """Asks for one function when unpickled."""

    def __init__(self, function, *arguments):
        self.how = function, arguments

    def __reduce__(self):
        return self.how


HOSTILE = {
    "numpy.load": Calls(np.load, "x.npy"),
    "getattr": Calls(getattr, "text", "upper"),
    "eval": Calls(eval, "1"),
    "huge array": Calls(np.zeros, (1 << 40,)),
    "dict of text": {"a": "b"},
    "array of objects": {"a": np.array([{}, {}], dtype=object)},
    "list": [np.zeros(2)],
    "empty": {},
    "number as key": {1: np.zeros(2)},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_npy_refuses_all_else(tmp_path, case):
    (tmp_path / "a.npy").write_bytes(npy_bytes(pickle.dumps(HOSTILE[case])))
    with pytest.raises(WeightsError, match="dict of numeric arrays and nothing else"):
        npy.read_arrays(tmp_path / "a.npy")


def test_npy_of_plain_numbers_is_no_dict(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(WeightsError, match="no pickled dict"):
        npy.read_arrays(tmp_path / "a.npy")
