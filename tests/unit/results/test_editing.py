"""editing.md and its figures, from edits written by hand: paired means, strengths, differences, curves."""

import numpy as np
import pytest

from bench import tables
from bench.edit_matching import Matched
from bench.edit_results import edits_dir, write_edits
from bench.report.editing import jump, methods_of, write_editing
from bench.report.editing_figures import curve, write_editing_figures
from bench.report.material import gather

NAMES = {"smile+0.5": ("smile", 0.5), "yaw-0.2": ("yaw", -0.2)}
SETTINGS = {"metrics": ["mae"], "degrees": [1.5, 3.0], "cycles": 2, "frames": 3, "reference": "latent_avg"}
SETTINGS |= {"calibration": {"dataset": "held", "images": 4}}


def add_edits(tiny, method, worse, reached):
    def row(task, metric, value, i, name="", degree=1.0):
        direction, change = NAMES.get(name, ("", 0.0))
        about = {"dataset": "tiny_set", "method": method, "variant": "", "direction": direction, "change": change}
        return {**about, "task": task, "metric": metric, "value": value, "image_id": i, "degree": degree}

    rows, ids = [], tiny.ids[:4]
    for n, i in enumerate(ids):
        for name in reached:
            rows.append(row("edit", "mae", 0.05 + 0.01 * n + worse, i, name))
            rows.append(row("round_trip", "code", 3 + worse, i, name))
        for name, (_, change) in NAMES.items():
            for k, degree in enumerate((0.0, 1.5, 3.0)):
                signed = float(np.sign(change)) * degree
                rows.append(row("curve", "change", k * change / 2, i, name, signed))
                rows.append(row("curve", "background_drift", k * 0.1 + 0.01 * n, i, name, signed))
        rows += [row("cycle", m, 0.1 * k, i, degree=k) for k in (1, 2) for m in ("mae", "drift")]
    rows += [row("sweep", "step", v, ids[0], "smile+0.5", d) for d, v in ((0, 0.02), (3, 0.06))]
    matched = {
        name: Matched(c, c / 2, 1.0 if name in reached else None, ((0.0, 0.0), (3.0, c / 4)), 4).to_json()
        for name, (_, c) in NAMES.items()
    }
    record = {
        "settings": SETTINGS,
        "edits": [{"name": name, "direction": d} for name, (d, _) in NAMES.items()],
        "matched": matched,
        "no_room": {"smile+0.5": ids[3:], "yaw-0.2": []},
        "failures": {"000003": "ValueError: no"} if worse else {},
        "calibration_failures": {},
        "sets": [],
        "shown": {ids[0]: "smile+0.5"},
    }
    kinds = ("source", "target", "inversion", "edit")
    pictures = {(kind, ids[0]): tiny.picture(ids[0]) for kind in kinds}
    pictures["sweep", ids[0]] = np.concatenate([tiny.picture(ids[0])] * 3, 1)
    write_edits(edits_dir(tiny.store, "toy", method), rows, record, pictures)


@pytest.fixture
def material(tiny):
    add_edits(tiny, "latent_avg", 0.0, tuple(NAMES))
    add_edits(tiny, "optimize_w_plus", 0.02, ("smile+0.5",))
    tables.aggregate(tiny.store, "toy", tiny.config)
    return gather(tiny.root, "toy")


def test_the_page_says_strengths_means_differences_and_failures(material, tmp_path):
    page = write_editing(material, tmp_path)[0].read_text()
    assert "not reached: -0.05 of -0.1 at +3" in page, "a strength that is not reached is said, never clipped"
    whole = page.split("| *all edits* |")[1].split("*smile")[0]
    assert "**0.0650**" in whole and "| 0.0850" in whole
    assert "+0.02000" in page.split("## Paired differences")[1]
    assert "`optimize_w_plus` failed on 1 pictures: 000003: ValueError: no." in page
    assert "0.0600 <sub>median 0.0400</sub>" in page
    assert r"\begin{table*}" in (tmp_path / "editing.tex").read_text()


def test_curves_run_towards_the_change_and_have_bands(material):
    one = methods_of(material, "tiny_set")["latent_avg"]
    x, y, low, high = curve(material, one, "yaw", -0.2, "background_drift")
    np.testing.assert_allclose(x, [0, 0.1, 0.2])
    np.testing.assert_allclose(y, [0.015, 0.115, 0.215])
    assert (low < y).all() and (y < high).all()
    assert jump(one) == ("0.0600", "median 0.0400")


def test_figures_are_drawn_from_stored_pictures(material, tmp_path):
    made = dict((path.name, caption) for caption, path in write_editing_figures(material, "tiny_set", tmp_path))
    assert list(made) == ["editing_curves.png", "fig5.png", "fig22.png"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in made)


def test_without_edits_there_is_nothing(tiny, tmp_path):
    tables.aggregate(tiny.store, "toy", tiny.config)
    material = gather(tiny.root, "toy")
    assert write_editing(material, tmp_path) == [] and write_editing_figures(material, "tiny_set", tmp_path) == []
