"""Claims against synthetic scores: every verdict, every kind, and what to do about what is not there."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from bench.analysis import summary
from bench.analysis.statistics import bootstrap_means, statistics
from bench.edits.results import TITLES
from bench.errors import DataError
from bench.report.claims import FAILS, HOLDS, MISSING, UNDECIDED, Measured, pairs, verdict
from bench.report.edit_scores import PREFIX, split_measure
from bench.report.report_data import load_report_data
from bench.report.row_claims import read_claims, write_claims

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
BASE = {"source": "Table 1", "left": "optimize_w_plus", "right": "latent_avg", "kind": "difference", "expect": "better"}


@pytest.fixture
def page(tiny):
    """Write claims.md of given claims over scores of given values; returns its table rows."""

    def write(*claims, paper="A paper", values=()):
        for method, column in values:
            known = {"mae": dict(zip(tiny.ids, column, strict=False)), "ssim_gauss": {i: 0.5 for i in tiny.ids}}
            tiny.add_run(method, known)
        summary.aggregate(tiny.store, "toy", tiny.config)
        folder = tiny.root / "results" / "reference"
        folder.mkdir(exist_ok=True)
        written = [{"text": "T", **BASE, "metrics": ["mae"], **claim} for claim in claims]
        written = [{k: v for k, v in claim.items() if v is not None} for claim in written]
        (folder / "claims.yaml").write_text(yaml.safe_dump({"paper": paper, "claims": written}))
        path = write_claims(load_report_data(tiny.root, "toy"), tiny.root / "reports" / "claims.md", folder)
        lines = [x for x in path.read_text().splitlines() if x.startswith("| ") and not x.startswith(("| *", "| :"))]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]

    return write


def test_the_four_verdicts(page):
    """Clearly better, clearly worse, an interval around 0, and a row nobody has."""
    rng = np.random.default_rng(1)
    noise = list(0.3 + 0.02 * rng.standard_normal(12))
    rows = page(
        {}, {"left": "latent_avg", "right": "optimize_w_plus"}, {"metrics": ["ssim_gauss"]}, {"left": "hfgi"},
        values=[("latent_avg", noise), ("optimize_w_plus", [v - 0.1 for v in noise])],
    )  # fmt: skip
    assert [r[-1].split(":")[0].strip("*") for r in rows] == [HOLDS, FAILS, UNDECIDED, MISSING]
    assert rows[0][2] == "−0.1" and rows[0][3] == "[−0.1, −0.1]" and rows[0][4:6] == ["< 0", "12 images"]
    assert rows[1][2] == "0.1" and rows[2][2:4] == ["0", "[0, 0]"]
    assert rows[3][-1] == "not measured yet: `hfgi`: add `hfgi` to `methods` in params.yaml, then `bench repro`"


def test_pairs_are_paired(page):
    """A small steady gain under large differences between images is found; each mean's own interval would hide it."""
    wide = [0.1 * k for k in range(12)]
    rows = page(
        {}, values=[("latent_avg", wide), ("optimize_w_plus", [v - 0.001 - 1e-5 * k for k, v in enumerate(wide)])]
    )
    assert rows[0][-1] == "**holds**" and rows[0][5] == "12 images"


def test_the_images_both_have_count(page):
    """optimize_w_plus has 5 of 12 images in the project as it is."""
    assert page({})[0][5] == "5 images"


def test_ratio(page):
    left, right = [0.1 + 0.01 * k for k in range(12)], [0.2 + 0.02 * k for k in range(12)]
    values = [("optimize_w_plus", left), ("latent_avg", right)]
    ranges = [[None, 0.75], [0.6, None], [0.4, 0.5]]
    rows = page(*[{"kind": "ratio", "expect": r} for r in ranges], values=values)
    assert [r[2] for r in rows] == ["0.5"] * 3 and [r[4] for r in rows] == ["< 0.75", "> 0.6", "0.4 to 0.5"]
    assert rows[0][0].count("/") == 1 and "**holds**" in rows[0][-1] and "**does not hold**" in rows[1][-1]


def test_intervals_are_what_the_note_says(page, tiny):
    """Differences: the BCa interval of the statistics; ratios: percentiles of resampled means, drawn together."""
    rng = np.random.default_rng(2)
    left, right = rng.gamma(1.0, 0.1, 12), rng.gamma(1.0, 0.3, 12)
    values = [("optimize_w_plus", list(left)), ("latent_avg", list(right))]
    rows = page({}, {"kind": "ratio", "expect": [None, 1]}, values=values)
    resamples = tiny.config.bootstrap
    bca = statistics([left - right], resamples, 0)[0]
    drawn = bootstrap_means(np.stack([left, right]), resamples, 0)
    plain = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975])
    limits = [[float(v.replace("−", "-")) for v in row[3].strip("[]").split(", ")] for row in rows]
    assert limits[0] == pytest.approx([bca.ci_low, bca.ci_high], rel=5e-3)
    assert limits[0] != pytest.approx(list(plain), rel=5e-3), "skewed values tell the two apart"
    assert limits[1] == pytest.approx(list(np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])), rel=5e-3)
    text = (tiny.root / "reports" / "claims.md").read_text()
    assert f"intervals of the mean (BCa, {resamples} resamples" in text and "ratios are percentiles" in text


def test_time_ratio(page, tiny):
    """Of the medians at batch 1, and the command for what was not timed."""
    for method, seconds in (("optimize_w_plus", [30.0, 31, 32]), ("latent_avg", [0.1, 0.1, 0.1])):
        path = tiny.store.timing_path("toy", "machine", f"{method}-tiny_set")
        path.parent.mkdir(parents=True)
        batch = {"size": 1, "total_s": 9.0, "samples": [{"total_s": s} for s in seconds]}
        path.write_text(json.dumps({"started": "2026", "device_name": "a machine", "batches": [batch]}))
    claim = {"kind": "time_ratio", "metrics": None, "expect": [100, None]}
    rows = page(claim, {**claim, "right": "copy_input"})
    assert rows[0][1:3] == ["time", "310"] and rows[0][5:] == ["3× and 3×", "**holds**"]
    assert rows[1][-1] == "not measured yet: time of `copy_input`: `bench time --method copy_input`"


def test_remedies(page, tiny):
    """A listed row that was not run, an unlisted ablation, a metric that was not scored."""
    params = tiny.root / "params.yaml"
    params.write_text(params.read_text().replace("- latent_avg", "- latent_avg\n- e4e"))
    rows = page({"left": "e4e"}, {"left": "hfgi.no_dci"}, {"metrics": ["perc_efflite0"]})
    assert "`bench run --method e4e --dataset tiny_set`, then `bench score --method e4e`" in rows[0][-1]
    assert "add `no_dci: hfgi` to `ablations` in params.yaml" in rows[1][-1]
    assert "`bench score --method latent_avg --metric perc_efflite0`" in rows[2][-1]


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.2, -0.1, HOLDS),
        (0.1, 0.2, FAILS),
        (-0.1, 0.1, UNDECIDED),
        (0.0, 0.0, UNDECIDED),
        (math.nan, math.nan, UNDECIDED),
    ],
)
def test_verdict_below_zero(low, high, word):
    assert verdict(Measured(0, low, high, "5"), -math.inf, 0.0) == word


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"kind": "odd"}, "kind"), ({"expect": "nicer"}, "expect"), ({"metrics": []}, "metrics belong"),
     ({"kind": "ratio"}, "belongs to kind difference"), ({"righ": "x"}, "righ")],
)  # fmt: skip
def test_bad_claims_are_named(page, change, expected):
    with pytest.raises(DataError, match=expected):
        page(change)


def test_the_paper_s_claims_are_whole():
    """Every claim on file names rows and metrics there are, and all encoders stand against HFGI."""
    from bench import registry
    from bench.config.project import load_ablations

    root = REFERENCE.parents[1]
    known = set(registry.methods(root).names())
    known |= {f"{a.method}.{name}" for name, a in load_ablations(root).items()}
    claims = read_claims(REFERENCE / "claims.yaml").claims
    assert {row for c in claims for row in (c.left, *c.right)} <= known
    measures = set(registry.metrics(root).names())
    of_edits = {split_measure(m)[1] for c in claims for m in c.metrics if m.startswith(PREFIX)}
    assert {m for c in claims for m in c.metrics if not m.startswith(PREFIX)} <= measures
    assert of_edits and of_edits <= measures | set(TITLES)
    first = claims[0]
    assert first.left == "hfgi" and set(first.right) == {"psp", "e4e", "restyle_psp", "restyle_e4e"}
    assert len(list(pairs(first))) == 12
