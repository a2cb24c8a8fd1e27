"""Training of the regressor of factors and landmarks: its targets, and what it is worth."""

import numpy as np
import pandas as pd
import torch

from bench.training.data import PackedImages
from bench.training.regressor import RegressorConfig, RegressorTraining, measured, mirrored_values

SIDE, COUNT = 32, 24


def config(**changes):
    given = {"id": "toy", "dataset": "toy", "domain": "toy", "side": 16, "widths": [4, 8], "blocks": [1, 2]}
    spans = {"identities": (0, 16), "held_out": (16, COUNT), "images": 64, "batch": 8, "warm_up_images": 8}
    return RegressorConfig(**{**given, **spans, "factors": ["bright"], "odd_factors": ["yaw"], **changes})


def truth():
    rng = np.random.default_rng(0)
    table = {"identity": [f"i{n:02d}" for n in range(COUNT)], "bright": np.linspace(0, 1, COUNT)}
    table["yaw"] = rng.normal(size=COUNT)
    for point in range(68):
        table[f"lm_{point:02d}_x"], table[f"lm_{point:02d}_y"] = rng.uniform(0, SIDE, (2, COUNT))
    return pd.DataFrame(table)


def pictures():
    """Pictures as bright as their factor says."""
    level = np.linspace(60, 200, COUNT)[:, None, None, None]
    noise = np.random.default_rng(1).integers(-20, 20, (COUNT, SIDE, SIDE, 3))
    return PackedImages([f"{n}" for n in range(COUNT)], (level + noise).astype(np.uint8), None)


def training(**changes):
    return RegressorTraining(config(**changes), pictures(), truth(), torch.device("cpu"))


def test_a_mirror_image_swaps_points_turns_odd_factors_and_is_its_own_inverse():
    values = np.arange(2 * 138, dtype=float).reshape(2, 138)
    there = mirrored_values(values, config(), SIDE)
    assert (there[:, 0] == values[:, 0]).all() and (there[:, 1] == -values[:, 1]).all()
    assert there[0, 2] == SIDE - values[0, 2 + 2 * 16]  # the first point of the jaw is the mirror of its last
    assert there[0, 3] == values[0, 3 + 2 * 16]
    np.testing.assert_array_equal(mirrored_values(there, config(), SIDE), values)


def test_measured_is_one_for_truth_itself():
    made = training()

    class Truth:
        names, mean = ("bright", "yaw"), torch.zeros(1)

        def read(self, x):
            rows = made.held_out[: len(x)]
            values = torch.from_numpy(made.values[rows])
            return values[:, :2], values[:, 2:].reshape(-1, 68, 2) - 0.5

    found = measured(Truth(), made.images, made.held_out, made.values)
    assert found["r2"] == {"bright": 1.0, "yaw": 1.0} and found["landmark_px"]["mean"] == 0


def test_training_learns():
    run = training(precision="fp32", images=640)
    first = run.step()["factors"]
    for _ in range(8):
        run.step()
    assert run.step()["factors"] < first
