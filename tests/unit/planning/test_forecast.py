"""bench plan: what would run, what is missing and how to get it, disk and hours; nothing is done."""

import json
from pathlib import Path

import pytest
import yaml

from bench.config.project import load_config
from bench.errors import DataError
from bench.files import write_json
from bench.planning import time_estimate
from bench.planning.forecast import forecast, gigabytes
from bench.planning.required_weights import profile_needs
from bench.store import provenance

ROOT = Path(__file__).parents[3]


def change(project, **settings):
    path = project / "profiles" / "toy.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}))
    return load_config(project)


def timed(project, method, seconds, *, resolution=32, options=None, machine=None, base=".", started="2026-01-02"):
    folder = project / base / "results/timing/toy" / method / f"{machine or provenance.machine_id()}_cpu_1t"
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "method": method, "variant": "", "resolution": resolution, "device": "cpu", "started": started,
        "best_batch": 4, "batches": [{"size": 1, "total_s": 99.0}, {"size": 4, "total_s": seconds}],
        "options": options or {},
    }  # fmt: skip
    write_json(folder / f"{method}-x.json", record)


def test_everything_there_is_ready_and_nothing_is_written(project, cli):
    before = {p: p.read_bytes() for p in project.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    answer = cli("plan")
    assert answer.code == 0 and "nothing is missing" in answer.out, answer
    assert "2 methods and 1 of their variants, 24 inversions, 3 metrics" in answer.out
    assert {p: p.read_bytes() for p in project.rglob("*") if p.is_file() and "__pycache__" not in p.parts} == before


def test_stages_methods_and_images(project):
    stages = {"prepare": {}, "run": {"matrix": {"method": ["x"]}}, "variants": {"foreach": "x", "do": {}}}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    plan = forecast(change(project, limits={"toy_codes": 3}))
    assert plan.stages == {"prepare": 1, "run": 2, "variants": 1}
    rows = [(r.label, r.images, r.state) for r in plan.runs]
    assert rows == [("toy_copy", 8, "absent"), ("toy_codes", 3, "absent"), ("toy_codes.quiet", 3, "absent")]


def test_finished_runs_cost_nothing_more(project, cli):
    cli("run", "--method", "toy_codes")
    timed(project, "toy_codes", 9.0)
    timed(project, "toy_copy", 0.5)
    plan = forecast(load_config(project))
    states = {"toy_copy": "absent", "toy_codes": "complete", "toy_codes.quiet": "absent"}
    assert {r.label: r.state for r in plan.runs} == states
    assert plan.hours["run"] == pytest.approx(8 * (0.5 + 9.0) / 3600)
    pictures = 2 * 8 * (32 * 32 * 3 // 2 + 8 * 2048)
    assert plan.disk["inversions and codes"] == pictures == plan.disk["their copies in DVC's cache"]


def test_data_that_is_not_prepared(project, cli):
    (project / "datasets/prepared/toy/prepared.json").unlink()
    answer = cli("plan")
    assert answer.code == 1 and "data: toy, 8 pictures of 32 px -> bench prepare --dataset toy" in answer.out
    plan = forecast(load_config(ROOT, "paper"))
    if not (ROOT / "datasets/prepared/celebahq_1500/prepared.json").is_file():
        assert "bench prepare --dataset celebahq_1500 --images DIR" in [lack.fix for lack in plan.lacks]


LIST = {
    "published": [{
        "id": "far", "title": "F", "kind": "encoder", "licence": "MIT", "source": "x",
        "files": [{"name": "far.pt", "url": "https://a/far.pt", "about_bytes": 3_000_000_000}],
        "parts": {"net": {"layout": "aligner"}},
    }]
}  # fmt: skip
NEEDY = """
from bench import api
class Method(api.Method):
    title, source, weights = "Needy", "test", {"toy": "far"}
"""


def test_weights_and_metrics_that_are_missing(project, cli):
    (project / "weights/published.yaml").write_text(yaml.safe_dump(LIST))
    (project / "methods/needy.py").write_text(NEEDY)
    (project / "metrics").mkdir()
    metric = 'from bench import api\nclass Metric(api.PairMetric):\n    title = "N"\n    weights = ("far",)\n'
    (project / "metrics/net.py").write_text(metric + '    packages, extra = ("no_such_package",), "lpips"\n')
    (project / "weights/toy.safetensors").unlink()
    change(project, methods=["needy", "toy_copy", "lost"], metrics=["mae", "net"])
    answer = cli("plan", "--json")
    plan = json.loads(answer.out)
    lacks = {(lack["kind"], lack["what"]): lack["fix"] for lack in plan["lacks"]}
    assert answer.code == 1 and not plan["ready"]
    assert lacks[("weights", "far for needy, net, about 3.00 GB")] == "bench fetch far"
    assert lacks[("weights", "toy_generator for generator of toy: its file is gone")] == "git checkout -- weights"
    assert lacks[("metric", "net needs no_such_package")] == "pip install 'hfgi-bench[lpips]'"
    assert ("method", "lost: no such file") in lacks
    assert plan["disk"]["weights"] == plan["disk"]["largest download, until converted"] == 3_000_000_000


def test_published_directions_that_are_missing(project):
    edits = {"policy": "fixed", "directions": {"smile.pt": [1], "pca.pt:54:7:8": [20], "pca.pt:3": [1], "bright": [1]}}
    plan = forecast(change(project, edits=edits))
    assert [(lack.kind, lack.what) for lack in plan.lacks] == [("direction", "pca.pt"), ("direction", "smile.pt")]
    (project / "weights/directions").mkdir()
    for name in ("smile.pt", "pca.pt"):
        (project / "weights/directions" / name).touch()
    assert not forecast(load_config(project)).lacks


def test_a_method_without_weights_for_the_domain(project):
    (project / "methods/elsewhere.py").write_text(NEEDY.replace('"toy": "far"', '"cars": "far"'))
    plan = forecast(change(project, methods=["elsewhere"]))
    assert [lack.what for lack in plan.lacks] == ["elsewhere has no weights for toy, the domain of toy"]


def test_too_little_space_is_missing(project, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    assert [lack.kind for lack in forecast(load_config(project)).lacks] == ["disk"]


def test_seconds_are_those_of_this_machine_and_resolution(project):
    timed(project, "toy_codes", 1.0, machine="another_machine")
    timed(project, "toy_codes", 2.0, resolution=64, base="tmp/rehearsal")
    assert time_estimate.seconds_of(project, "toy_codes", {}, 32, "cpu") is None
    timed(project, "toy_codes", 3.0, started="2026-03-04")
    took = time_estimate.seconds_of(project, "toy_codes", {}, 32, "cpu")
    assert took == time_estimate.Seconds(3.0, "timed on this machine, 2026-03-04", True)
    assert time_estimate.seconds_of(project, "toy_codes", {}, 64, "cpu").value == 2.0, "a rehearsal's clock is a clock"
    assert time_estimate.seconds_of(project, "toy_codes", {}, 32, "cuda") is None


def test_seconds_of_an_optimisation_go_with_its_steps(project):
    timed(project, "toy_codes", 3.0, options={"steps": 3})
    assert time_estimate.seconds_of(project, "toy_codes", {"steps": 1000}, 32, "cpu").value == pytest.approx(1000)


def test_stated_numbers_are_called_estimates_with_their_source(project, cli):
    stated = {"device": "cpu", "machine": "a small one", "source": "Table 9", "resolution": 32}
    (project / "results/reference").mkdir(parents=True)
    numbers = {"seconds": {"toy_codes": 1800.0, "toy_copy": 0.0}, "score": 450.0, "metrics": ["mae", "psnr", "rate"]}
    (project / time_estimate.FILE).write_text(
        yaml.safe_dump([{**stated, "device": "cuda", "seconds": {}}, {**stated, **numbers}])
    )
    answer = cli("plan")
    line = next(line for line in answer.out.splitlines() if line.startswith("toy_codes"))
    assert "4.0 h" in line and "estimate [" in line and "] Table 9; a small one" in answer.out
    assert "an estimate: run 8.0 h, score 3.0 h" in answer.out
    timed(project, "toy_codes", 3.6)
    answer = cli("plan")
    line = next(line for line in answer.out.splitlines() if line.startswith("toy_codes"))
    assert "29 s" in line and "measured [" in line and "] timed on this machine, 2026" in answer.out


def test_a_wrong_list_of_numbers(project):
    (project / "results/reference").mkdir(parents=True)
    (project / time_estimate.FILE).write_text("- {device: abacus}\n")
    with pytest.raises(DataError, match=r"cost\.yaml is not valid.*device"):
        time_estimate.references(project)


def test_the_stated_numbers_of_this_project_cover_its_published_methods():
    methods = set(load_config(ROOT, "paper").methods)
    found = time_estimate.references(ROOT)
    assert {r.device for r in found} == {"cpu", "cuda"}
    for reference in found:
        assert reference.source and reference.resolution == 1024 and methods <= set(reference.seconds)


def test_what_the_papers_profile_needs():
    needs = profile_needs(load_config(ROOT, "paper"))
    assert list(needs)[0] == "stylegan2_ffhq" and needs["stylegan2_ffhq"][0] == "generator of faces"
    users = needs["hfgi_ffhq"]
    assert users[0] == "hfgi" and all(user.startswith("hfgi") for user in users), "and its variants"
    assert {"psp_ffhq", "e4e_ffhq", "restyle_psp_ffhq", "restyle_e4e_ffhq"} < set(needs)


def test_weights_an_option_names_are_needed_too(project):
    (project / "methods/needy.py").write_text(NEEDY.replace('"toy": "far"}', '}\n    options = {"base_weights": ""}'))
    config = change(project, methods=["needy"], options={"needy": {"base_weights": "far"}})
    assert profile_needs(config) == {"toy_generator": ["generator of toy"], "far": ["needy"]}


def test_sizes_in_words():
    assert gigabytes(1.2e9) == "1.20 GB" and gigabytes(6009) == "0 MB" and gigabytes(26_000_000) == "26 MB"
