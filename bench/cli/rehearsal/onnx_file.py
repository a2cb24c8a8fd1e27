"""An ONNX network that takes and gives what a published one does; nothing else about it is the same."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from bench.cli.rehearsal.fill import normal
from bench.errors import BenchError
from bench.weights.listing import Interface

FIELDS = 7  # means of so many fields a side go into one linear layer
OPSET, IR_VERSION = 13, 8  # old enough for any runtime of today


def network(interface: Interface, seed: int) -> bytes:
    """The serialised network: (N, C, H, W) -> (N, width), linear in the mean colours of FIELDS x FIELDS fields.

    Raises:
        BenchError: package onnx is not installed.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise BenchError("an ONNX stand-in needs package onnx", fix="pip install onnx") from None
    channels, height, width = interface.input
    kernel = [height // FIELDS, width // FIELDS]
    inputs = channels * FIELDS * FIELDS
    weight = normal("weight", (inputs, interface.output), seed) / np.sqrt(inputs)
    nodes = [
        helper.make_node("AveragePool", ["input"], ["fields"], kernel_shape=kernel, strides=kernel),
        helper.make_node("Flatten", ["fields"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "rehearsal",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *interface.input])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", interface.output])],
        [numpy_helper.from_array(weight.astype(np.float32), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model)
    return model.SerializeToString()


def write_pack(path: Path, members: dict[str, bytes]) -> None:
    """A zip archive, as such networks are published; the same bytes each time."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
