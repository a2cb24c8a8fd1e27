"""Edits of bench rate: strengths stored or matched here, edited pictures at every point, maps that cannot follow."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from bench.config.project import load_config
from bench.config.sections import RateSettings
from bench.data.dataset import PreparedDataset
from bench.edits.targets import EditSpec, Targets
from bench.engine import SERIAL
from bench.images import to_tensor, to_uint8
from bench.inversion.plan import Overrides, plan_run
from bench.inversion.runner import load_method
from bench.rate import edits as rate_edits
from bench.rate.edits import EditStep, plan_edit_steps
from bench.rate.sweep import measure_plan, steps_of
from bench.store.paths import RunStore
from bench.store.rate import KEPT, MAPS, per_image, points, reached

pytestmark = pytest.mark.numeric

BRIGHT = EditSpec("bright", "bright", 0.02)
ASKED = RateSettings(images=3, codes=[0.5], memory=[1.0], beside=0.25)
MAPPED = '''
from bench import api
class Method(api.Method):
    """Adds the picture's distance from its inversion; shifts it where the code is brighter."""
    title, source = "Mapped", "test"
    def embed(self, x):
        w = self.generator.latent_avg.expand(len(x), -1, -1).clone()
        return api.Inversion(w, {"distortion": x - self.generator.synthesize(w)})
    def render(self, w_plus, inversion):
        if "map" in inversion.memory:
            return self.generator.synthesize(w_plus) + inversion.memory["map"]
        moved = bool((w_plus[:, 0, 0] - self.generator.latent_avg[0, 0]).abs().max() > 0.1)
        return self.generator.synthesize(w_plus) + inversion.memory["distortion"].roll(int(moved), 3)
    def latent_maps(self, inversion):
        return api.Inversion(inversion.w_plus, {"map": inversion.memory["distortion"]})
'''


@pytest.fixture
def exact_targets(monkeypatch):
    """The toy dataset counts as rendered: an edit must show the source made brighter; head_1 has no room."""
    monkeypatch.setattr(rate_edits, "has_targets", lambda manifest: True)

    def exact(dataset, ids, wanted):
        brighter = {i: np.clip(dataset.read(i).astype(int) + 9, 0, 255).astype(np.uint8) for i in ids}
        return Targets({i: picture for i, picture in brighter.items() if i != "head_1"}, {})

    monkeypatch.setattr(rate_edits, "exact", exact)


def measured(root, method, moves, **change):
    config = load_config(root)
    plan = plan_run(config, method, "toy", Overrides())
    return measure_plan(config, plan, ASKED.model_copy(update=change), moves, SERIAL)[0]


def test_strengths_are_those_of_score_edits_stored_or_not(edited, cli, exact_targets):
    config, store = load_config(edited), RunStore(edited, "toy")
    plan = plan_run(config, "toy_codes", "toy", Overrides())
    here, told = plan_edit_steps(config, store, plan, SERIAL)
    assert told == [] and [m.edit_spec for m in here] == [BRIGHT] and 0 < here[0].degree < 0.8
    assert cli("score-edits", "--method", "toy_codes", "--masks", "masks").code == 0
    path = edited / "results" / "edits" / "toy" / "toy_codes" / "edits.json"
    record = json.loads(path.read_text())
    assert record["matched"]["bright+0.02"]["degree"] == here[0].degree, "matched in the same way"
    record["matched"]["bright+0.02"]["degree"] = 0.3
    path.write_text(json.dumps(record))
    assert plan_edit_steps(config, store, plan, SERIAL)[0] == (EditStep(BRIGHT, 0.3),), "what is stored is taken"
    path.write_text(json.dumps({**record, "config_hash": "of another run"}))
    assert plan_edit_steps(config, store, plan, SERIAL)[0] == here


def test_why_there_are_no_edits(edited, ask, exact_targets, monkeypatch):
    store = RunStore(edited, "toy")

    def told():
        config = load_config(edited)
        moves, lines = plan_edit_steps(config, store, plan_run(config, "toy_codes", "toy", Overrides()), SERIAL)
        assert moves == () and len(lines) == 1
        return lines[0]

    ask(directions={"bright": [9.0]})
    assert told().startswith("bright+9 is left out: not reached")
    source = edited / "methods" / "toy_codes.py"
    source.write_text(source.read_text() + '    cost = "slow"\n')
    from bench import registry

    registry.methods.cache_clear()
    assert "take long to match, `bench score-edits --method toy_codes` does it" in told()
    monkeypatch.setattr(rate_edits, "has_targets", lambda manifest: manifest.render is not None)
    assert told() == "inversions only: dataset 'toy' has no exact targets of edits"
    ask(None)
    assert told() == "inversions only: profile 'toy' asks for no edits"


def test_directions_of_rates_are_among_those_of_edits(edited, cli, one_line_error, exact_targets):
    import yaml

    path = edited / "profiles" / "toy.yaml"
    profile = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**profile, "rate": {"images": 2, "codes": [0.5], "directions": ["brite"]}}))
    assert "did you mean 'bright'" in one_line_error("rate", "--method", "toy_codes")
    path.write_text(yaml.safe_dump({**profile, "rate": {"images": 2, "codes": [0.5], "directions": []}}))
    assert "`rate: directions` is empty" in cli("rate", "--method", "toy_codes").err


def test_edits_are_of_the_quantised_inversion_against_the_exact_target(edited, exact_targets, assert_same_rows):
    rows = measured(edited, "toy_codes", [EditStep(BRIGHT, 0.5)])
    edits = rows[rows["task"] == "edit"]
    assert set(edits["image_id"]) == {"head_0", "head_2"} and set(edits["edit"]) == {"bright+0.02"}
    assert edits["codes_step"].tolist() == [0, 0, 0.5, 0.5] and set(edits["metric"]) == {"mae"}
    plan = plan_run(load_config(edited), "toy_codes", "toy", Overrides())
    method = load_method(edited, "toy_codes", "toy", plan.options, "cpu", "fp32")
    data = PreparedDataset.open(edited, "toy")
    from bench.directions import files
    from bench.inversion.runner import image_seed

    method.context.image_seeds = [image_seed(0, "toy", "head_2")]
    with torch.no_grad():
        inversion = method.embed(to_tensor(data.stack(["head_2"])))
        w_plus = files.find(edited, "toy", "bright").apply(inversion.w_plus, 0.5)
        seen = to_uint8(method.render(w_plus, inversion))[0].astype(float)
    meant = np.clip(data.read("head_2").astype(float) + 9, 0, 255)
    found = edits[(edits["codes_step"] == 0) & (edits["image_id"] == "head_2")]
    assert_same_rows(found, found.assign(value=[np.abs(seen - meant).mean() / 255]))
    assert reached(rows) == ["bright+0.02"]
    pictures = per_image(rows, reached(rows)).loc[("toy", "toy_codes", "", KEPT, 0.0, 0.0, 1)]
    assert pictures["edit:mae"].notna().tolist() == [True, False, True]
    over = pictures.loc["head_2", "edit:mae"] - pictures.loc["head_2", "mae"]
    assert pictures.loc["head_2", "over:mae"] == pytest.approx(over)


def test_rows_do_not_depend_on_the_batch(edited, exact_targets, monkeypatch, assert_same_rows):
    together = measured(edited, "toy_codes", [EditStep(BRIGHT, 0.5)])
    monkeypatch.setattr("bench.rate.sweep.SHARD", 1)
    alone = measured(edited, "toy_codes", [EditStep(BRIGHT, 0.5)])
    assert_same_rows(alone, together)


def test_maps_stay_where_they_are_in_edits(edited, exact_targets):
    (edited / "methods" / "toy_mapped.py").write_text(MAPPED)
    from bench import registry

    registry.methods.cache_clear()
    rows = measured(edited, "toy_mapped", [EditStep(BRIGHT, 0.5)])
    found = points(rows, {"toy": 1024}).set_index(["form", "memory_step"])
    assert found.loc[(KEPT, 0), "mae"] == pytest.approx(found.loc[(MAPS, 0), "mae"], abs=1e-6) == 0
    assert found.loc[(KEPT, 0), "edit:mae"] != found.loc[(MAPS, 0), "edit:mae"], "one follows the edit, one does not"


def test_variants_have_a_sweep_of_their_own():
    asked = RateSettings(memory=[1.0, 2.0], pools=[2], of_ablations=[4.0])
    assert steps_of(asked, "").memory == (1.0, 2.0) and steps_of(asked, "").pools == (2,)
    assert steps_of(asked, "quiet").memory == (4.0,) and steps_of(asked, "quiet").pools == ()
    assert steps_of(RateSettings(memory=[1.0, 2.0]), "quiet").memory == (1.0, 2.0)


def test_only_edits_that_all_reach_are_compared():
    head = {"dataset": "d", "variant": "", "form": KEPT, "codes_step": 0.0, "memory_step": 0.0, "pool": 1}

    def row(method, edit, value):
        task = "edit" if edit else "inversion"
        return {**head, "method": method, "image_id": "a", "task": task, "edit": edit, "metric": "mae", "value": value}

    values = {"one": {"": 1, "x": 2, "y": 9}, "two": {"": 3, "x": 5}}
    rows = pd.DataFrame([row(method, edit, v) for method, of in values.items() for edit, v in of.items()])
    assert reached(rows) == ["x"]
    found = per_image(rows, reached(rows)).reset_index().set_index("method")
    assert found["edit:mae"].tolist() == [2, 5] and found["over:mae"].tolist() == [1, 2]
