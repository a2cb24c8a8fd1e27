"""The face recognisers and the identity loss equal the official ones, and the tests can fail."""

import pytest
import torch

from bench.nets import identity
from bench.nets.identity import arcface_ir_se50, curricularface_ir101, face_crop, similarity

FAR = 50  # times the tolerance
NETWORKS = {
    "ir_se50": (arcface_ir_se50, 107, "ir_se50."),
    "curricularface": (curricularface_ir101, 108, "curricular."),
}


def filled(golden, name):
    """A recogniser with the golden weights; its layout must be the published one, order included."""
    make, seed, prefix = NETWORKS[name]
    with torch.device("meta"):
        net = make().eval().requires_grad_(False)
    shapes = golden.shapes(name)
    assert [(k, tuple(v.shape)) for k, v in net.state_dict().items()] == list(shapes.items())
    net.load_state_dict(golden.state(shapes, seed, prefix), strict=True, assign=True)
    return net


def faces(golden):
    return torch.from_numpy(golden.fill.image("arc.face", 1, 2, 112, 14)).to(golden.device)


@pytest.fixture(scope="module")
def arcface(golden):
    return filled(golden, "ir_se50")


def test_arcface(golden, arcface):
    assert golden.error("identity", "ir_se50", arcface(faces(golden))) < golden.tolerance


def test_curricularface(golden):
    net = filled(golden, "curricularface")
    assert golden.error("identity", "curricularface", net(faces(golden))) < golden.tolerance
    net.output_layer[-1].running_var += 0.1  # and it can fail
    assert golden.error("identity", "curricularface", net(faces(golden))) > FAR * golden.tolerance


def test_identity_loss(golden, arcface):
    features, other = (arcface(face_crop(golden.I(key, 2))) for key in ("arc.x", "arc.y"))
    assert golden.error("identity", "id_feats_256", features) < golden.tolerance
    alike = similarity(features, other).double()
    assert golden.error("identity", "diff_target", alike) < golden.tolerance
    assert golden.error("identity", "id_loss_y_x", (1 - alike).mean()) < golden.tolerance


def rows_and_columns_exchanged(net, patch):
    rows, columns = identity.CROP_ROWS, identity.CROP_COLUMNS
    patch.setattr(identity, "CROP_ROWS", columns)
    patch.setattr(identity, "CROP_COLUMNS", rows)


def bilinear_pooling(net, patch):
    right = identity.resize
    patch.setattr(identity, "resize", lambda x, size, how: right(x, size, "bilinear"))


def no_crop(net, patch):
    patch.setattr(identity, "CROP_ROWS", slice(None))
    patch.setattr(identity, "CROP_COLUMNS", slice(None))


def not_normalised(net, patch):
    patch.setattr(identity.F, "normalize", lambda x, dim: x)


def no_squeeze(net, patch):
    """Squeeze and excitation left out of one unit of 24."""
    patch.setattr(net.body[5].res_layer[5], "forward", lambda x: x)


def batch_statistics(net, patch):
    """The first batch norm takes the statistics of the batch."""
    patch.setattr(net.input_layer[1], "training", True)
    patch.setattr(net.input_layer[1], "momentum", 0.0)  # so that the network is not spoilt for other tests


@pytest.mark.parametrize("mistake", [rows_and_columns_exchanged, bilinear_pooling, no_crop, not_normalised, no_squeeze,
                                     batch_statistics])  # fmt: skip
def test_mistake(golden, arcface, monkeypatch, mistake):
    """Seen in the features of one picture; features do not mix pictures."""
    expected = golden.expected("identity", "id_feats_256")[:1]
    pictures = golden.I("arc.x", 2)[:1]
    mistake(arcface, monkeypatch)
    assert float((arcface(face_crop(pictures)) - expected).abs().max() / expected.abs().max()) > FAR * golden.tolerance
