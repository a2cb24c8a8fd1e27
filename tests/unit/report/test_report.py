"""Reports: numbers come from the rows, figures are pictures of something, the same results give the same files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from bench import report
from bench.analysis import summary
from bench.analysis.protocol import find_protocol
from bench.errors import DataError
from bench.report import layout, pictures
from bench.report.grid import scale_of
from bench.report.layout import to_markdown
from bench.report.plots import write_plot_data
from bench.report.report_data import load_report_data
from bench.report.significance import comparisons, pair_texts, rankings, write_significance
from bench.report.tables import dataset_tables, main_table, write_tables

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
PARTS = {"embed_s": 0.004, "render_s": 0.008, "warmup_stable": True, "memory": {"bytes": 2**28}}
TIMING = {
    "started": "2026-01-02T00:00:00+00:00",
    "clock": "embed and render",
    "device": "cpu",
    "device_name": "A CPU",
    "threads": 2,
    "precision": "fp32",
    "machine": {"cpu": "A CPU", "cores": 2},
    "load_average": [0.5, 0.4, 0.3],
    "best_batch": 4,
    "batches": [
        {"size": 1, "total_s": 0.0123456, "repetitions": 50, **PARTS, "images_per_s": 81.0},
        {"size": 4, "total_s": 0.0045, "repetitions": 20, **PARTS, "images_per_s": 222.2},
    ],
    "parameters": {"generator": 2_000_000, "method": 500_000},
    "flops": {"embed": 0, "render": 3_210_000_000},
}


@pytest.fixture
def finished(tiny):
    """A project with a summary, published numbers and one timing."""
    shutil.copytree(REFERENCE, tiny.root / "results" / "reference")
    path = tiny.store.timing_path("toy", "a_cpu_2c_cpu_2t", "latent_avg-tiny_set")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(TIMING))
    summary.aggregate(tiny.store, "toy", tiny.config)
    return tiny


def table_1(tiny) -> str:
    """table1.md, written without the figures."""
    folder = tiny.root / "reports" / "tables"
    write_tables(load_report_data(tiny.root, "toy"), folder, tiny.root / "results" / "reference")
    return (folder / "table1.md").read_text()


def cells(text: str, first: str, nth: int = 0) -> list[str]:
    """The cells of the nth table row whose first cell starts with ``first``."""
    rows = [line for line in text.splitlines() if line.startswith(f"| {first}")]
    return [cell.strip() for cell in rows[nth].strip("|").split("|")]


def title_of(tiny, label: str) -> str:
    return load_report_data(tiny.root, "toy").method(label).title


def test_numbers_of_table_1_are_those_of_the_rows(finished):
    text = table_1(finished)
    for label, metrics in finished.values.items():
        row = cells(text, title_of(finished, label))
        assert row[1].split()[0] == str(len(metrics["mae"]))
        mean = np.mean(list(metrics["mae"].values()))
        places = len(row[2].split()[0].partition(".")[2])
        assert row[2].split()[0] == (f"{mean:.{places}f}" if mean else "0")
        assert row[5] == "6,144"
    assert cells(text, title_of(finished, "latent_avg"))[6:] == [
        "0.0123 <sub>50×</sub>",
        "0.0045 <sub>batch 4, 20×</sub>",
    ]
    assert cells(text, title_of(finished, "copy_input"))[6] == "not timed"
    assert "PSNR is capped at 100" not in text  # these toy rows carry another signature


def test_other_sets_of_images_stand_apart_and_meet_in_the_second_table(finished):
    text = table_1(finished)
    main, common, published = re.split(r"^## (?!Inversion)", text, flags=re.MULTILINE)
    assert "*On the first 5 of 12 images only †*" in main and "compare these rows in the next table" in main
    assert "**" not in main  # nothing is best among rows of different images
    assert common.startswith("The same 5 images")
    first = np.mean([finished.values["latent_avg"]["mae"][i] for i in finished.ids[:5]])
    assert cells(common, title_of(finished, "latent_avg"))[2].startswith(f"{first:.4f}")
    assert published.startswith("Published") and "0.0617" in published and "CelebA-HQ" in published
    assert "not to be ranked" in published and "tiny_set" not in published


def test_caption_names_domain_dataset_protocol_and_signatures(finished):
    text = table_1(finished)
    for words in (
        "Domain blobs",
        "`tiny_set` (12 images, 32 px)",
        "protocol `strict32`",
        "SSIM: `ssim_gauss|v1`",
        "A CPU, 2 threads, fp32",
        "200 resamples",
    ):
        assert words in text


def test_marks_stand_among_methods_that_share_all_images(ranked):
    """The method on 5 of 12 images has the best mean and no mark; those on all 12 are ranked beside it."""
    summary.aggregate(ranked.store, "toy", ranked.config)
    main, common = table_1(ranked).split("\n## ")[1:3]
    assert "among the methods that have all 12 images" in main and common.startswith("The same 5 images")
    best, other, few = (cells(main, title_of(ranked, m))[2] for m in ("hfgi", "e4e", "optimize_w_plus"))
    assert best.startswith("**0.2120** \\* <sub>[") and "*" not in other + few
    assert float(few.split()[0]) < float(other.split()[0])
    on_five = {m: cells(common, title_of(ranked, m))[2] for m in ("hfgi", "e4e", "optimize_w_plus")}
    assert [m for m, cell in on_five.items() if cell.startswith("**")] == ["optimize_w_plus"]
    assert not any("\\*" in cell for cell in on_five.values()), "five images prove nothing, however many a pair has"


def test_a_star_in_the_common_table_is_tested_on_its_images(ranked):
    """hfgi is better on all 12 images, and optimize_w_plus has 8 of them: 8 images prove it too, and are what is used."""
    values = {m: {i: v + 1 for i, v in c.items()} for m, c in ranked.values["latent_avg"].items()}
    ranked.add_run("optimize_w_plus", {m: dict(list(c.items())[:8]) for m, c in values.items()})
    summary.aggregate(ranked.store, "toy", ranked.config)
    report = load_report_data(ranked.root, "toy")
    text = to_markdown(dataset_tables(report, "tiny_set")[1])
    assert cells(text, title_of(ranked, "hfgi"))[1] == "8" and "\\*" in cells(text, title_of(ranked, "hfgi"))[2]
    ids = report.shared_ids("tiny_set")
    assert len(ids) == 8 and {c.n for c in comparisons(report, "tiny_set", "mae", ids)} == {8}


def test_a_method_that_lacks_an_image_is_not_ranked_with_those_that_have_it(ranked):
    values = {m: {i: v for i, v in c.items() if i != "000004"} for m, c in ranked.values["hfgi"].items()}
    ranked.add_run("hfgi", values, failures={"000004": "no"})
    summary.aggregate(ranked.store, "toy", ranked.config)
    main = to_markdown(main_table(load_report_data(ranked.root, "toy"), "tiny_set", ["mae"], last=True))
    assert "**" not in main and cells(main, title_of(ranked, "hfgi"))[1] == "11 <sub>1 failed</sub>"


def test_marks_are_what_commonmark_makes_of_them(ranked):
    """Bold text ends where it should; no asterisk opens or closes anything else."""
    summary.aggregate(ranked.store, "toy", ranked.config)
    text = table_1(ranked)
    assert not re.search(r"(?<![\\*])\*(?![*\w])|\*\*[^*|]*\s\*\*", re.sub(r"\*\*[^*]+\*\*|\*[^*|]+\*", "", text))
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table").render(text)
    first = markdown.split("<tbody>")[1]
    assert "<strong>0.2120</strong> * " in first and "**" not in re.sub(r"<code>.*?</code>", "", markdown)
    assert markdown.count("<em>") == len(re.findall(r"\| \*(?!\*)", text)), "headings of groups, and nothing else"


def test_the_main_table_has_the_columns_with_a_role_and_others_follow(ranked):
    """Roles are data of the preset; what has none stands in further tables, with its own notes."""
    preset = {
        "id": "strict32", "title": "T", "certainty": "own", "source": "S",
        "columns": [
            {"name": "P", "metric": "psnr", "role": "distortion"},
            {"name": "M", "metric": "mae", "role": "distortion"},
            {"name": "S", "metric": "ssim_gauss", "role": "structure"},
        ],
    }  # fmt: skip
    (ranked.root / "protocols").mkdir()
    (ranked.root / "protocols" / "strict32.yaml").write_text(yaml.safe_dump(preset))
    summary.aggregate(ranked.store, "toy", ranked.config)
    main, common, further, again = dataset_tables(load_report_data(ranked.root, "toy"), "tiny_set")
    assert main.headers == ["Method", "n", "PSNR (dB) ↑", "SSIM ↑", "Time, batch 1 (s)"]
    assert further.headers == ["Method", "n", "MAE ↓", "Rate (floats) ↓", "Time, best batch (s)"]
    assert common.headers == main.headers[:-1] and again.headers == further.headers[:-1]
    assert further.title == "Further metrics: Tiny set" and again.title.startswith("Further metrics: the same 5 images")
    assert len({t.label for t in (main, common, further, again)}) == 4
    assert "MAE: `mae|v1`." in further.notes and not any("`mae|" in note for note in main.notes)
    assert cells(to_markdown(further), title_of(ranked, "hfgi"))[2].startswith("**0.2120** \\* "), "marks there too"


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("annyfaces", ["mae", "ssim_gauss", "perc_efflite0", "id_annyface", "fd_efflite0"]),
        ("paper", ["mae", "ssim_gauss", "lpips_alex", "id_arcface", "fid"]),
    ],
)
def test_main_columns_of_the_profiles(profile, expected):
    settings = yaml.safe_load((REFERENCE.parents[1] / "profiles" / f"{profile}.yaml").read_text())
    preset = find_protocol(None, settings["protocol"])
    assert preset.main(settings["metrics"]) == expected == preset.main([], settings["metrics"])
    assert preset.main(["perc_efflite0", "prc"], ["lpips_alex", "mae"]) == ["mae", "perc_efflite0"], "scored goes first"


def test_every_image_without_a_value_is_in_the_ledger(ranked):
    """The page names eight of nine, the file all of them."""
    values = {m: dict(list(c.items())[9:]) for m, c in ranked.values["hfgi"].items()}
    ranked.add_run("hfgi", values, failures={i: 'bad, "picture"' for i in ranked.ids[:9]})
    summary.aggregate(ranked.store, "toy", ranked.config)
    page, everything = write_significance(load_report_data(ranked.root, "toy"), ranked.root / "significance.md")
    assert "and 1 more" in page.read_text() and "all of them in ledger.csv" in page.read_text()
    rows = pd.read_csv(everything, dtype=str)
    of_mae = rows[(rows["row"] == "hfgi") & (rows["metric"] == "mae")]
    assert list(of_mae["image_id"]) == ranked.ids[:9] and set(of_mae["reason"]) == {'bad, "picture"'}
    assert set(rows["row"]) == {"hfgi"} and set(rows["dataset"]) == {"tiny_set"}


def test_orders_and_power_are_those_of_all_images_and_of_the_common_ones(ranked):
    summary.aggregate(ranked.store, "toy", ranked.config)
    report = load_report_data(ranked.root, "toy")
    found = rankings(report, "tiny_set", "mae")
    assert [(o.n, o.order) for o in found] == [(12, ["hfgi", "e4e"]), (5, ["optimize_w_plus", "hfgi", "e4e"])]
    text = "\n".join(pair_texts(report, "tiny_set"))
    for words in (
        "Order on the 12 images that these 2 methods have, best first: HFGI > e4e.",
        "Order on the 5 images that these 3 methods have",
        "Power: n = 12 resolves",
        "Power: n = 5 resolves",
    ):
        assert words in text
    ranked.add_run("optimize_w_plus", ranked.values["latent_avg"])
    assert [o.n for o in rankings(load_report_data(ranked.root, "toy"), "tiny_set", "mae")] == [12]


def test_failures_are_named_in_the_table(finished):
    values = {m: dict(list(c.items())[:9]) for m, c in finished.values["latent_avg"].items()}
    finished.add_run("latent_avg", values, failures={i: "bad | picture" for i in finished.ids[9:]})
    summary.aggregate(finished.store, "toy", finished.config)
    text = table_1(finished)
    assert cells(text, title_of(finished, "latent_avg"))[1] == "9 <sub>3 failed</sub>"
    assert "3 failed in `latent_avg-tiny_set`: 000009: bad | picture; 000010" in text


def test_methods_without_scores_are_named(finished):
    params = finished.root / "params.yaml"
    params.write_text(params.read_text().replace("methods:\n", "methods:\n- not_run_yet\n"))
    assert "Without scores, so without a row: `not_run_yet`." in table_1(finished)


def test_a_metric_without_its_weights_says_what_it_needs(finished, monkeypatch):
    profile = finished.root / "profiles" / "toy.yaml"
    profile.write_text(profile.read_text().replace("- mae\n", "- mae\n- perc_efflite0\n"))
    monkeypatch.setattr("bench.metrics.perc_efflite0.Metric.missing", classmethod(lambda cls: "pip install x"))
    text = table_1(finished)
    assert "needs: pip install x" in text


def test_figures_are_pictures_of_something(finished):
    """Opened, of the size the layout says, not uniform, and holding the very pixels of the pictures shown."""
    written = {p.name: p for p in report.build(finished.root, "toy")}
    figures = {"grid_inversion.png": 600, "metrics.png": 600, "blobs_sheet.png": 380}
    for name, least in figures.items():
        with Image.open(written[name]) as picture:
            array = np.asarray(picture.convert("RGB"))
        assert array.shape[1] >= least and array.std() > 10, name
        assert len(np.unique(array.reshape(-1, 3), axis=0)) > 50, name
    sheet = np.asarray(Image.open(written["blobs_sheet.png"]))
    np.testing.assert_array_equal(sheet[2:34, 2:34], finished.picture("000000"))
    assert "<svg" in written["metrics.svg"].read_text()[:1000]


def test_same_results_same_bytes(finished):
    first = {p: p.read_bytes() for p in report.build(finished.root, "toy")}
    assert {p: p.read_bytes() for p in report.build(finished.root, "toy")} == first
    assert len(first) == 16 and all(first.values())


def test_index_links_to_files_that_exist_and_says_where_numbers_come_from(finished):
    record = finished.store.record_path("toy", "latent_avg-tiny_set")
    record.parent.mkdir(parents=True)
    record.write_text(
        json.dumps({"git": {"revision": "a" * 40, "dirty": True}, "machine": {"cpu": "Another CPU", "cores": 8}})
    )
    index = report.build(finished.root, "toy")[-1]
    text = index.read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) >= 9 and all((index.parent / link).is_file() for link in links)
    for words in (
        "`0123456789abcdef`",
        "`aaaaaaaaaaaa` + changes",
        "Another CPU, 8 cores",
        "strict32",
        "CC0-1.0",
        "load average before: 0.5",
    ):
        assert words in text


def test_index_shows_the_directions_of_the_domain(finished):
    folder = finished.root / "weights" / "directions"
    folder.mkdir(parents=True)
    for name in ("blobs_way_entanglement.png", "blobs_way_strips.png", "blobs_way.md", "other_way_strips.png"):
        (folder / name).touch()
    index = report.build(finished.root, "toy")[-1]
    text = index.read_text()
    links = re.findall(r"\]\(([^)]*directions[^)]+)\)", text)
    assert len(links) == 4 and all((index.parent / link).is_file() for link in links)  # a picture and a card, twice
    assert "![blobs_way_entanglement]" in text and "other_way" not in text


def test_plot_data_is_small_and_right(finished):
    folder = finished.root / "plots"
    write_plot_data(load_report_data(finished.root, "toy"), folder)
    means = json.loads((folder / "means.json").read_text())
    assert {m["method"]: m["mae"] for m in means}["copy_input"] == 0
    spread = [r for r in json.loads((folder / "per_image.json").read_text()) if r["method"] == "latent_avg"]
    values = sorted(finished.values["latent_avg"]["mae"].values())
    assert len(spread) == 101 and (spread[0]["fraction"], spread[-1]["fraction"]) == (0, 1)
    assert spread[0]["value"] == pytest.approx(values[0], rel=1e-5)
    assert spread[50]["value"] == pytest.approx(np.median(values), rel=1e-5)


def test_other_scopes_have_their_own_folder(finished):
    finished.add_run("latent_avg", finished.values["latent_avg"], scope="local")
    summary.aggregate(finished.store, "local", finished.config)
    assert {p.relative_to(finished.root).parts[:2] for p in report.build(finished.root, "local")} == {
        ("reports", "local")
    }


def test_a_report_before_its_results_says_what_to_run(tiny):
    with pytest.raises(DataError, match="run `bench aggregate`"):
        report.build(tiny.root, "toy")


def test_latex_is_balanced_and_escaped():
    table = layout.Table(
        "T_1",
        "50 % of `a_b`, k×",
        ["Method", "A ↓"],
        [("Group & co", [[layout.Cell("x_y"), layout.Cell("0.1", "[0.0, 0.2]", True)]]), ("empty", [])],
        ["note #1"],
    )
    text = layout.to_latex(table)
    assert r"x\_y & \textbf{0.1} \\" in text and r" & {\scriptsize [0.0, 0.2]} \\[2pt]" in text
    assert r"x\_y" in text and r"Group \& co" in text
    assert r"50 \% of \texttt{a\_b}, k$\times$" in text and "empty" not in text and r"note \#1" in text
    assert text.count("{") == text.count("}")
    for name in ("table*", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    assert not re.search(r"(?<!\\)[%#&_]", re.sub(r" & |\{%\n", "", text).replace("tab:1", ""))


@pytest.mark.parametrize(
    ("values", "places", "shown"),
    [
        ([0.0451, 0.12], 4, "0.0451"),
        ([24.31], 1, "24.3"),
        ([0.82], 3, "0.820"),
        ([0.0, 1500.0], 0, "0"),
        ([3e-9], 6, "0.000000"),
    ],
)
def test_three_significant_digits_for_the_smallest(values, places, shown):
    assert layout.decimals(values) == places and layout.number(values[0], places) == shown


def test_numbers_that_are_none():
    assert layout.number(float("nan"), 2) == "–" and layout.number(float("inf"), 2) == "∞"
    assert layout.interval(1.0, 1.0, 2) == "" and layout.interval(float("nan"), 1.0, 2) == ""
    assert layout.number(7680.0, 0) == "7,680"


def test_chosen_pictures_are_varied_and_always_the_same():
    """Three kinds of picture, ten of each: three choices take one of each kind."""
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])
    shade = np.random.default_rng(0).integers(-10, 10, (30, 1, 1, 1))
    stack = (np.broadcast_to(colours[np.arange(30) % 3][:, None, None], (30, 16, 16, 3)) + shade).astype(np.uint8)
    ids = [f"{i:03d}" for i in range(30)]
    chosen = pictures.choose_varied(ids, lambda i: stack[int(i)], 3)
    assert {int(i) % 3 for i in chosen} == {0, 1, 2} and chosen == sorted(chosen)
    assert chosen == pictures.choose_varied(ids, lambda i: stack[int(i)], 3)
    assert pictures.choose_varied(ids[:2], lambda i: stack[int(i)], 3) == ids[:2]


def test_thumbnails_and_differences_are_means():
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    np.testing.assert_allclose(pictures.thumbnail(image)[1, 2], image[3:6, 6:9].mean((0, 1)) / 255)
    odd = pictures.thumbnail(np.full((35, 35, 3), 51, np.uint8))
    np.testing.assert_allclose(odd, 0.2)
    assert pictures.difference(image, image).max() == 0
    assert pictures.difference(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)).min() == 1
    assert scale_of([np.zeros((4, 4))]) == 0.05 and scale_of([np.full((4, 4), 0.12)]) == pytest.approx(0.15)
    assert scale_of([np.ones((4, 4))]) == 1.0
