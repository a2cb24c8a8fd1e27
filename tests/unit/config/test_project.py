"""params.yaml, profiles and ablations: validated, with the nearest right name for a wrong one."""

import pickle
import re

import pandas as pd
import pytest
import yaml

from bench.config.project import find_root, load_config, parse_settings
from bench.errors import BenchError, UnknownName


def edit(path, **changes):
    raw = yaml.safe_load(path.read_text())
    raw.update(changes)
    path.write_text(yaml.safe_dump(raw))


def test_profile_keys_are_attributes(project):
    config = load_config(project)
    assert config.profile == config.main_profile == "toy" and config.protocol == "toy32"
    assert config.batch_size == 2 and config.time.images == 2 and config.precision == "fp32"
    with pytest.raises(AttributeError):
        _ = config.colour
    assert pickle.loads(pickle.dumps(config)) == config


def test_root_is_found_upward(project, monkeypatch):
    below = project / "datasets" / "prepared"
    monkeypatch.chdir(below)
    assert find_root() == project and load_config().root == project


def test_no_project(tmp_path):
    with pytest.raises(BenchError, match="no project in"):
        find_root(tmp_path)


def test_unknown_profile(project):
    with pytest.raises(UnknownName, match="did you mean 'toy'"):
        load_config(project, "toi")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"batchsize": 3}, "unknown key; got 'batchsize'.*did you mean 'batch_size'"),
        ({"batch_size": 0}, "batch_size: input should be greater than or equal to 1"),
        ({"datasets": []}, "datasets"),
        ({"engine": "cloud"}, "engine"),
        ({"limits": {"toy_codes": 0}}, "limit of toy_codes is 0"),
        ({"time": {"seconds": 3}}, "time.seconds"),
    ],
)
def test_bad_profiles(project, changes, words):
    edit(project / "profiles" / "toy.yaml", **changes)
    with pytest.raises(BenchError, match=words):
        load_config(project)


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            {"limits": {"toy_code": 3}},
            "unknown method in profiles/toy.yaml, limits: 'toy_code'.*did you mean 'toy_codes'",
        ),
        ({"options": {"toy_coyp": {}}}, "profiles/toy.yaml, options: 'toy_coyp'.*did you mean 'toy_copy'"),
        ({"options": {"toy_codes": {"scael": 1}}}, "options of toy_codes: 'scael'.*did you mean 'scale'"),
    ],
)
def test_overrides_of_what_is_not_there(project, cli, one_line_error, changes, words):
    """An override that nobody reads is an error of every verb but the one that lists the names."""
    edit(project / "profiles" / "toy.yaml", **changes)
    for verb in (["run", "--method", "toy_copy"], ["score"], ["aggregate"], ["time"]):
        assert re.search(words, one_line_error(*verb))
    assert cli("ls", "methods").code == 0
    edit(project / "profiles" / "toy.yaml", limits={"toy_codes": 3}, options={"toy_codes": {"scale": 1}})
    assert cli("run", "--method", "toy_codes").code == 0


def test_broken_files(project):
    (project / "profiles" / "toy.yaml").write_text("a: [")
    with pytest.raises(BenchError, match="toy.yaml is not YAML"):
        load_config(project)
    (project / "params.yaml").write_text("[]")
    with pytest.raises(BenchError, match="is not a mapping"):
        load_config(project)


def test_local_is_no_profile(project):
    (project / "profiles" / "local.yaml").write_text((project / "profiles" / "toy.yaml").read_text())
    with pytest.raises(BenchError, match="cannot be called 'local'"):
        load_config(project, "local")


def test_options_come_in_layers(project):
    edit(project / "profiles" / "toy.yaml", options={"toy_codes": {"noise": 0.3, "scale": 2.0}})
    config = load_config(project)
    assert config.options_for("toy_codes") == {"noise": 0.3, "scale": 2.0}
    assert config.options_for("toy_codes", "quiet") == {"noise": 0.0, "scale": 2.0}
    assert config.options_for("toy_copy") == {}


def test_ablation_of_another_method(project):
    config = load_config(project)
    with pytest.raises(BenchError, match="not one of method 'toy_copy'"):
        config.options_for("toy_copy", "quiet")
    with pytest.raises(UnknownName, match="did you mean 'quiet'"):
        config.ablation("quite")


def test_bad_ablations(project):
    (project / "ablations.yaml").write_text("ablations: {a: {method: x}}")
    with pytest.raises(BenchError, match="options: field required"):
        load_config(project)
    (project / "ablations.yaml").unlink()
    with pytest.raises(UnknownName, match="ablation 'quiet'"):
        load_config(project)
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump({**params, "ablations": {"quiet": "toy_copy"}}))
    (project / "ablations.yaml").write_text("ablations: {quiet: {method: toy_codes, options: {}}}")
    with pytest.raises(BenchError, match="not one of method 'toy_copy'"):
        load_config(project)
    edit(project / "params.yaml", ablations={})
    (project / "ablations.yaml").unlink()
    assert load_config(project).ablations == {}


def test_scope(project):
    config = load_config(project)
    assert config.scope_of("toy", "toy_codes") == "toy"
    assert config.scope_of("toy", "toy_codes.quiet") == "toy"
    assert config.scope_of("toy", "toy_fussy") == "local"  # not in the published table
    assert config.scope_of("my", "toy_codes") == "local"


def test_settings_are_yaml():
    found = parse_settings(["a=1", "b=0.5", "c=true", "d=text", "e=[1, 2]", "f=", "g=a=b", "h=[1"])
    assert found == {"a": 1, "b": 0.5, "c": True, "d": "text", "e": [1, 2], "f": None, "g": "a=b", "h": "[1"}
    for bad in ("a", "=1"):
        with pytest.raises(BenchError, match="--set cannot be read"):
            parse_settings([bad])


def test_a_profile_chooses_its_ablations(project):
    """Which of the listed ones, how many pictures, which metrics; the pipeline is told what to leave out."""
    ablations = yaml.safe_load((project / "ablations.yaml").read_text())["ablations"]
    ablations["loud"] = {"method": "toy_codes", "options": {"noise": 0.9}}
    edit(project / "ablations.yaml", ablations=ablations)
    edit(project / "params.yaml", ablations={"quiet": "toy_codes", "loud": "toy_codes"})
    edit(project / "profiles" / "toy.yaml", ablations={"names": ["loud"], "limit": 3, "metrics": ["mae"]})
    config = load_config(project)
    assert config.labels == ["toy_copy", "toy_codes", "toy_codes.loud"]
    assert config.pipeline_settings() == ["~ablations.quiet"]
    assert config.limit_for("toy_codes") is None and config.limit_for("toy_codes", "loud") == 3
    assert config.metrics_for("loud") == ["mae"] and config.metrics_for() == ["mae", "psnr", "rate"]
    edit(project / "profiles" / "toy.yaml", ablations={"names": ["laud"]})
    with pytest.raises(UnknownName, match="did you mean 'loud'"):
        load_config(project)


def edits_of(project, methods=("toy_copy", "toy_codes"), **lists):
    edit(project / "params.yaml", methods=list(methods), **lists)
    return load_config(project)


def test_lists_of_edits_follow_the_profile(project):
    """Methods and variants that a profile has not are none whose edits it scores; it may name its own."""
    variants = {"one": "toy_codes", "two": "toy_codes"}
    entries = {name: {"method": "toy_codes", "options": {}} for name in variants}
    (project / "ablations.yaml").write_text(yaml.safe_dump({"ablations": entries}))
    asks_for_none = edits_of(project, edits=["toy_copy", "toy_codes"], ablations=variants, edit_ablations=variants)
    assert not asks_for_none.lists["edits"] and not asks_for_none.lists["edit_ablations"]
    edit(project / "profiles" / "toy.yaml", edits={"policy": "fixed", "directions": {"bright": [1]}})
    config = load_config(project)
    assert config.pipeline_settings() == [] and config.lists["edits"] == ["toy_copy", "toy_codes"]
    toy = yaml.safe_load((project / "profiles" / "toy.yaml").read_text())
    asked = {"methods": ["toy_codes"], "ablations": {"names": ["one"]}}
    (project / "profiles" / "few.yaml").write_text(yaml.safe_dump({**toy, **asked}))
    few = load_config(project, "few").pipeline_settings()
    assert few == [
        "profile=few", "methods=[toy_codes]", "~ablations.two", "edits=[toy_codes]", "~edit_ablations.two"
    ]  # fmt: skip
    own = {"policy": "fixed", "directions": {"bright": [1]}, "methods": ["toy_copy"]}
    (project / "profiles" / "own.yaml").write_text(yaml.safe_dump({**toy, "edits": own}))
    assert load_config(project, "own").pipeline_settings() == ["profile=own", "edits=[toy_copy]"]
    edit(project / "profiles" / "own.yaml", edits={**own, "methods": ["toy_fussy"]})
    with pytest.raises(BenchError, match="'toy_fussy' stands under `edits: methods` of profiles/own.yaml"):
        load_config(project, "own")


@pytest.mark.parametrize(
    ("lists", "told"),
    [
        ({"edits": ["toy_cods"]}, "did you mean 'toy_codes'"),
        ({"edits": ["toy_fussy"]}, "is none of the table's.*add it to `methods`"),
        ({"video": ["toy_cods"]}, "`video` of params.yaml"),
        ({"edit_ablations": {"one": "toy_copy"}}, "not one of method 'toy_copy'"),
        ({"edit_ablations": {"one": "toy_codes"}}, "alone.*add `one: toy_codes` to `ablations`"),
        ({"edit_ablations": {"oen": "toy_codes"}}, "did you mean 'one'"),
    ],
)
def test_lists_that_name_what_is_not_there(project, lists, told):
    entries = {"one": {"method": "toy_codes", "options": {}}}
    (project / "ablations.yaml").write_text(yaml.safe_dump({"ablations": entries}))
    with pytest.raises(BenchError, match=told):
        edits_of(project, **{"ablations": {}, **lists})


def test_an_ablation_runs_on_its_own_number_of_pictures(project, cli):
    edit(project / "profiles" / "toy.yaml", ablations={"limit": 3, "metrics": ["mae"]}, limits={"toy_codes": 2})
    assert cli("run", "--ablation", "quiet").code == 0 and cli("run", "--method", "toy_codes").code == 0
    edit(project / "profiles" / "toy.yaml", limits={})
    assert cli("run", "--ablation", "quiet", "--overwrite").code == 0
    assert cli("score", "--method", "toy_codes", "--variant", "quiet").code == 0
    rows = pd.read_parquet(project / "results" / "scores" / "toy" / "toy_codes.quiet.parquet")
    assert len(rows) == 3 and set(rows["metric"]) == {"mae"}
    assert cli("run", "--method", "toy_codes", "--ablation", "quiet", "--limit", "1").code == 0
