"""rate.md, its figures and the argument, from rates written by hand: points, Pareto marks, codecs at the same bits."""

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from bench.analysis import summary
from bench.errors import DataError
from bench.report.claims import HOLDS, MISSING, UNDECIDED, in_short
from bench.report.rate import write_rate
from bench.report.rate_claims import read_rate_claims
from bench.report.rate_figures import panels, write_rate_figures
from bench.report.rate_points import rates_of
from bench.report.report_data import load_report_data
from bench.store.rate import COLUMNS, FILE, KEPT, MAPS, rate_path, write_rows

PIXELS = 32 * 32


def add(tiny, name, points, form=KEPT, edits=("smile+0.5", "yaw+0.2"), rows=(), more=0.0):
    """Four pictures at points (codes, memory, pool, bits per pixel, mae): edits add 0.01 (the second 0.02) and more."""
    method, _, variant = name.removeprefix("codec-").partition(".")
    rows = list(rows)
    for codes, memory, pool, bpp, mae in points:
        for n, i in enumerate(tiny.ids[:4]):
            head = ("tiny_set", method, variant, form, codes, memory, pool, i)
            rows.append((*head, "rate", "", "bits", bpp * PIXELS))
            if form != FILE:
                rows.append((*head, "rate", "", "floats", 100.0))
                rows.append((*head, "rate", "", "side_bits", bpp * PIXELS / 4))
            rows.append((*head, "inversion", "", "mae", mae + 0.001 * n))
            rows += [(*head, "edit", e, "mae", mae + 0.001 * n + 0.01 * (k + 1) + more) for k, e in enumerate(edits)]
    write_rows(rate_path(tiny.store, tiny.config.profile, name), [pd.DataFrame(rows, columns=COLUMNS)], {})
    return rows


@pytest.fixture
def report(tiny):
    """latent_avg is a control; optimize_w_plus keeps maps too, its variant few reaches one edit; two codecs."""
    entries = {"few": {"method": "optimize_w_plus", "title": "few steps", "options": {}}}
    (tiny.root / "ablations.yaml").write_text(yaml.safe_dump({"ablations": entries}))
    add(tiny, "latent_avg", [(0, 0, 1, 3, 0.3), (0.5, 0, 1, 0.001, 0.3)], edits=())
    kept = add(tiny, "optimize_w_plus", [(0, 0, 1, 64, 0.10), (0.5, 1, 1, 2, 0.11), (0.5, 1, 2, 1, 0.2)])
    add(tiny, "optimize_w_plus", [(0, 0, 1, 90, 0.10), (0.5, 1, 1, 9, 0.12)], form=MAPS, rows=kept)
    add(tiny, "optimize_w_plus.few", [(0, 0, 1, 64, 0.2), (0.5, 1, 1, 2, 0.21)], edits=("smile+0.5",), more=0.03)
    add(tiny, "codec-jpeg", [(10, 0, 1, 1, 0.16), (90, 0, 1, 4, 0.04)], form=FILE, edits=())
    summary.aggregate(tiny.store, "toy", tiny.config)
    return load_report_data(tiny.root, "toy")


def write_claims(tiny, **claim):
    folder = tiny.root / "results" / "reference"
    folder.mkdir(exist_ok=True)
    entry = {"text": "T", "source": "S", "expect": "better", "left": "optimize_w_plus", "measures": ["mae"], **claim}
    (folder / "rate_claims.yaml").write_text(yaml.safe_dump({"paper": "P", "claims": [entry]}))
    return folder


def page(tiny, report, **claim):
    return write_rate(report, tiny.root / "tables", write_claims(tiny, **claim))[0].read_text()


def line(text, start):
    return next(x for x in text.splitlines() if x.startswith(f"| {start}"))


def test_the_table_has_every_point_with_its_marks(tiny, report):
    text = write_rate(report, tiny.root / "tables", tiny.root)[0].read_text()
    assert "Where the argument holds" not in text, "no claims, no argument"
    part = text.split("*Optimization (W+)*")[1]
    cells = [c.strip() for c in line(part, "codes 0.5, memory 1 ").strip("|").split("|")]
    assert cells[:5] == ["codes 0.5, memory 1", "4", "100", "2", "25%"]
    assert cells[5].startswith("0.1115 <sub>[0.11")
    assert cells[6].startswith("0.121 "), "the mean over the edit all reach"
    assert cells[7] == "D E A" and "| – |" in line(text.split("latent maps kept")[1], "codes 0.5")
    assert "Edits (`smile+0.5`)" in text and "Without edits: `latent_avg`." in text
    assert "not all reach them: `yaw+0.2`, not `optimize_w_plus.few`." in text
    assert "| quality 10 | 4 | – | 1 | – | 0.1615 " in text
    assert r"\begin{table*}" in (tiny.root / "tables" / "rate.tex").read_text()


def test_marks_are_those_of_inversions_alone(tiny, report):
    rates = rates_of(report, "tiny_set")
    marked = rates.table[rates.table["front_rate"]]
    assert set(marked["form"]) == {KEPT} and 0.001 in marked["bpp"].round(4).tolist()
    assert rates.edits == ["smile+0.5"] and not rates.codecs["front_all"].any()
    order = rates.table.loc[rates.table["method"] == "optimize_w_plus", ["memory_step", "pool"]].to_numpy().tolist()
    assert order[:3] == [[0, 1], [1, 1], [1, 2]], "points stand in the order of the sweep"


def test_a_statement_in_short_is_what_all_of_its_lines_say():
    assert in_short([HOLDS, HOLDS, MISSING]) == "**holds**" and in_short([MISSING]) == "**not measured yet**"
    assert in_short([HOLDS, UNDECIDED, HOLDS]) == "mixed (2 holds, 1 undecided)"


def test_differences_are_of_the_edits_both_reach(tiny, report):
    text = page(tiny, report, right="optimize_w_plus.few", measures=["edit:mae", "over:mae"])
    row = line(text, "Optimization (W+) − few steps")
    assert "- **holds**: T." in text
    assert "MAE, edits | −0.13 | [−0.13, −0.13] | < 0 | 4 images | **holds** |" in row
    assert "MAE, added by edits | −0.03 | [−0.03, −0.03]" in text
    spot = {"row": "optimize_w_plus", "form": MAPS, "memory": 1}
    text = page(tiny, report, right=spot, measures=["bits"], kind="ratio", expect=[None, 1])
    row = line(text, "Optimization (W+) / Optimization (W+), latent maps kept (memory 1)")
    assert "| Bits | 7.11 |" in row and "**does not hold**" in row, "64 bits a pixel by 9"


def test_a_codec_stands_at_the_bits_of_the_other_side(tiny, report):
    left = {"row": "optimize_w_plus", "memory": 1}
    text = page(tiny, report, left=left, right={"codec": "jpeg"})
    assert "− JPEG at these bits | MAE | 0.01 |" in text, "2 is halfway from 1 to 4: 0.10 on the codec's side"
    text = page(tiny, report, right={"codec": "jpeg"})
    assert "not measured yet: MAE: no picture has both" in text, "64 bits a pixel are beyond its qualities"
    text = page(tiny, report, left=left, right={"codec": "webp"})
    assert "not measured yet: `bench rate --codec webp`" in text
    text = page(tiny, report, left={**left, "memory": 4}, right="optimize_w_plus.gone")
    assert "memory 4: `bench rate --method optimize_w_plus`; `optimize_w_plus.gone`" in text
    assert "--method optimize_w_plus --ablation gone" in text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"right": {"row": "a", "codec": "jpeg"}}, "give a row or a codec"),
        ({"right": "a", "kind": "ratio"}, "belongs to kind difference"),
        ({"right": "a", "measures": []}, "claims.0.measures"),
        ({"right": {"row": "a", "step": 1}}, "claims.0.right.0.step"),
    ],
)
def test_claims_that_cannot_be(tiny, change, told):
    with pytest.raises(DataError, match=told):
        read_rate_claims(write_claims(tiny, **change) / "rate_claims.yaml")


def test_figures(tiny, report):
    columns = panels(report, rates_of(report, "tiny_set"))
    titles = {name: [one.title for one in lines] for name, lines in columns.items()}
    both = ["Optimization (W+)", "Optimization (W+), latent maps kept"]
    assert titles == {"Methods": both, "Variants": [*both, "few steps"]}, "no control"
    folder = tiny.root / "figures"
    folder.mkdir()
    made = [path.name for _, path in write_rate_figures(report, "tiny_set", folder)]
    assert made == ["rate_distortion.png", "rate_distortion_edit.png"]
    for name in made:
        drawn = np.asarray(Image.open(folder / name))
        assert drawn.shape[1] > 1000 and len(np.unique(drawn.reshape(-1, drawn.shape[2]), axis=0)) > 50


def test_without_edits_or_rates(tiny):
    summary.aggregate(tiny.store, "toy", tiny.config)
    report = load_report_data(tiny.root, "toy")
    assert write_rate(report, tiny.root, tiny.root) == []
    assert write_rate_figures(report, "tiny_set", tiny.root) == []
    write_rows(rate_path(tiny.store, tiny.config.profile, "latent_avg"), [], {})
    assert write_rate(report, tiny.root, tiny.root) == [], "a profile that asks for no rates"
    add(tiny, "optimize_w_plus", [(0, 0, 1, 64, 0.10), (0.5, 0, 1, 2, 0.11)], edits=())
    assert "No edits were made." in write_rate(report, tiny.root / "tables", tiny.root)[0].read_text()
    assert [p.name for _, p in write_rate_figures(report, "tiny_set", tiny.root)] == ["rate_distortion.png"]
    path = rate_path(tiny.store, tiny.config.profile, "optimize_w_plus")
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read.*bench rate"):
        rates_of(report, "tiny_set")
