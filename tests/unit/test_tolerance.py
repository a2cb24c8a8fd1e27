"""What tests allow between batches of other pictures lets a rounding pass, and nothing that a mistake would do."""

import numpy as np
import pandas as pd
import pytest

SIDE = 32
PICTURE = np.arange(SIDE * SIDE * 3, dtype=np.uint8).reshape(SIDE, SIDE, 3) // 2
FEW, MANY = 6, 7  # of 3,072 samples


def moved(samples, levels):
    """The picture with the first samples some levels brighter."""
    picture = PICTURE.copy()
    picture.reshape(-1)[:samples] += levels
    return picture


def test_a_level_in_few_samples_passes(assert_same_images):
    assert_same_images(PICTURE, PICTURE)
    assert_same_images(moved(FEW, 1), PICTURE)
    assert_same_images(PICTURE, moved(FEW, 1))
    assert_same_images({"a": PICTURE, "b": moved(FEW, 1)}, {"b": PICTURE, "a": PICTURE})


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (moved(1, 2), "2 grey levels apart"),
        (moved(1, 255), "255 grey levels apart"),  # a level below 0, which wrapped
        (moved(MANY, 1), "0.23% of a picture's samples differ"),
    ],
    ids=["two levels", "wrapped", "too many samples"],
)
def test_more_than_that_fails(assert_same_images, other, told):
    for found, expected in ((other, PICTURE), (np.stack([PICTURE] * 9 + [other]), np.stack([PICTURE] * 10))):
        with pytest.raises(AssertionError, match=told):
            assert_same_images(found, expected)
    with pytest.raises(AssertionError, match=told):
        assert_same_images({"a": PICTURE, "b": other}, {"a": PICTURE, "b": PICTURE})


def test_other_pictures_and_kinds_fail(assert_same_images):
    for found in ({"a": PICTURE}, {"a": PICTURE, "c": PICTURE}):
        with pytest.raises(AssertionError):
            assert_same_images(found, {"a": PICTURE, "b": PICTURE})
    for found in (PICTURE[:1], PICTURE.astype(float)):
        with pytest.raises(AssertionError):
            assert_same_images(found, PICTURE)


def rows(picture, **metrics):
    """Of two images: the same distances from a grey picture, or the values that are given."""
    gaps = (picture.astype(float) - 200) / 255
    found = {"mae": np.abs(gaps).mean(), "psnr": -10 * np.log10((gaps**2).mean()), "rate": 128.0, **metrics}
    keys = [(i, metric) for i in ("a", "b") for metric in found]
    return pd.DataFrame([(*key, found[key[1]]) for key in keys], columns=["image_id", "metric", "value"])


def test_rows_of_such_pictures_pass_in_any_order(assert_same_rows):
    assert_same_rows(rows(moved(FEW, 1)), rows(PICTURE))
    assert_same_rows(rows(PICTURE)[::-1], rows(PICTURE))


@pytest.mark.parametrize(
    "other",
    [
        rows(moved(2 * FEW, 1)),
        rows(PICTURE, mae=rows(PICTURE)["value"][0] + 1e-5),
        rows(PICTURE, psnr=rows(PICTURE)["value"][1] + 0.01),
        rows(PICTURE, rate=129.0),
        rows(PICTURE, mae=float("nan")),
        rows(PICTURE, bits=1.0),
        rows(PICTURE)[:-1],
        rows(PICTURE).replace("b", "c"),
    ],
    ids=["too many samples", "mae", "psnr", "another metric", "nan", "more rows", "fewer rows", "other pictures"],
)
def test_other_rows_fail(assert_same_rows, other):
    with pytest.raises(AssertionError):
        assert_same_rows(other, rows(PICTURE))
    with pytest.raises(AssertionError):
        assert_same_rows(rows(PICTURE), other)
