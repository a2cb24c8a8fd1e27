"""Edits in tables, claims and figures: paired over the edits both reach, drawn only where all columns were measured."""

import numpy as np
import pytest
import yaml
from PIL import Image

from bench.analysis import summary
from bench.edits.results import edits_dir, write_edits
from bench.edits.strength import Matched
from bench.errors import DataError
from bench.files import read_yaml
from bench.report.ablation import write_ablations
from bench.report.edit_scores import edits_of
from bench.report.planned_figures import FigurePlan, FiguresFile, cells_of, rows_of, write_planned_figures
from bench.report.report_data import load_report_data
from bench.report.row_claims import write_claims

EDITS = {"smile+0.3": 0.3, "yaw-0.2": -0.2}
KINDS = ("source", "target", "inversion", "edit")


def add_edits(tiny, label, worse, reached=tuple(EDITS)):
    """Edits of four pictures: errors differ between pictures and edits, and by ``worse`` from method to method."""
    method, _, variant = label.partition(".")
    about = {"dataset": "tiny_set", "method": method, "variant": variant, "task": "edit", "degree": 1.0}
    rows = [
        {**about, "image_id": i, "direction": e[:-4], "change": EDITS[e], "metric": metric, "value": value}
        for n, i in enumerate(tiny.ids[:4])
        for e in reached
        for metric, value in (("mae", 0.05 + 0.01 * n + abs(EDITS[e]) / 10 + worse), ("mae_face", 0.02 + worse))
    ]
    matched = {e: Matched(c, c, 1.0 if e in reached else None, ((0, 0), (1, c)), 4).to_json() for e, c in EDITS.items()}
    shown = {i: e for i, e in zip(tiny.ids, ["yaw-0.2", "smile+0.3"], strict=False) if e in reached}
    grey = {"source": 100, "target": 110, "inversion": 90, "edit": 110 + int(1000 * worse)}
    pictures = {(kind, i): np.full((32, 32, 3), grey[kind], np.uint8) for kind in KINDS for i in shown}
    record = {"shown": shown, "matched": matched, "sets": []}
    write_edits(edits_dir(tiny.store, "toy", label), rows, record, pictures)


@pytest.fixture
def report(tiny):
    """optimize_w_plus with variants few and other, the latter of group seeds; edits of all three and of latent_avg."""
    entries = {
        "few": {"method": "optimize_w_plus", "group": "steps", "title": "few steps", "options": {}},
        "other": {"method": "optimize_w_plus", "group": "seeds", "title": "another seed", "options": {}},
    }
    (tiny.root / "ablations.yaml").write_text(yaml.safe_dump({"ablations": entries}))
    params = yaml.safe_load((tiny.root / "params.yaml").read_text())
    params["ablations"] = {name: "optimize_w_plus" for name in entries}
    (tiny.root / "params.yaml").write_text(yaml.safe_dump(params))
    base = tiny.values["optimize_w_plus"]
    for name, worse in (("few", 0.02), ("other", 0.002)):
        shifted = {m: {i: v + worse for i, v in list(c.items())[:4]} for m, c in base.items() if m != "rate"}
        tiny.add_run("optimize_w_plus", shifted, variant=name)
    add_edits(tiny, "optimize_w_plus", 0.0)
    add_edits(tiny, "optimize_w_plus.few", 0.03, reached=("yaw-0.2",))
    add_edits(tiny, "optimize_w_plus.other", 0.004)
    summary.aggregate(tiny.store, "toy", tiny.config)
    return load_report_data(tiny.root, "toy")


def line(text, start, nth=0):
    return [x for x in text.splitlines() if x.startswith(f"| {start}")][nth]


def test_the_table_has_inversions_edits_and_seeds(report, tiny):
    text = write_ablations(report, tiny.root / "reports")[0].read_text()
    assert text.count("| *Optimization (W+): steps* |") == 2 and "rate" not in text
    inversion, edit = (line(text, "few steps", n) for n in (0, 1))
    assert "| 4 |" in inversion and "<sub>+0.0200</sub>" in inversion
    assert "0.1150 <sub>+0.0300" in edit, "the mean over the one edit it reaches, not over both"
    seeds = line(text, "MAE ↓", 1)
    cells = [c.strip() for c in seeds.strip("|").split("|")]
    assert cells[1:3] == ["2", "4"] and cells[-1].startswith("0.0040") and cells[-2].startswith("0.0028"), cells


def test_without_edits_there_is_the_table_of_inversions_alone(tiny, report):
    for name in ("optimize_w_plus", "optimize_w_plus.few", "optimize_w_plus.other"):
        (edits_dir(tiny.store, "toy", name) / "edits.json").unlink()
    text = write_ablations(report, tiny.root / "reports")[0].read_text()
    assert "Ablations on" in text and "Edits on" not in text and "Seeds on" in text


def claims(tiny, report, **claim):
    folder = tiny.root / "results" / "reference"
    folder.mkdir(exist_ok=True)
    entry = {"text": "T", "source": "S", "kind": "difference", "expect": "better", "left": "optimize_w_plus", **claim}
    (folder / "claims.yaml").write_text(yaml.safe_dump({"paper": "P", "claims": [entry]}))
    return write_claims(report, tiny.root / "claims.md", folder).read_text()


def test_claims_about_edits(tiny, report):
    text = claims(tiny, report, right="optimize_w_plus.few", metrics=["edit:mae_face"])
    row = line(text, "Optimization (W+) − few steps")
    assert "MAE in the face, edits | −0.03 | [−0.03, −0.03] | < 0 | 4 images | **holds**" in row
    text = claims(tiny, report, right="optimize_w_plus.other", metrics=["edit:yaw:mae"])
    assert "MAE, edits yaw | −0.004 |" in line(text, "Optimization (W+) − another seed")
    text = claims(tiny, report, right="optimize_w_plus.few", metrics=["edit:smile:mae"])
    assert "not measured yet" in line(text, "Optimization (W+) − few steps"), "few does not reach the smile"
    text = claims(tiny, report, right=["latent_avg"], metrics=["edit:mae"])
    assert "edits of `latent_avg`: `bench score-edits --method latent_avg`" in text


PLAN = {
    "caption": "C",
    "directions": ["smile", "yaw"],
    "columns": [
        {"show": "source", "title": "Source"},
        {"show": "distortion", "of": "optimize_w_plus", "title": "Distortion"},
        {"show": "edit", "of": "optimize_w_plus.other", "title": "Edit"},
    ],
}


def test_rows_of_a_figure_are_the_pictures_all_columns_show(report):
    edits = edits_of(report, "tiny_set")
    both = [("000001", "smile+0.3"), ("000000", "yaw-0.2")]
    assert rows_of(FigurePlan.model_validate(PLAN), edits) == both, "directions in the plan's order"
    with_few = {**PLAN, "columns": [*PLAN["columns"], {"show": "edit", "of": "optimize_w_plus.few", "title": "F"}]}
    plan = FigurePlan.model_validate(with_few)
    assert rows_of(plan, edits) == both
    cells = cells_of(plan, edits, both)
    assert [[one is None for one in row] for row in cells] == [[False] * 3 + [True], [False] * 4], "not the smile"
    assert cells[0][2].error == pytest.approx(4 / 255) and cells[0][0].error is None
    assert rows_of(FigurePlan.model_validate({**PLAN, "rows": 1}), edits) == both[:1]
    absent = {**PLAN, "columns": [{"show": "edit", "of": "latent_avg", "title": "A"}]}
    assert rows_of(FigurePlan.model_validate(absent), edits) == []


def test_figures_are_drawn_from_stored_pictures(report, tiny):
    folder = tiny.root / "figures"
    folder.mkdir()
    assert write_planned_figures(report, "tiny_set", folder, tiny.root) == [], "no figures.yaml"
    (tiny.root / "figures.yaml").write_text(yaml.safe_dump({"figures": {"fig9": PLAN}}))
    assert write_planned_figures(report, "tiny_set", folder, tiny.root) == [("C", folder / "fig9.png")]
    drawn = np.asarray(Image.open(folder / "fig9.png"))[..., :3]
    found = {int(v) for v in np.unique(drawn[drawn.shape[0] // 3])}
    assert {100, 138, 114} <= found, "source, 128 + source - inversion, edit"
    (tiny.root / "figures.yaml").write_text("figures: {a: {caption: C}}")
    with pytest.raises(DataError, match="figures.a.directions"):
        read_yaml(tiny.root / "figures.yaml", FiguresFile)
