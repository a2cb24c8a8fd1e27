"""Judges and landmark sources of a project's own, found by file name as methods and metrics are."""

import json

import pytest
import torch
import yaml

from bench import registry
from bench.config.project import load_config
from bench.errors import BenchError, UnknownName
from bench.inversion.plan import Overrides, plan_run
from bench.inversion.runner import load_method
from bench.predictors import attributes, landmarks

CPU = torch.device("cpu")

JUDGE = '''
from bench import api
class Judge(api.Judge):
    """Brightness and redness."""
    domains = ("toy",)
    def __call__(self, pictures):
        return {"bright": pictures.mean((1, 2, 3)), "red": pictures[:, 0].mean((1, 2))}
'''

LANDMARKS = '''
import torch
from bench import api
class Landmarks(api.Landmarks):
    """All points in one place."""
    domains = ("toy",)
    def __call__(self, pictures):
        return torch.full((len(pictures), 68, 2), 3.0)
'''

METHOD = '''
from bench import api
from bench.predictors.landmarks import detector
class Method(api.Method):
    """Asks for a source."""
    title, source = "Pointed", "test"
    options = {"landmarks": {}}
    def setup(self):
        self.find = detector(self.context, self.opt["landmarks"].get(self.context.domain, ""))
'''


@pytest.fixture
def plug(project):
    def write(folder, name, text):
        (project / folder).mkdir(exist_ok=True)
        (project / folder / f"{name}.py").write_text(text)
        registry.forget()
        return project

    return write


def test_directions_are_learned_with_a_judge_of_the_project(cli, plug):
    """The whole verb: its labels, its card, and what the set was made with."""
    root = plug("judges", "brightness", JUDGE)
    recipe = {"judge": "brightness", "samples": 60, "labelled": {"lighter": {"attribute": "bright"}}}
    (root / "weights" / "directions").mkdir()
    (root / "weights" / "directions" / "toy.yaml").write_text(yaml.safe_dump(recipe))
    done = cli("directions", "--method", "interfacegan", "--domain", "toy")
    assert done.code == 0, done.err
    found = json.loads((root / "weights" / "directions" / "toy_interfacegan.json").read_text())
    assert found["effects"]["lighter"]["bright"] > 0.1 and "judges/brightness.py" in found["made_with"]
    listed = json.loads(cli("ls", "judges", "--json").out)["judges"]
    assert {"id": "brightness", "domains": ["toy"], "weights": [], "origin": "project", "error": ""} in listed
    plug("judges", "brightness", JUDGE.replace("from bench import api", "import not_installed_here"))
    broken = cli("directions", "--method", "interfacegan", "--domain", "toy")
    assert broken.code == 2 and "judge 'brightness' cannot be imported" in broken.err
    assert "not_installed_here" in broken.err and "judges/brightness.py" in broken.err


def test_a_judge_is_loaded_when_it_is_first_asked_for(plug):
    root = plug("judges", "careless", "raise_on_import = 1 / 0\n" + JUDGE)
    plug("judges", "brightness", JUDGE)
    read, made_of = attributes.load_predictor(root, "toy", CPU, "brightness")  # the other is not imported
    assert read(torch.ones(2, 3, 8, 8))["red"].tolist() == [1, 1]
    before = made_of["judges/brightness.py"]
    plug("judges", "brightness", JUDGE + "# changed\n")
    assert attributes.load_predictor(root, "toy", CPU, "brightness")[1]["judges/brightness.py"] != before
    assert attributes.names(root, "toy") == ["brightness", "careless"]
    with pytest.raises(BenchError, match="judge 'careless' cannot be imported; got ZeroDivisionError.*careless.py"):
        attributes.load_predictor(root, "toy", CPU, "careless")
    with pytest.raises(UnknownName, match="did you mean 'brightness'"):
        attributes.load_predictor(root, "toy", CPU, "brightnes")


def test_a_file_that_cannot_be_read_is_named_where_it_might_have_been_meant(plug):
    root = plug("judges", "torn", "class Judge(")
    with pytest.raises(BenchError, match="'torn' cannot be used; got SyntaxError.*torn.py"):
        attributes.load_predictor(root, "annyfaces", CPU)
    with pytest.raises(BenchError, match="'torn' cannot be used"):
        attributes.load_predictor(root, "toy", CPU, "torn")
    plug("judges", "brightness", JUDGE)
    assert attributes.load_predictor(root, "toy", CPU, "brightness")  # by its name another one still serves


def test_names_of_the_suite_are_taken(plug):
    root = plug("judges", "annyfaces_regressor", JUDGE)
    with pytest.raises(BenchError, match="judge 'annyfaces_regressor' is defined twice.*rename the file"):
        attributes.load_predictor(root, "annyfaces", CPU, "annyfaces_regressor")
    plug("landmarks", "insightface_68", LANDMARKS)
    assert "defined twice" in str(landmarks.plugged(registry.landmarks(root))["insightface_68"].error)


def test_landmarks_of_the_project_reach_a_method(plug):
    plug("methods", "pointed", METHOD)
    root = plug("landmarks", "middle", LANDMARKS)
    method = load_method(root, "pointed", "toy", {"landmarks": {"toy": "middle"}})
    assert method.find(torch.zeros(2, 3, 8, 8)).tolist() == [[[3.0, 3.0]] * 68] * 2
    with pytest.raises(BenchError, match="no landmark source is named for domain 'toy'; expected one of: middle"):
        load_method(root, "pointed", "toy")
    plug("landmarks", "middle", LANDMARKS.replace("import torch", "import torch, not_installed_here"))
    with pytest.raises(BenchError, match="'middle' cannot be imported; got ModuleNotFoundError.*middle.py"):
        load_method(root, "pointed", "toy", {"landmarks": {"toy": "middle"}})
    plug("landmarks", "torn", "class Landmarks(")
    with pytest.raises(BenchError, match="'torn' cannot be used; got SyntaxError.*torn.py"):
        load_method(root, "pointed", "toy", {"landmarks": {"toy": "torn"}})


def test_another_source_of_points_is_another_run(plug):
    """The file is part of the hash of what it helped to make."""
    plug("methods", "pointed", METHOD)
    root = plug("landmarks", "middle", LANDMARKS)

    def planned(name):
        return plan_run(load_config(root), "pointed", "toy", Overrides({"landmarks": {"toy": name}})).config

    first, unnamed = planned("middle"), planned("")
    plug("landmarks", "middle", LANDMARKS.replace("3.0", "4.0"))
    assert planned("middle")["code_sha256"] != first["code_sha256"] and planned("") == unnamed
