"""The runner: no picture is dropped; no engine, interruption or clock moves results, a batch by rounding alone."""

import json
import re

import numpy as np
import pytest
import torch

from bench.config.project import load_config
from bench.data.dataset import PreparedDataset
from bench.device import ACCELERATOR_BATCH
from bench.engine import SERIAL, Execution, Shard
from bench.errors import BenchError, DataError, ShapeError, UnknownName, WeightsError
from bench.files import read_rgb
from bench.inversion.plan import Overrides, plan_run
from bench.inversion.runner import _finite, batch_on, image_seed, invert_batch, load_method, run
from bench.store.latents import read_latents

pytestmark = pytest.mark.numeric


def plan(project, method="toy_codes", **asked):
    return plan_run(load_config(project), method, "toy", Overrides(**asked))


def pictures(a_plan):
    return {p.stem: read_rgb(p) for p in sorted(a_plan.run.images.iterdir())}


def everything(a_plan):
    """All files of a run but the pictures' order on disk."""
    return {str(p.relative_to(a_plan.run.folder)): p.read_bytes() for p in a_plan.run.folder.rglob("*") if p.is_file()}


def test_every_image_has_picture_and_code(project):
    chosen = plan(project)
    result = run(chosen)
    ids = [f"head_{n}" for n in range(8)]
    assert result["ids"] == ids and result["n"] == 8 and result["failures"] == {}
    assert list(pictures(chosen)) == ids and read_latents(chosen.run.latents_path)[0] == ids
    assert read_rgb(chosen.run.image("head_3"), 32).shape == (32, 32, 3)
    assert read_latents(chosen.run.latents_path)[1].shape == (8, 8, 16) and result["rate_floats"] == 128


def test_pictures_are_the_methods_render(project):
    """What is stored is render(embed(x)) of the same batch, rounded once."""
    chosen = plan(project)
    run(chosen)
    method = load_method(project, "toy_codes", "toy", chosen.options)
    batch = ["head_4", "head_5"]
    x = PreparedDataset.open(project, "toy").tensor(batch)
    images, inversion, finite = invert_batch(method, x, [image_seed(0, "toy", i) for i in batch], "fp32")
    assert finite == [True, True]
    assert (images[1] == read_rgb(chosen.run.image("head_5"))).all()
    ids, codes = read_latents(chosen.run.latents_path)
    assert np.array_equal(codes[ids.index("head_5")], inversion.w_plus[1].numpy())


def test_copy_is_exact_and_counts_its_memory(project):
    chosen = plan(project, "toy_copy")
    assert run(chosen)["rate_floats"] == 128 + 3 * 32 * 32
    for image_id, x in zip(chosen.ids, PreparedDataset.open(project, "toy").stack(chosen.ids), strict=True):
        assert (read_rgb(chosen.run.image(image_id)) == x).all()


def test_engine_and_workers_do_not_matter(project):
    chosen = plan(project)
    run(chosen, SERIAL)
    serial = everything(chosen)
    run(chosen, Execution("processes", 2), fresh=True)
    assert everything(chosen) == serial


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_batch_size_does_not_matter(project, batch_size, assert_same_images):
    chosen = plan(project)
    run(chosen)
    before = pictures(chosen)
    other = plan(project, batch_size=batch_size)
    assert other.config_hash == chosen.config_hash and other.scope == "toy"
    run(other, fresh=True)
    assert_same_images(pictures(other), before)


def test_failing_pictures_are_recorded_and_the_rest_goes_on(project, assert_same_images):
    bad = {"raise_for": image_seed(0, "toy", "head_2"), "nan_for": image_seed(0, "toy", "head_5")}
    chosen = plan(project, "toy_fussy", options=bad)
    result = run(chosen)
    assert result["failures"] == {"head_2": "ValueError: cannot do this one", "head_5": "the output is not finite"}
    assert result["n"] == 6 and len(pictures(chosen)) == 6 and len(result["ids"]) == 8
    whole = plan(project, "toy_fussy", options={}, variant="whole")
    run(whole)
    good = pictures(whole)
    assert_same_images(pictures(chosen), {k: v for k, v in good.items() if k not in result["failures"]})


HUNGRY = """
import torch
from bench import api
class Method(api.Method):
    'Has memory for so many pictures at a time.'
    title, source = "Hungry", "test"
    options = {"fits": 1}
    def embed(self, x):
        if len(x) > self.opt["fits"]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has nothing. More")
        self.context.progress(len(x))
        return api.Inversion(self.generator.latent_avg.expand(len(x), -1, -1) + x.mean((1, 2, 3))[:, None, None])
"""


@pytest.mark.parametrize("fits", [1, 2, 3])
def test_a_batch_that_does_not_fit_is_halved(project, monkeypatch, fits, assert_same_images):
    (project / "methods" / "toy_hungry.py").write_text(HUNGRY)
    sizes = []
    monkeypatch.setattr("bench.inversion.runner._finite", lambda x, of=_finite: sizes.append(len(x)) or of(x))
    chosen = plan(project, "toy_hungry", options={"fits": fits}, batch_size=8)
    monkeypatch.setattr("bench.inversion.runner.make_shards", lambda ids, size: [Shard(0, tuple(ids))])
    assert run(chosen)["n"] == 8 and max(sizes) == min(fits, 2)  # 8, 4, 2, 1
    roomy = plan(project, "toy_hungry", options={"fits": 8}, variant="roomy")
    run(roomy)
    assert_same_images(pictures(chosen), pictures(roomy))


def test_no_memory_for_one_picture_is_the_users_to_mend(project, one_line_error):
    """Not a failure of the picture: the run stops, and what was done stays."""
    (project / "methods" / "toy_hungry.py").write_text(
        HUNGRY.replace(
            "def embed(self, x):",
            """def embed(self, x):
        self.opt["fits"] -= 1""",
        )
    )
    chosen = plan(project, "toy_hungry", options={"fits": 3})
    message = (
        "too little memory; got CUDA out of memory. Tried to allocate 20.00 MiB. Fix: .*--batch-size.*--device cpu"
    )
    with pytest.raises(BenchError, match=message):
        run(chosen)
    assert chosen.run.has_shard(0, chosen.ids[:2]) and not chosen.run.json.exists()
    assert re.search(message, one_line_error(*"run --method toy_hungry --dataset toy --set fits=0 --overwrite".split()))


def test_an_accelerator_takes_the_batch_that_was_asked_for(project):
    assert batch_on(plan(project), "cuda") == ACCELERATOR_BATCH and batch_on(plan(project), "cpu") == 2
    assert batch_on(plan(project, batch_size=3), "cuda") == 3 == batch_on(plan(project, batch_size=3), "cpu")


def test_a_method_that_fails_everywhere_is_an_error(project):
    source = (project / "methods" / "toy_fussy.py").read_text().replace("if self.opt", "if True or self.opt")
    (project / "methods" / "toy_hopeless.py").write_text(source)
    chosen = plan(project, "toy_hopeless")
    with pytest.raises(BenchError, match="failed on all 8 images of 'toy'; got ValueError: cannot do this one"):
        run(chosen)
    assert chosen.run.state() == "absent"


def test_record_holds_no_clock_and_no_machine(project):
    chosen = plan(project)
    run(chosen)
    first = chosen.run.json.read_text()
    run(chosen, fresh=True)
    assert chosen.run.json.read_text() == first
    record = json.loads(first)
    assert str(project) not in first and "seconds" not in first
    assert record["weights"].keys() == {"toy_generator"} and len(record["config"]["manifest_sha256"]) == 64
    assert {"python", "torch", "numpy"} <= record["versions"].keys()


def test_hash_sees_everything_that_moves_a_number(project):
    base = plan(project).config_hash
    assert plan(project).config_hash == base
    changed = [
        plan(project, options={"scale": 0.6}),
        plan(project, limit=3),
        plan(project, precision="bf16"),
        plan(project, ablation="quiet"),
        plan(project, "toy_copy"),
    ]
    path = project / "methods" / "toy_codes.py"
    path.write_text(path.read_text() + "\n# changed\n")
    changed.append(plan(project))
    assert len({base, *(p.config_hash for p in changed)}) == 7


def test_scopes(project):
    assert plan(project).scope == "toy" and plan(project, ablation="quiet").scope == "toy"
    assert plan(project, device="cpu", batch_size=4).scope == "toy"
    for asked in ({"limit": 3}, {"options": {"scale": 1.0}}, {"variant": "mine"}, {"precision": "bf16"}):
        assert plan(project, **asked).scope == "local"
    assert plan(project, "toy_fussy").scope == "local"
    assert plan(project, ablation="quiet").run_id == "toy_codes.quiet-toy"


def test_bf16_runs(project):
    assert run(plan(project, precision="bf16"))["n"] == 8


@pytest.mark.parametrize(
    "asked, error, words",
    [
        ({"options": {"scales": 1.0}}, UnknownName, "did you mean 'scale'"),
        ({"options": {"scale": "big"}}, BenchError, "wrong type; got 'big' .str.; expected float"),
        ({"options": {"steps": 1.5}}, BenchError, "expected int"),
        ({"options": {"steps": True}}, BenchError, "expected int"),
        ({"options": {"steps": None}}, BenchError, "wrong type; got null; expected int, like its default 1"),
        (
            {"options": {"steps": 0}},
            BenchError,
            "'steps' of method 'toy_codes' is too small; got 0; expected 1 or more",
        ),
        ({"options": {"steps": "5"}}, BenchError, "got '5' .str.; expected int"),
        ({"options": {"scale": [1.0]}}, BenchError, "expected float"),
        ({"options": {"scale": float("nan")}}, BenchError, "got nan .float.; expected float"),
        ({"ablation": "quite"}, UnknownName, "did you mean 'quiet'"),
        ({"variant": "My Variant"}, BenchError, "cannot be the id of a variant"),
        ({"limit": 0}, BenchError, "--limit selects no image"),
        ({"precision": "fp16"}, BenchError, "unknown precision 'fp16'"),
        ({"batch_size": 0}, BenchError, "--batch-size"),
    ],
)
def test_plans_that_cannot_be(project, asked, error, words):
    with pytest.raises(error, match=words):
        plan(project, **asked)


def test_int_is_fine_for_a_float_option(project):
    assert plan(project, options={"scale": 2}).options["scale"] == 2.0


def test_skip_reason_reaches_the_user(project):
    (project / "methods" / "picky.py").write_text(
        "from bench import api\nclass Method(api.Method):\n    '''Doc.'''\n    weights = {'cars': 'toy_generator'}\n"
    )
    told = "'picky' cannot run on 'toy'; got no weights for domain 'toy'; there are some for: cars"
    with pytest.raises(BenchError, match=told):
        plan(project, "picky")


@pytest.mark.parametrize(
    "codes, picture, words",
    [
        ("avg[:3].expand(len(x), -1, -1))", "x", "codes of the wrong shape; got .2, 3, 16.; expected .2, 8, 16."),
        ("avg.expand(len(x), -1, -1), {'m': x[:0]})", "x", "not per image; got m"),
        ("avg.expand(len(x), -1, -1))", "x[..., :16]", "rendered the wrong shape; got .2, 3, 32, 16."),
    ],
)
def test_wrong_shapes_stop_the_run(project, codes, picture, words):
    (project / "methods" / "shapeless.py").write_text(
        "from bench import api\nclass Method(api.Method):\n    def embed(self, x):\n        self.x = x\n"
        f"        avg = self.generator.latent_avg\n        return api.Inversion({codes}\n"
        f"    def render(self, w_plus, inversion):\n        x = self.x\n        return {picture}\n"
    )
    with pytest.raises(ShapeError, match=words):
        run(plan(project, "shapeless"))


def test_wrong_resolution_is_named(project):
    from bench.data.import_folder import FolderRequest
    from bench.data.prepare import prepare

    config = load_config(project)
    prepare(config, "big", FolderRequest(images=project / "pictures", resolution=64), execution=SERIAL)
    with pytest.raises(BenchError, match="does not fit the generator.*got 64 px; expected 32 px.*--resolution 32"):
        run(plan_run(config, "toy_codes", "big"))


def test_missing_generator_is_one_error(project):
    (project / "weights" / "manifest.yaml").write_text("weights: []\ndomains: {}\n")
    with pytest.raises(WeightsError, match="no generator for domain 'toy'"):
        plan(project)


def test_unprepared_dataset(project):
    (project / "datasets" / "prepared" / "toy" / "prepared.json").unlink()
    with pytest.raises(DataError, match="'toy' is not prepared.*bench prepare --dataset toy"):
        run(plan(project))


def test_methods_see_no_gradient_mode(project):
    """Runner and checks call methods under no_grad: an optimising method must switch gradients on itself."""
    (project / "methods" / "grad.py").write_text(
        "import torch\nfrom bench import api\nclass Method(api.Method):\n    '''Doc.'''\n    def embed(self, x):\n"
        "        assert not torch.is_grad_enabled()\n"
        "        return api.Inversion(self.generator.latent_avg.expand(len(x), -1, -1).clone())\n"
    )
    assert run(plan(project, "grad"))["n"] == 8
    assert torch.is_grad_enabled()
