"""weights/dvc.yaml: a stage for every committed weight file and every preset, with the code and weights it uses.

Code is read from the syntax trees as for dvc.yaml (bench/store/imports.py). Folders that most trainings share are named
whole: a list that changes with every import would be mended, not read.
"""

from pathlib import Path

import pytest
import yaml

from bench.store.imports import Sources

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "weights" / "dvc.yaml").read_text())["stages"]
MANIFEST = yaml.safe_load((ROOT / "weights" / "manifest.yaml").read_text())
TRAIN = "bench/cli/train.py"
STARTS = {  # stage -> where its code begins; `bench train` finds its module by name
    "generator": (TRAIN, "bench/training/run_generator.py"),
    "generator_next": (TRAIN, "bench/training/run_generator.py"),
    "trunk": (TRAIN, "bench/training/run_method.py"),
    "encoder": (TRAIN, "bench/training/run_method.py", "methods/{item}.py"),
    "recogniser": (TRAIN, "bench/training/run_recogniser.py"),
    "regressor": (TRAIN, "bench/training/run_regressor.py"),
    "hfgi": (TRAIN, "bench/training/run_method.py", "methods/hfgi.py"),
    "directions": ("bench/cli/directions.py",),
    "overfit": (TRAIN, "bench/training/run_method.py", "methods/{item}.py"),
    "overfit_hfgi": (TRAIN, "bench/training/run_method.py", "methods/hfgi.py"),
}
OUTSIDE = "bench/report/"  # draws beside the weights, not into them


SOURCES = Sources(ROOT)


def covered(file, deps):
    return any(file == d or file.startswith(d + "/") for d in deps)


def body(stage):
    return STAGES[stage].get("do", STAGES[stage])


def items(stage):
    """The stage's items as a mapping name -> value; {"": None} for a stage without."""
    each = STAGES[stage].get("foreach", {"": None})
    return each if isinstance(each, dict) else dict.fromkeys(each)


def filled(text, item, value=None):
    text = text.replace("${item}", item).replace("${key}", item)
    return text.replace("${item.format}", (value or {}).get("format", ""))


def deps(stage, item):
    return [filled(d, item) for d in body(stage)["deps"]]


def outs(stage, item, value):
    return {filled(name, item, value) for out in body(stage).get("outs", []) for name in out}


def used(stage, item):
    seen, todo = set(), [start.format(item=item) for start in STARTS[stage]]
    while todo:
        file = todo.pop()
        if file not in seen and not file.startswith(OUTSIDE):
            seen.add(file)
            todo += SOURCES.imports(file)
    return seen


EVERY = [(stage, item) for stage in STAGES for item in items(stage)]


def test_every_stage_is_checked():
    assert set(STARTS) == set(STAGES)
    assert all(body(stage)["frozen"] and body(stage)["wdir"] == ".." for stage in STAGES)


@pytest.mark.parametrize(("stage", "item"), EVERY)
def test_no_code_is_missing(stage, item):
    missing = sorted(f for f in used(stage, item) if not covered(f, deps(stage, item)))
    assert not missing, f"weights/dvc.yaml, stage {stage}, deps: add {', '.join(missing)}"


@pytest.mark.parametrize("stage", STAGES)
def test_no_code_is_too_much(stage):
    together = set().union(*(used(stage, item) for item in items(stage)))
    listed = deps(stage, next(iter(items(stage))))
    code = [d for d in listed if d.startswith(("annyfaces/", "bench/"))]
    idle = [d for d in code if not any(covered(f, [d]) for f in together)]
    assert not idle, f"weights/dvc.yaml, stage {stage}, deps: remove {', '.join(idle)}"
    assert code == sorted(set(code)) and all((ROOT / d).exists() for d in listed)


@pytest.mark.parametrize(("stage", "item"), [(s, i) for s, i in EVERY if s != "directions"])
def test_presets_and_the_weights_they_name_are_dependencies(stage, item):
    listed = deps(stage, item)
    presets = [d for d in listed if d.startswith("weights/") and d.endswith(".yaml")]
    assert len(presets) == 1 and "datasets/annyfaces_train.yaml" in listed
    preset = yaml.safe_load((ROOT / presets[0]).read_text())
    options = preset.get("options", {})
    named = {options.get(name) for name in ("trunk", "base_weights", "recogniser")} | {options.get("teacher")}
    if isinstance(guide := preset.get("guide"), dict):  # a recogniser's is a weight
        named.add(guide["teacher"])
    if preset.get("weights", {}).get("adversarial"):
        named.add(options.get("discriminator"))
    if "phases" in preset:  # a generator's
        named.add(preset.get("frechet_network"))
    if "method" in preset:
        named.add("annyfaces_generator")
    files = {entry["id"]: f"weights/{entry['file']}" for entry in MANIFEST["weights"]}
    wanted = {files[name] for name in named if name}
    assert {d for d in listed if d.endswith((".safetensors", ".onnx"))} == wanted


def test_every_committed_file_and_every_preset_has_its_stage():
    made = set().union(*(outs(s, i, v) for s in STAGES for i, v in items(s).items()))
    committed = {f"weights/{entry['file']}" for entry in MANIFEST["weights"]}
    assert committed <= made, f"weights/dvc.yaml: no stage makes {sorted(committed - made)}"
    assert not [out for out in made if out.endswith(".json") and not out.startswith("weights/")]
    presets = {p.relative_to(ROOT).as_posix() for name in ("annyfaces", "overfit", "directions")
               for p in (ROOT / "weights" / name).glob("*.yaml")}  # fmt: skip
    taken = {d for stage, item in EVERY for d in deps(stage, item)}
    assert presets <= taken, f"weights/dvc.yaml: no stage uses {sorted(presets - taken)}"
