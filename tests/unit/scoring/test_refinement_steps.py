"""Steps of a run: kept for every picture, scored after each as a run of so many steps would be, whatever the engine."""

import numpy as np
import pandas as pd
import pytest
import yaml

from bench.api import Inversion
from bench.config.project import load_config
from bench.engine import Execution
from bench.errors import BenchError, DataError, ShapeError
from bench.inversion.plan import Overrides, plan_run
from bench.inversion.runner import image_seed, run
from bench.names import config_hash
from bench.scoring.score_run import score_run
from bench.store.paths import RunStore
from bench.store.steps import COLUMNS, read_steps, steps_path

pytestmark = pytest.mark.numeric

STEPPING = '''
import torch
from bench import api
class Method(api.Method):
    """Goes a part of the way from the mean code at each step."""
    title, source = "Stepping", "test"
    options = {"steps": 3, "raise_for": 0, "nan_for": 0}
    def embed(self, x):
        seeds = self.context.image_seeds
        if self.opt["raise_for"] in seeds:
            raise ValueError("cannot do this one")
        mean, found = self.generator.latent_avg.expand(len(x), -1, -1), []
        for step in range(self.opt["steps"]):
            found.append(mean + (step + 1) * x.mean((1, 2, 3))[:, None, None])
        if self.opt["nan_for"] in seeds:
            found[0][seeds.index(self.opt["nan_for"])] = float("nan")
        return api.Inversion(found[-1], steps=torch.stack(found, 1))
'''


@pytest.fixture
def stepping(project):
    """The toy project with a method that keeps steps, which the profile scores on six pictures."""
    (project / "methods" / "stepping.py").write_text(STEPPING)
    ask(project, {"limit": 6, "metrics": ["mae", "psnr"]})
    return project


def ask(project, steps):
    path = project / "profiles" / "toy.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "steps": steps}))


def invert(project, method="stepping", variant="", overwrite=False, **options):
    plan = plan_run(load_config(project), method, "toy", Overrides(variant=variant or None, options=options))
    run(plan, overwrite=overwrite)
    return plan.run


def score(project, made, **more):
    """The rows after each step, or None, and what :func:`score_run` says."""
    store, name = RunStore(project, "toy"), made.name
    more = {"device": "cpu", **more}
    result = score_run(load_config(project), store, made.scope, name.method, name.variant, "toy", **more)
    return read_steps(store, made.scope, [name.label], "toy"), result


def test_slices_and_rate():
    steps = np.arange(24.0).reshape(3, 2, 2, 2)
    part = Inversion(steps[:, -1], steps=steps)[1:]
    assert (part.steps == steps[1:]).all() and (part.steps[:, -1] == part.w_plus).all()
    assert Inversion(steps[:, -1])[1:].steps is None


def test_every_step_of_every_picture_is_kept(stepping):
    made = invert(stepping)
    ids, steps = made.read_steps()
    assert ids == made.read()["ids"] and steps.shape == (8, 3, 8, 16) and (steps[:, -1] == made.read_latents()[1]).all()
    assert made.read()["rate_floats"] == 128
    assert not invert(stepping, "toy_codes").steps.exists()


def test_steps_of_failed_pictures_are_not_kept(stepping):
    """One raises, so that its batch is tried picture by picture; one has a step that is not finite."""
    failing = {"raise_for": image_seed(0, "toy", "head_2"), "nan_for": image_seed(0, "toy", "head_5")}
    made, whole = invert(stepping, variant="fails", **failing), invert(stepping)
    assert set(made.read()["failures"]) == {"head_2", "head_5"}
    ids, steps = made.read_steps()
    assert ids == made.read_latents()[0] == [f"head_{n}" for n in (0, 1, 3, 4, 6, 7)]
    np.testing.assert_allclose(steps, whole.read_steps()[1][[0, 1, 3, 4, 6, 7]], atol=1e-6)
    table, _ = score(stepping, made)
    assert list(dict.fromkeys(table["image_id"])) == ids


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("[:, :, :0]", "keeps steps of the wrong shape; got .1, 3, 0, 16.; expected .1, S, 8, 16."),
        ("[:, -2 if x.mean() > -0.1 else -1 :]", "of method 'stepping' differ in shape; got .2, 8, 16., .1, 8, 16."),
    ],
)
def test_steps_of_wrong_shapes_stop_the_run(stepping, chosen, words):
    source = STEPPING.replace("torch.stack(found, 1)", f"torch.stack(found, 1){chosen}")
    (stepping / "methods" / "stepping.py").write_text(source)
    with pytest.raises(ShapeError, match=words):
        run(plan_run(load_config(stepping), "stepping", "toy", Overrides(batch_size=1)))


def test_rows_are_those_of_runs_of_so_many_steps(stepping, assert_same_rows):
    table, result = score(stepping, invert(stepping))
    assert list(table.columns) == [*COLUMNS, "label"] and result.missing == {}
    assert len(table) == 6 * 3 * 2 and set(table["image_id"]) == {f"head_{n}" for n in range(6)}
    assert table.loc[table["metric"] == "mae", "signature"].unique() == ["mae|v1|native|none|0..1|rgb"]
    for steps in (1, 2, 3):
        made = invert(stepping, variant=f"of_{steps}", steps=steps)
        rows = pd.read_parquet(score(stepping, made)[1].path)
        part = table.loc[table["step"] == steps, ["image_id", "metric", "value"]]
        assert_same_rows(part, rows.loc[rows["image_id"].isin(part["image_id"]), list(part)].query("metric != 'rate'"))
    means = table[table["metric"] == "mae"].groupby("step")["value"].mean()
    assert means.nunique() == 3, "steps that do not differ would show nothing"


def test_engines_agree(stepping, monkeypatch):
    made = invert(stepping)
    path = steps_path(RunStore(stepping, "toy"), made.scope, "stepping", "toy")
    monkeypatch.setattr("bench.scoring.refinement_steps.SHARD", 2)
    score(stepping, made)
    serial = path.read_bytes()
    score(stepping, made, execution=Execution("processes", 2))
    assert path.read_bytes() == serial


def test_nothing_where_nothing_is_kept_or_asked_for(stepping):
    table, _ = score(stepping, invert(stepping, "toy_codes"))
    assert table is None
    made = invert(stepping)
    assert score(stepping, made)[0] is not None
    ask(stepping, None)
    assert score(stepping, made)[0] is None, "rows of other settings do not stay"


def test_a_metric_that_lacks_something_is_left_out(stepping):
    ask(stepping, {"limit": 2, "metrics": ["mae", "lpips_alex"]})
    table, result = score(stepping, invert(stepping))
    assert set(table["metric"]) == {"mae"} and "lpips_alex" in result.missing
    ask(stepping, {"limit": 2, "metrics": ["rate"]})
    with pytest.raises(BenchError, match="'rate' compares no pair of pictures.*steps: metrics"):
        score(stepping, invert(stepping))


def test_rows_of_another_state_of_the_run_are_refused(stepping):
    made = invert(stepping, variant="x")
    score(stepping, made)
    before = config_hash(made.read())
    invert(stepping, variant="x", overwrite=True, steps=2)
    assert config_hash(made.read()) != before
    with pytest.raises(DataError, match="another state of the run.*bench score"):
        read_steps(RunStore(stepping, "toy"), "local", ["stepping.x"], "toy")
    steps_path(RunStore(stepping, "toy"), "local", "stepping.x", "toy").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="steps .* cannot be read"):
        read_steps(RunStore(stepping, "toy"), "local", ["stepping.x"], "toy")
