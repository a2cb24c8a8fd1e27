"""bench rate: closed forms of the bits, what quantisation does, and the verb on a toy project."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from bench.errors import BenchError
from bench.generator import SharedGenerator
from bench.rate import entropy as coding
from bench.rate import quantise as held
from bench.rate.codecs import CODECS, through
from bench.rate.sweep import Point, Steps
from bench.store.rate import pareto, points

pytestmark = pytest.mark.numeric

RATE = {"images": 5, "codes": [0.125, 0.5, 2.0], "memory": [0.25, 1.0, 4.0], "pools": [2, 8], "qualities": [10, 90]}


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def generator():
    return SharedGenerator.toy(32)


def test_entropy_has_its_closed_forms(rng):
    assert coding.entropy(np.full((3, 4), 7)) == 0
    assert coding.entropy(np.arange(-8, 8).repeat(5)) == 4
    assert coding.entropy(np.array([0, 0, 0, 5])) == pytest.approx(2 - 0.75 * math.log2(3))
    step = 0.25  # of a normal variable: h - log2(step) for small steps
    measured = coding.entropy(coding.quantise(rng.normal(size=200_000), step))
    assert measured == pytest.approx(0.5 * math.log2(2 * math.pi * math.e) - math.log2(step), abs=0.01)


def test_side_information_has_its_closed_forms():
    assert coding.histogram_bits(3, np.array([2, 1])) == pytest.approx([2, 0], abs=1e-9)  # 3+0, 2+1, 1+2, 0+3
    assert coding.gamma_bits(np.array([0, -1, 1, -2, 2, 31, 32])).tolist() == [1, 3, 3, 5, 5, 11, 13]


def test_a_constant_costs_its_head_alone():
    found = coding.coded(np.full((4, 16), 3))
    assert found.data == 0 and found.side == coding.CHOICE_BITS + coding.NUMBER_BITS + 5 + 1


def test_rows_with_models_of_their_own_and_repeated_rows_are_found(rng):
    row = rng.integers(-50, 50, size=512)
    repeated = coding.coded(np.stack([row] * 6))
    assert repeated.bits < 1.2 * coding.coded(row[None]).bits + 6 * 40, "the row before predicts all of a row"
    apart = np.stack([rng.integers(0, 2, 4096), rng.integers(0, 2, 4096) + 1000])
    assert coding.coded(apart).data == pytest.approx(8192, rel=0.01)


@pytest.mark.parametrize("step", [-1.0, float("nan"), 1e-12])
def test_impossible_steps(step):
    with pytest.raises(BenchError, match="step of quantisation"):
        coding.quantise(np.ones(3), step)


def test_codes_larger_steps_fewer_bits_more_error(generator):
    w_plus = generator.sample_w(3, seed=1)
    unit, errors, bits = held.unit_of(generator), [], []
    for step in (0.05, 0.2, 0.8, 3.2):
        kept = held.quantise_latents(w_plus, step, generator, unit)
        apart = (kept.values - w_plus).abs()
        assert float(apart.max()) <= step * unit / 2 + 1e-6
        errors.append(float(apart.mean()))
        bits.append(sum(c.bits for c in kept.coded))
    assert errors == sorted(errors) and bits == sorted(bits, reverse=True)
    assert kept.floats == w_plus[0].numel()
    mean = generator.latent_avg[None]
    assert torch.equal(held.quantise_latents(mean, 1.0, generator, unit).values, mean), "a decoder has the mean code"


@pytest.mark.parametrize("shape", [(2, 3, 16, 24), (2, 5, 8, 8), (2, 3, 20, 20), (2, 68, 2), (2, 7), (2,)])
def test_memory_of_any_shape(rng, shape):
    kept = torch.from_numpy(rng.normal(3, 2, size=shape)).float()
    assert torch.equal(held.quantise_memory(kept, 0).values, kept)
    assert held.quantise_memory(kept, 0).coded[0].bits == 32 * kept[0].numel()
    fine, coarse = held.quantise_memory(kept, 0.1), held.quantise_memory(kept, 2.0)
    assert fine.values.shape == kept.shape and fine.values.dtype == kept.dtype
    assert (fine.values - kept).square().mean() <= (coarse.values - kept).square().mean()
    assert sum(c.bits for c in fine.coded) >= sum(c.bits for c in coarse.coded)
    assert torch.equal(held.quantise_memory(kept.long(), 2.0).values, kept.long()), "integers are never rounded"


def test_pooled_maps_keep_fewer_numbers(rng):
    kept = torch.from_numpy(rng.normal(size=(2, 3, 32, 64))).float()
    pooled = held.quantise_memory(kept, 0.1, pool=2)
    assert pooled.floats == kept[0].numel() / 4 and pooled.values.shape == kept.shape
    assert 0.15 < pooled.coded[0].bits / held.quantise_memory(kept, 0.1).coded[0].bits < 0.35
    flat = torch.full((1, 3, 32, 64), 0.7)
    assert torch.allclose(held.quantise_memory(flat, 0.1, pool=4).values, flat), "means of equal numbers"
    assert [held.can_pool(kept, pool) for pool in (2, 4, 8)] == [True, True, False], "8 pixels are one block"
    points = torch.from_numpy(rng.normal(size=(2, 68, 2))).float()
    assert torch.equal(held.quantise_memory(points, 0.5, pool=2).values, held.quantise_memory(points, 0.5).values)


def test_the_transform_is_orthonormal(rng):
    for shape in ((3, 16, 24), (5, 8, 8)):
        image = rng.normal(size=shape)
        found = held.to_frequencies(image)
        assert found.shape == (shape[0], 64, shape[1] * shape[2] // 64)
        assert np.square(found).sum() == pytest.approx(np.square(image).sum())
        np.testing.assert_allclose(held.from_frequencies(found, *shape[1:]), image, atol=1e-12)
    grey = held.to_frequencies(np.ones((3, 8, 8)))
    assert grey[0, 0, 0] == pytest.approx(math.sqrt(3 * 64)) and np.abs(grey).sum() == pytest.approx(math.sqrt(192))


def test_a_picture_costs_about_what_jpeg_takes(rng):
    """The stated model is a fair one: smooth content at a matching error takes bits of the same order."""
    y, x = np.mgrid[0:64, 0:64] / 64
    waves = np.stack([np.sin(7 * x + 3 * y), np.cos(5 * y), x * y], -1)
    picture = np.clip(127.5 + 80 * waves + rng.normal(0, 6, waves.shape), 0, 255).astype(np.uint8)
    seen, size = through(CODECS["jpeg"], picture, 75)
    error = np.abs(seen.astype(float) - picture).mean()
    kept = torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32))
    steps = [held.quantise_memory(kept, step) for step in (0.2, 0.3, 0.4, 0.6)]
    close = min(steps, key=lambda k: abs(float((k.values - kept).abs().mean()) - error))
    assert 0.3 < close.coded[0].bits / (8 * size) < 1.5


def test_sweeps():
    steps = Steps((0.25, 1.0), (2.0, 4.0), 0.5)
    assert steps.points(False) == [Point(0, 0), Point(0.25, 0), Point(1, 0)]
    assert steps.points(True) == [Point(0, 0), Point(0.5, 2), Point(0.5, 4)]
    pooled = Steps((0.25,), (4.0, 2.0), 0.5, (2,))
    assert pooled.points(True)[-1] == Point(0.5, 2, 2) and len(pooled.points(False)) == 2


def test_pareto():
    cost, loss = [1, 2, 2, 3, 4, np.nan], [9, 5, 6, 5, 1, 0]
    assert pareto(cost, loss).tolist() == [True, True, False, False, True, False]
    assert pareto(cost, loss, [0, 0, -1, 0, 0, 0]).tolist() == [True, True, True, False, True, False]


@pytest.fixture()
def rated(project):
    profile = yaml.safe_load((project / "profiles" / "toy.yaml").read_text())
    (project / "profiles" / "toy.yaml").write_text(yaml.safe_dump({**profile, "rate": RATE}))
    return project


def table(project, name, scope="toy"):
    return pd.read_parquet(project / "results" / "rate" / scope / f"{name}.parquet")


def test_the_verb_measures_a_method(rated, cli, assert_same_rows):
    for words in (
        ("run", "--method", "toy_codes"),
        ("score", "--method", "toy_codes"),
        ("rate", "--method", "toy_codes"),
    ):
        assert cli(*words).code == 0
    found = points(table(rated, "toy_codes"), {"toy": 32 * 32})
    assert found["codes_step"].tolist() == [0, 0.125, 0.5, 2.0] and set(found["n"]) == {5}
    assert found["bpp"].is_monotonic_decreasing and found["floats"].nunique() == 1
    rows = table(rated, "toy_codes")
    key = ["image_id", "metric", "value"]
    exact = rows.loc[(rows["codes_step"] == 0) & (rows["metric"] == "mae"), key]
    scores = pd.read_parquet(rated / "results/scores/toy/toy_codes.parquet")
    scored = scores.loc[(scores["metric"] == "mae") & scores["image_id"].isin(exact["image_id"]), key]
    assert_same_rows(exact, scored)  # step 0 is the inversion itself


def test_rows_do_not_depend_on_workers_or_on_the_run(rated, cli, assert_same_rows):
    path, two = rated / "results/rate/toy/toy_codes.parquet", ("--engine", "processes", "--workers", 2)
    assert cli("rate", "--method", "toy_codes").code == 0
    serial, alone = path.read_bytes(), table(rated, "toy_codes")
    assert cli("rate", "--method", "toy_codes", *two).code == 0 and path.read_bytes() == serial
    assert cli("run", "--method", "toy_codes").code == 0  # codes of the run, of smaller batches, are now taken instead
    assert cli("rate", "--method", "toy_codes", *two).code == 0
    assert_same_rows(table(rated, "toy_codes"), alone)


def test_memory_is_found_and_another_limit_is_local(rated, cli):
    assert cli("rate", "--method", "toy_copy", "--limit", 2).code == 0
    assert not (rated / "results/rate/toy").exists()
    found = points(table(rated, "toy_copy", "local"), {"toy": 32 * 32})
    pooled, found = found[found["pool"] > 1], found[found["pool"] == 1].set_index("memory_step")
    assert pooled["memory_step"].tolist() == [0.25] and pooled["floats"].tolist() == [8 * 16 + 3 * 16 * 16]
    assert pooled["mae"].iloc[0] > found.loc[0.25, "mae"] and pooled["bpp"].iloc[0] < found.loc[0.25, "bpp"]
    assert set(found["n"]) == {2} and found.loc[0, "mae"] == 0
    assert found["mae"].is_monotonic_increasing and found["bpp"].is_monotonic_decreasing
    assert found.loc[0, "bits"] == 32 * found.loc[0, "floats"] == 32 * (8 * 16 + 3 * 32 * 32)


def test_a_profile_without_rates(project, cli, one_line_error):
    """The pipeline's stages leave empty files; a number of pictures asks for the usual sweep."""
    from bench.store.paths import RunStore
    from bench.store.rate import rate_dir, read_rows

    answer = cli("rate", "--method", "toy_codes", "--ablation", "quiet")
    assert answer.code == 0 and "asks for no rates" in answer.err
    assert cli("rate", "--codec", "webp").code == 0 and len(table(project, "codec-webp")) == 0
    assert read_rows(rate_dir(RunStore(project, "toy"), "toy")) is None
    assert "did you mean 'toy_codes'" in one_line_error("rate", "--method", "toy_cods")
    assert cli("rate", "--method", "toy_codes", "--limit", 1).code == 0 and len(table(project, "toy_codes", "local"))


def test_codecs_and_ablations(rated, cli):
    assert cli("rate", "--codec", "jpeg").code == 0
    found = points(table(rated, "codec-jpeg"), {"toy": 32 * 32}).set_index("codes_step")
    assert found.loc[10, "bpp"] < found.loc[90, "bpp"] and found.loc[10, "mae"] > found.loc[90, "mae"]
    answer = cli("rate", "--method", "toy_codes", "--ablation", "quiet")
    assert answer.code == 0 and "inversions only: profile 'toy' asks for no edits" in answer.err
    assert set(table(rated, "toy_codes.quiet")["variant"]) == {"quiet"}


def test_a_failing_picture_is_named_and_the_others_count(rated, cli):
    from bench.inversion.runner import image_seed

    bad = image_seed(0, "toy", "head_1")
    source = (rated / "methods" / "toy_fussy.py").read_text().replace('"raise_for": 0', f'"raise_for": {bad}')
    (rated / "methods" / "toy_fussy.py").write_text(source)
    answer = cli("rate", "--method", "toy_fussy")
    assert answer.code == 0 and "picture head_1 failed: ValueError: cannot do this one" in answer.err
    found = table(rated, "toy_fussy")
    assert found.attrs["failures"] == {"toy": {"head_1": "ValueError: cannot do this one"}}
    assert set(points(found, {"toy": 1024})["n"]) == {4}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "one method or one codec"),
        (("--method", "toy_copy", "--codec", "jpeg"), "one method or one codec"),
        (("--codec", "jpg"), "did you mean 'jpeg'"),
        (("--method", "toy_cpoy"), "did you mean 'toy_copy'"),
        (("--method", "toy_copy", "--ablation", "quiet"), "not one of method"),
        (("--method", "toy_copy", "--limit", "0"), "--limit must be 1 or more"),
    ],
)
def test_mistakes_are_one_line(rated, one_line_error, words, said):
    assert said in one_line_error("rate", *words)
    assert not (rated / "results" / "rate").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"codes": [0.0]},
        {"memory": [-1]},
        {"beside": 0},
        {"pools": [1]},
        {"of_ablations": [0]},
        {"qualities": [0]},
        {"metrics": ["rate"]},
    ],
)
def test_bad_settings_are_one_line(rated, one_line_error, change):
    profile = yaml.safe_load((rated / "profiles" / "toy.yaml").read_text())
    (rated / "profiles" / "toy.yaml").write_text(yaml.safe_dump({**profile, "rate": {**RATE, **change}}))
    assert next(iter(change)) in one_line_error("rate", "--method", "toy_copy")
