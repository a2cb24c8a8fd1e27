"""One switch for the whole pipeline: a profile brings its own methods, and a half-turned switch is refused."""

from pathlib import Path

import pytest
import yaml

from bench import registry
from bench.cli.repro import SECTIONS, dvc_verb
from bench.config.project import load_config
from bench.data.manifest import load_manifest

ROOT = Path(__file__).parents[3]


@pytest.fixture()
def two(project):
    """The toy project with a second profile whose table has other methods."""
    toy = yaml.safe_load((project / "profiles" / "toy.yaml").read_text())
    toy |= {key: toy.get(key) for key in SECTIONS}
    (project / "profiles" / "toy.yaml").write_text(yaml.safe_dump(toy))
    (project / "profiles" / "other.yaml").write_text(yaml.safe_dump({**toy, "methods": ["toy_codes"]}))
    return project


def test_a_profile_may_have_methods_of_its_own(two):
    assert load_config(two).methods == ["toy_copy", "toy_codes"]
    assert load_config(two, "other").methods == ["toy_codes"]


def test_what_params_must_say_for_a_profile(two):
    assert load_config(two).pipeline_settings() == [] and dvc_verb([]) == ["repro"]
    settings = load_config(two, "other").pipeline_settings()
    assert settings == ["profile=other", "methods=[toy_codes]"]
    assert dvc_verb(settings) == ["exp", "run", "-S", "profile=other", "-S", "methods=[toy_codes]"]
    (two / "params.yaml").write_text(yaml.safe_dump({"profile": "other", "seed": 0, "methods": ["toy_codes"]}))
    assert load_config(two).pipeline_settings() == []


def test_half_a_switch_stops_at_the_first_stage(two, cli, one_line_error):
    params = {"profile": "other", "seed": 0, "methods": ["toy_copy", "toy_codes"]}
    (two / "params.yaml").write_text(yaml.safe_dump(params))
    line = one_line_error("prepare")
    assert "profile 'other' and the methods of another" in line and "-S 'methods=[toy_codes]'" in line
    assert cli("prepare", "--profile", "toy").code == 0, "another profile by hand is none of the pipeline's business"


def test_repro_with_another_profile_turns_the_switch(two, cli, monkeypatch):
    ran = []

    class Done:
        returncode, stdout = 0, "> bench prepare"

    monkeypatch.setattr("subprocess.run", lambda command, cwd, **_: ran.append(command[3:]) or Done())
    assert cli("repro", "--profile", "other", "--stage", "score").code == 0
    assert cli("repro", "--dry").code == 0
    switch = ["exp", "run", "-S", "profile=other", "-S", "methods=[toy_codes]"]
    assert ran == [[*switch, "score"], ["repro", "--dry"]]


def test_a_dry_run_before_anything_is_there_lists_everything(two, cli, monkeypatch):
    """DVC stops at the first stage whose input is not made yet, unless it is told to run whatever there is."""
    ran = []

    class Done:
        stdout = "half a list"

        def __init__(self, command):
            ran.append(command[3:])
            self.returncode = 0 if "--force" in command else 255

    monkeypatch.setattr("subprocess.run", lambda command, cwd, **_: Done(command))
    answer = cli("repro", "--dry", "--stage", "score")
    assert answer.code == 0 and "half a list" not in answer.out and "all stages are listed" in answer.err
    assert ran == [["repro", "--dry", "score"], ["repro", "--dry", "--force", "score"]]


@pytest.mark.parametrize("key", SECTIONS)
def test_a_section_that_dvc_looks_for_must_be_there_if_only_to_say_none(two, one_line_error, key):
    profile = yaml.safe_load((two / "profiles" / "toy.yaml").read_text())
    del profile[key]
    (two / "profiles" / "toy.yaml").write_text(yaml.safe_dump(profile))
    line = one_line_error("repro", "--dry")
    assert f"no key {key!r}" in line and f"`{key}: null`" in line


@pytest.mark.parametrize("name", ["annyfaces", "full", "paper", "smoke"])
def test_a_profile_has_every_key_its_stages_depend_on(name):
    """DVC stops where one is missing. Stages of lists that the profile leaves empty do not exist."""
    profile = yaml.safe_load((ROOT / "profiles" / f"{name}.yaml").read_text())
    config = load_config(ROOT, name)
    each = {"ablations": config.listed_ablations, **config.lists}
    for stage, entry in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        if each.get(entry.get("foreach", "").strip("${}"), True):
            for param in entry.get("do", entry).get("params", []):
                for key in param.get("profiles/${profile}.yaml", []) if isinstance(param, dict) else []:
                    assert key in profile, f"{stage} depends on {key}"


def test_a_profile_without_clips_and_rates_has_no_stages_of_them():
    paper = load_config(ROOT, "paper")
    assert paper.lists["edits"] and not any(
        paper.lists[key] for key in ("video", "rate", "rate_ablations", "rate_codecs")
    )
    assert {"video=[]", "rate=[]", "rate_codecs=[]"} <= set(paper.pipeline_settings())


def test_the_papers_profile():
    """Six methods beside the controls on its 1,500 pictures; whatever it names exists and covers its domain."""
    paper = load_config(ROOT, "paper")
    methods, metrics = registry.methods(ROOT).entries(), registry.metrics(ROOT).entries()
    assert set(paper.methods) <= set(methods) and set(paper.settings.metrics) <= set(metrics)
    controls = [m for m in paper.methods if methods[m].attributes.get("control")]
    assert {"copy_input", "latent_avg"} <= set(controls) and len(paper.methods) - len(controls) == 6
    assert paper.settings.datasets == ["celebahq_1500"]
    domain = load_manifest(ROOT, "celebahq_1500", allow_empty=True).domain
    for method in paper.methods:
        weights = methods[method].attributes.get("weights", {})
        assert not weights or domain in weights, method
    slow = [m for m in paper.methods if methods[m].attributes.get("cost") == "slow"]
    assert {m: paper.limit_for(m) for m in slow} == {m: 100 for m in slow} and slow
    for method, options in paper.settings.options.items():
        assert set(options) <= set(methods[method].attributes["options"])
