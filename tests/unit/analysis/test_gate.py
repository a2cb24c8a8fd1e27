"""The gate is red for every way of being worse, names the metric, and is green for an identical rerun."""

from __future__ import annotations

import json
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from bench.analysis.gate import margin_of, parse_margins
from bench.analysis.protocol import Frame, why_not
from bench.errors import BenchError
from bench.files import read_rgb, write_png
from bench.store.paths import RunStore

METHOD = '''
from bench import api
class Method(api.Method):
    """Keeps the picture a little too dark: an error that a loss can only enlarge."""
    title, source = "Dim", "test"
    options = {"keep": 0.96}
    def embed(self, x):
        w_plus = self.generator.latent_avg.expand(len(x), -1, -1).clone()
        return api.Inversion(w_plus, {"x": (x + 1) * self.opt["keep"] - 1})
    def render(self, w_plus, inversion):
        return inversion.memory["x"].clone()
'''


@pytest.fixture
def judged(cli, project):
    """A scored project with its baseline saved; returns the command line."""
    (project / "methods" / "dim.py").write_text(METHOD)
    params = project / "params.yaml"
    params.write_text(
        params.read_text().replace("- toy_codes", "- dim") + "gate: {margins: {default: 0.5%, psnr: 0.05}}\n"
    )
    for words in (("run", "--method", "dim"), ("score", "--method", "dim"), ("gate", "--save", "kept")):
        answer = cli(*words)
        assert answer.code == 0, answer.err
    return cli


def spoil(project, change):
    """Alter every stored picture of the run as a slip in the method's code would."""
    run = RunStore(project, "toy").run("toy", "dim", "toy")
    pictures = {i: read_rgb(run.image(i)) for i in run.read()["ids"]}
    for image_id in pictures:
        write_png(run.image(image_id), change(pictures, image_id))


def blurred(pictures, image_id):
    """A Gaussian of half a pixel: nobody sees it."""
    from scipy.ndimage import gaussian_filter

    return np.stack([gaussian_filter(pictures[image_id][..., c], 0.5) for c in range(3)], axis=-1)


def shifted(pictures, image_id):
    """One pixel to the side, as one wrong crop offset does."""
    return np.roll(pictures[image_id], 1, axis=1)


def swapped(pictures, image_id):
    """BGR for RGB."""
    return np.ascontiguousarray(pictures[image_id][..., ::-1])


def neighbour(pictures, image_id):
    """Names that start at 1 for pictures that start at 0."""
    names = list(pictures)
    return pictures[names[(names.index(image_id) + 1) % len(names)]]


def test_an_identical_rerun_is_green(judged, project):
    assert judged("run", "--method", "dim", "--fresh").code == 0 and judged("score", "--method", "dim").code == 0
    answer = judged("gate", "--baseline", "kept", "--junit", "gate.xml", "--markdown", "gate.md")
    assert answer.code == 0 and "**Gate: green.** 3 means" in answer.out and "regression" not in answer.err
    assert (project / "gate.md").read_text().strip() == answer.out.strip()
    assert ET.parse(project / "gate.xml").getroot().get("failures") == "0"


@pytest.mark.parametrize("change", [blurred, shifted, swapped, neighbour])
def test_a_worse_method_is_red_and_the_metric_is_named(judged, project, change):
    spoil(project, change)
    judged("score", "--method", "dim")
    answer = judged("gate", "--baseline", "kept", "--junit", "gate.xml")
    assert answer.code == 1 and "**Gate: RED.** 2 of 3 means regress: mae of dim-toy, psnr of dim-toy." in answer.out
    assert "regression in dim-toy: mae is worse: " in answer.err and "worst: head_" in answer.err
    cases = {c.get("name"): c.find("failure") for c in ET.parse(project / "gate.xml").iter("testcase")}
    assert cases["mae"] is not None and cases["rate"] is None


def drop(project, image_id):
    """A run that lost one picture, as its own record says."""
    store = RunStore(project, "toy")
    run, path = store.run("toy", "dim", "toy"), store.scores_path("toy", "dim")
    record = json.loads(run.json.read_text())
    run.json.write_text(json.dumps({**record, "failures": {image_id: "ValueError: no"}}))
    rows = pd.read_parquet(path)
    rows[rows["image_id"] != image_id].to_parquet(path, index=False)


def test_one_dropped_image_is_red(judged, project):
    """Its mean over the others may even be better."""
    drop(project, "head_3")
    answer = judged("gate", "--baseline", "kept")
    assert (
        answer.code == 1 and "1 images have no value any more: head_3" in answer.err and "mae of dim-toy" in answer.out
    )


def test_a_better_method_is_green_and_margins_decide(judged, project):
    spoil(project, blurred)
    judged("score", "--method", "dim")
    assert judged("gate", "--baseline", "kept", "--margin", "mae=1", "--margin", "psnr=50").code == 0
    judged("gate", "--save", "blurred")
    judged("run", "--method", "dim", "--fresh"), judged("score", "--method", "dim")
    answer = judged("gate", "--baseline", "blurred")
    assert answer.code == 0 and "-0.0" in answer.out


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        ("signature", "mae follows mae|v0|native|none|0..1|rgb in the baseline and mae|v1|native|none|0..1|rgb now"),
        ("metric", "mse of run dim-toy is in the baseline and not in the present results"),
        ("manifest", "they are of different states of the dataset's manifest"),
        ("protocol", "they follow different protocols: other and toy32"),
        ("domain", "they are of different domains: cars and toy"),
        ("method", "run dim2-toy is in the baseline and not in the present results"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(judged, project, one_line_error, spoilt, says):
    kept = project / "kept"
    store = RunStore(kept, "toy")
    path, record = store.scores_path("toy", "dim"), store.run("toy", "dim", "toy").json
    rows = pd.read_parquet(path)
    if spoilt == "signature":
        rows["signature"] = rows["signature"].str.replace("mae|v1", "mae|v0")
    elif spoilt == "metric":
        rows = pd.concat([rows, rows[rows["metric"] == "mae"].assign(metric="mse")])
    elif spoilt == "manifest":
        record.write_text(record.read_text().replace('"manifest_sha256": "', '"manifest_sha256": "f'))
    elif spoilt == "protocol":
        profile = kept / "profiles" / "toy.yaml"
        profile.write_text(profile.read_text().replace("toy32", "other"))
    elif spoilt == "domain":
        manifest = kept / "datasets" / "toy.yaml"
        manifest.write_text(manifest.read_text().replace("domain: toy", "domain: cars"))
    else:
        rows = rows.assign(method="dim2", run_id="dim2-toy")
        (kept / "params.yaml").write_text((kept / "params.yaml").read_text().replace("- dim", "- dim2"))
        path.unlink()
        path = store.scores_path("toy", "dim2")
        record.parent.parent.rename(record.parent.parent.with_name("dim2"))
    rows.to_parquet(path, index=False)
    line = one_line_error("gate", "--baseline", "kept")
    assert "these results cannot be compared" in line and says in line


def test_a_git_revision_is_a_baseline(judged, project):
    """Its scores come from DVC's cache, whatever lies in the folder now."""

    def do(*words):
        done = subprocess.run(words, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    git = ("git", "-c", "user.name=t", "-c", "user.email=t@t")
    dvc = (sys.executable, "-m", "dvc")
    do(*git, "init", "-q")
    do(*dvc, "init", "-q")
    do(*dvc, "add", "-q", "results/scores/toy/dim.parquet", "results/runs/toy/dim")
    (project / ".gitignore").write_text("pictures\ndatasets/prepared\nresults/*/toy/*/\n*.parquet\n")
    do(*git, "add", "-A")
    do(*git, "commit", "-qm", "baseline")
    assert judged("gate", "--baseline", "HEAD").code == 0
    spoil(project, swapped)
    judged("score", "--method", "dim")
    answer = judged("gate", "--baseline", "HEAD")
    assert answer.code == 1 and "Baseline: `HEAD (" in answer.out and "mae is worse" in answer.err


def test_mistakes(judged, one_line_error):
    assert "'nowhere' is neither a path nor a git revision" in one_line_error("gate", "--baseline", "nowhere")
    assert "needs one of --baseline and --save" in one_line_error("gate")
    assert "margin of mae is not valid; got 'x'" in one_line_error("gate", "--baseline", "kept", "--margin", "mae=x")
    assert "did you mean 'psnr'" in one_line_error("gate", "--baseline", "kept", "--margin", "pnsr=1")
    assert "expected metric=value" in one_line_error("gate", "--baseline", "kept", "--margin", "mae")
    assert "has no such results; expected dim-toy" in one_line_error("gate", "--baseline", "kept", "--method", "dam")


def test_margins():
    given = parse_margins(["mae=0.01", "default=2%"])
    assert margin_of("mae", given, 5.0) == 0.01 and margin_of("psnr", given, 30.0) == pytest.approx(0.6)
    assert margin_of("prc.recall", {"prc": 0.1}, 1.0) == 0.1 and margin_of("mae", {}, 1.0) == 0.0
    with pytest.raises(BenchError, match="margin of mae is not valid"):
        margin_of("mae", {"mae": -1}, 1.0)


def test_frames():
    a = Frame("strict", "faces", "d", "abc")
    assert why_not(a, a) is None
    assert "different domains: faces and cars" in why_not(a, Frame("strict", "cars", "d", "abc"))


def test_ratios_of_seconds_are_gated_and_seconds_are_not(judged, project):
    """A slower machine slows both methods; a slower method is red."""

    def timed(folder, mine, reference, fingerprint="a"):
        for method, seconds in (("dim", mine), ("toy_copy", reference)):
            path = RunStore(folder, "toy").timing_path("toy", "cpu", f"{method}-toy")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"batches": [{"total_s": seconds}], "fingerprint": fingerprint}))

    for folder in (project, project / "kept"):
        profile = folder / "profiles" / "toy.yaml"
        profile.write_text(profile.read_text().replace("time:\n", "time:\n  reference: toy_copy\n"))
    words = ("gate", "--baseline", "kept", "--margin", "time_ratio=10%")
    timed(project / "kept", 2.0, 1.0)
    timed(project, 20.0, 10.0)
    assert judged(*words).code == 0
    timed(project, 24.0, 10.0)
    answer = judged(*words)
    assert answer.code == 1 and "time_ratio is worse: 0.4" in answer.err
    assert judged("gate", "--baseline", "kept").code == 0, "no margin, no verdict"
