"""video.md, its figure and its films, from clips measured by hand: means over clips, intervals, notes, films."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.analysis.statistics import statistics
from bench.data.video_files import read_film
from bench.edits.strength import Matched
from bench.report.report_data import ReportData
from bench.report.video import by_clip, films_of, over_frames, write_video
from bench.store.video import read_films, video_dir, write_films

IDS = {"00": ["00_0000", "00_0001", "00_0002"], "01": ["01_0000", "01_0001"]}
SETTINGS = {"direction": "smile", "change": 0.5, "metrics": ["mae"], "fps": 12.0}
MATCHED = Matched(0.5, 0.2, 2.25, ((0.0, 0.0), (3.0, 0.3)), 4)


def add_films(tiny, method, worse, ids_sha256="a", without=()):
    rows, strips = [], {}
    for c, (clip, ids) in enumerate(IDS.items()):
        for n, i in enumerate(ids):
            head = {"dataset": "tiny_clips", "method": method, "variant": "", "clip": clip, "image_id": i}
            values = {("inversion", "mae"): 0.02 + 0.02 * c + worse + 0.001 * n, ("edit", "mae"): 0.05 + worse}
            if n:
                values |= {("inversion", "flicker"): 0.01 + worse, ("source", "flicker"): 0.005}
                values |= {("inversion", "drift"): 0.1 * n, ("source", "drift"): 0.2 * n, ("target", "flicker"): 0.001}
            rows += [{**head, "task": t, "metric": m, "value": v} for (t, m), v in values.items() if i not in without]
    for shade, kind in enumerate(("source", "inversion", "edit", "target")):
        frames = [np.full((16, 16, 3), 60 * shade + 20 * n, np.uint8) for n in range(3)]
        strips["00", kind] = np.concatenate(frames, 1)
    record = {
        "dataset": "tiny_clips",
        "ids": IDS,
        "ids_sha256": ids_sha256,
        "settings": SETTINGS,
        "matched": MATCHED.to_json(),
        "no_room": ["01_0001"],
        "failures": dict.fromkeys(without, "ValueError: no"),
        "shown": ["00"],
    }
    write_films(video_dir(tiny.store, "toy", method), rows, record, strips)


@pytest.fixture
def report(tiny):
    add_films(tiny, "latent_avg", 0.0)
    add_films(tiny, "optimize_w_plus", 0.03, without=("00_0002",))
    return ReportData(tiny.config, tiny.store, "toy", pd.DataFrame(), SimpleNamespace(), {}, "")


def test_means_are_over_clips_and_frames_that_all_have(report):
    films, _ = films_of(report)
    table = by_clip(films, "inversion", "mae")
    np.testing.assert_allclose(table["latent_avg"], [0.0205, 0.0405]), "frame 00_0002 failed elsewhere"
    np.testing.assert_allclose(table["optimize_w_plus"] - table["latent_avg"], 0.03)
    assert list(table.index) == ["00", "01"]
    assert by_clip(films, "inversion", "nothing").empty


def test_the_page_says_means_intervals_strengths_and_what_is_left_out(report, tmp_path):
    links, shown = write_video(report, tmp_path)
    page = (tmp_path / "tables" / "video.md").read_text()
    first, second = page.split("## Edits")
    low, high = statistics([np.array([0.0205, 0.0405])], report.config.bootstrap, 0)[0][-2:]
    assert f"**0.0305** <sub>[{low:.4f}, {high:.4f}]</sub>" in first, "intervals resample clips, not frames"
    assert "| 0.0605" in first and "| Source | – |" in first
    assert "| 0.100 |" in first and "**0.100**" not in first, "no drift is best: the mark is the source's own"
    assert "`optimize_w_plus` failed on 1 frames: 00_0002: ValueError: no." in first
    assert "| +2.25 |" in second and "| Exact edit | – | – |" in second
    assert "1 of 5 frames have no exact edit" in second
    assert r"\begin{table*}" in (tmp_path / "tables" / "video.tex").read_text()
    assert {p.name for p in links} == {"video.md", "video.tex", "tiny_clips_00.mp4"}
    assert [p.name for _, p in shown] == ["video_frames.png", "tiny_clips_00.gif"]


def test_films_show_every_method_side_by_side(report, tmp_path):
    write_video(report, tmp_path)
    film, fps = read_film(tmp_path / "video" / "tiny_clips_00.mp4")
    assert len(film) == 3 and fps == 12
    levels = {k: np.abs(film[0].astype(int) - 60 * k).max(-1) < 4 for k in range(4)}
    for k, count in ((0, 1), (1, 2), (2, 2), (3, 1)):
        assert levels[k].sum() == pytest.approx(count * 192**2, rel=0.05), "source, inversions, edits, exact edit"
    with Image.open(tmp_path / "video" / "tiny_clips_00.gif") as gif:
        assert gif.n_frames == 3 and (tmp_path / "video" / "tiny_clips_00.gif").stat().st_size < 3e6


def test_curves_have_frames_that_all_clips_have(report):
    films, _ = films_of(report)
    x, y, low, high = over_frames(report, films["latent_avg"], "inversion", "mae")
    np.testing.assert_array_equal(x, [0, 1])
    np.testing.assert_allclose(y, [0.03, 0.031])
    assert (low <= y).all() and (y <= high).all()


def test_other_clips_are_not_compared_and_without_any_there_is_nothing(report, tiny, tmp_path):
    add_films(tiny, "copy_input", 0.0, ids_sha256="b")
    films, others = films_of(report)
    assert list(films) == ["copy_input"] and others == ["latent_avg", "optimize_w_plus"], "in the profile's order"
    for label in read_films(tiny.store, "toy"):
        (video_dir(tiny.store, "toy", label) / "video.json").write_text("{}")
    assert write_video(report, tmp_path) == ([], []) and (tmp_path / "video").is_dir()
