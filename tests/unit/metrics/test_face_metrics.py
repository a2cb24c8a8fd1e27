"""Identity metrics: insightface's own class on an ONNX file, fixed alignment, the cascade's parts, faces not found."""

import numpy as np
import pytest
import torch

pytest.importorskip("insightface", reason="pip install 'hfgi-bench[face]'")

from pathlib import Path

from bench import api, registry
from bench.errors import WeightsError
from bench.files import read_rgb
from bench.measures import faces
from bench.metrics import id_annyface, id_arcface, id_curricular
from bench.nets import mtcnn
from bench.scoring.build import build, signature
from bench.scoring.pair_metrics import score_batch

pytestmark = pytest.mark.numeric

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def toy_onnx(tmp_path_factory):
    """A recogniser of 4 numbers: means of red in the four quarters of the face, as insightface feeds it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Slice", ["x", "from", "to", "axes"], ["red"]),
        helper.make_node("AveragePool", ["red"], ["pooled"], kernel_shape=[56, 56], strides=[56, 56]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    constants = {"from": [0], "to": [1], "axes": [1]}
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path_factory.mktemp("onnx") / "toy.onnx"
    onnx.save(model, str(path))
    return path


def given(path):
    return api.MetricWeights(path=lambda weights_id, part: path)


def heads(count=6, side=128):
    """Pictures with something in every place."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, side // 16, side // 16, 3)).astype(np.uint8)
    return coarse.repeat(16, 1).repeat(16, 2)


def test_insightface_gets_rgb_faces_at_its_scale(toy_onnx):
    """It takes BGR and turns it; features of the toy are means of red, (x - 127.5) / 127.5."""
    crops = list(heads(3, 112))
    features = faces.recogniser(toy_onnx)(crops)
    red = np.stack(crops)[..., 0].astype(np.float64)
    quarters = np.stack([red[:, a : a + 56, b : b + 56].mean((1, 2)) for a in (0, 56) for b in (0, 56)], 1)
    np.testing.assert_allclose(features, quarters / 127.5 - 1, atol=1e-5)


@pytest.mark.parametrize("module", [id_arcface, id_annyface])
def test_scores_are_cosines_of_those_features(module, toy_onnx):
    metric, name = module.Metric("cpu", given(toy_onnx)), module.__name__.rsplit(".", 1)[-1]
    x = heads()
    y = np.roll(x, 1, 0)
    assert score_batch(metric, name, x, x) == pytest.approx([1.0] * len(x), abs=1e-12)
    values = score_batch(metric, name, x, y)
    assert values == pytest.approx(score_batch(metric, name, y, x), abs=1e-12) and min(values) < 0.9
    alone = [score_batch(metric, name, x[n : n + 1], y[n : n + 1])[0] for n in range(len(x))]
    assert alone == pytest.approx(values, abs=1e-6)
    swapped = score_batch(metric, name, x[..., ::-1].copy(), y[..., ::-1].copy())
    assert max(abs(a - b) for a, b in zip(swapped, values, strict=True)) > 0.05  # the toy sees red alone


@pytest.mark.parametrize("side", [128, 256, 1024])
def test_five_points_land_on_the_template(side):
    """Marks at the FFHQ points of a picture lie where insightface wants them, at any size."""
    from insightface.utils.face_align import arcface_dst

    picture = np.zeros((side, side, 3), np.uint8)
    reach = side // 64
    for x, y in np.round(faces.FFHQ_POINTS * side).astype(int):
        picture[y - reach : y + reach + 1, x - reach : x + reach + 1] = 255
    crop = faces.five_point_crop(picture)[..., 0]
    for x, y in np.round(arcface_dst).astype(int):
        assert crop[y - 3 : y + 4, x - 3 : x + 4].max() > 200
    assert (crop > 0).mean() < 0.1


def test_the_two_alignments_agree_on_where_a_face_is():
    """The crop that needs no points against five points of FFHQ: corners within 6 of 112 pixels."""
    to = faces._to_arcface(128)
    corners = np.array([[16, 16, 1], [112, 16, 1], [16, 112, 1], [112, 112, 1.0]]) @ to.T
    np.testing.assert_allclose(corners, [[0, 0], [112, 0], [0, 112], [112, 112]], atol=6)


def test_the_recogniser_of_this_repository():
    """Real weights: the same person is near 1 under noise, others near 0; the signature names the file."""
    metric = build(ROOT, id_annyface.Metric, "cpu")
    folder = ROOT / "weights" / "annyfaces" / "figures"
    assert folder.is_dir()
    text = signature(ROOT, "id_annyface", id_annyface.Metric)
    assert text.rsplit("|", 1)[1].startswith("annyfaces_recogniser_eval@")
    sheet = read_rgb(ROOT / "reports" / "figures" / "annyfaces_sheet.png")
    tiles = np.stack([sheet[2:130, 2 + 130 * n : 130 + 130 * n] for n in range(12)])
    noisy = np.clip(tiles + np.random.default_rng(0).normal(0, 12, tiles.shape), 0, 255).astype(np.uint8)
    same, others = (np.array(score_batch(metric, "id", tiles, o)) for o in (noisy, np.roll(tiles, 1, 0)))
    assert same.min() > 0.85 and abs(others.mean()) < 0.25 and others.max() < same.min() - 0.2


def test_absent_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="were not handed to the metric"):
        id_arcface.Metric()
    assert registry.metrics(ROOT).entry("id_curricular").attributes["weights"] == ("curricularface", "mtcnn")


# --- MTCNN's cascade and the pSp family's score ---


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_suppression_is_torchvisions(threshold):
    """Corners are inclusive here: a side is x2 - x1 + 1."""
    from torchvision.ops import nms

    rng = np.random.default_rng(0)
    start = rng.integers(0, 60, (200, 2))
    boxes = np.column_stack([start, start + rng.integers(5, 40, (200, 2)), rng.random(200)]).astype(float)
    edges = torch.from_numpy(boxes[:, :4]) + torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert mtcnn.suppress(boxes, threshold) == nms(edges, torch.from_numpy(boxes[:, 4]), threshold).tolist()


def test_suppression_by_the_smaller_box():
    boxes = np.array([[0, 0, 99, 99, 0.9], [10, 10, 19, 19, 0.8], [200, 200, 219, 219, 0.7]])
    assert mtcnn.suppress(boxes, 0.7) == [0, 1, 2] and mtcnn.suppress(boxes, 0.7, smaller=True) == [0, 2]


def test_crops_are_black_outside():
    picture = np.full((40, 40, 3), 200, np.uint8)
    inside, corner, away = mtcnn._cut(picture, np.array([[5, 5, 28, 28], [-12, -12, 11, 11], [60, 60, 83, 83]]), 24)
    assert (inside == 200).all() and (away == 0).all()
    assert (corner[:12] == 0).all() and (corner[12:, 12:] == 200).all()


class Stub(torch.nn.Module):
    """Plays the three networks: one face at the bright square of the picture."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output(x)


def test_cascade_finds_a_planted_face():
    """Proposals where the middle of a cell is bright; the refinement keeps them; the points are those of the output."""
    finder = mtcnn.MTCNN()
    points = torch.tensor([0.25, 0.75, 0.5, 0.3, 0.7, 0.25, 0.25, 0.5, 0.75, 0.75])
    weight = finder.pnet.conv4_1

    def propose(x):
        middle = torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), 12, 2)
        bright = (middle > 0.9).float()
        return torch.zeros(1, 4, *middle.shape[2:]), torch.cat([1 - bright, bright], 1)

    def bright(x):
        good = (x.mean((1, 2, 3)) > 0.9).float()
        return torch.stack([1 - good, good], 1)

    finder.pnet, finder.rnet = Stub(propose), Stub(lambda x: (torch.zeros(len(x), 4), bright(x)))
    finder.pnet.conv4_1 = weight
    finder.onet = Stub(lambda x: (points.expand(len(x), 10), torch.zeros(len(x), 4), bright(x)))
    picture = np.zeros((96, 96, 3), np.uint8)
    assert finder.points(picture) is None
    picture[20:60, 30:70] = 255
    found = finder.points(picture)
    assert found.shape == (5, 2)
    assert (
        (found > [29, 19]).all()
        and (found < [71, 61]).all()
        and found[0, 0] < found[1, 0]
        and found[0, 1] < found[3, 1]
    )


def test_a_face_that_is_not_found_has_no_score(monkeypatch):
    """NaN, which scoring counts and names; the other pictures of the batch keep theirs."""
    metric = id_curricular.Metric("cpu", api.MetricWeights(untrained=True))
    right = metric._face
    lost = heads()[2]
    monkeypatch.setattr(metric, "_face", lambda picture: None if (picture == lost).all() else right(picture))
    x = heads()
    values = np.array(score_batch(metric, "id_curricular", np.roll(x, 1, 0), x))
    assert np.isnan(values[[2, 3]]).all() and np.isfinite(values[[0, 1, 4, 5]]).all()
