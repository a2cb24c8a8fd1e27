"""The command line: every verb works on the toy project, every example in a --help is a command that parses."""

import json
import re
import shlex

import pytest
import yaml

from bench.cli.app import app, run_cli

VERBS = [command.name for command in app.registered_commands]


def test_verbs():
    assert set(VERBS) >= {"ls", "prepare", "train", "run", "score", "time", "aggregate", "report", "check"}


def test_help_lists_all_verbs(cli):
    for args in ([], ["--help"]):
        answer = cli(*args)
        assert answer.code == 0 and all(verb in answer.out for verb in VERBS)
    assert re.fullmatch(r"hfgi-bench \d+\.\d+\.\d+\n", cli("--version").out)


def examples_of(verb):
    command = next(c for c in app.registered_commands if c.name == verb)
    lines = [line for line in (command.epilog or "").split("\n\n") if line.startswith("bench ")]
    assert lines, f"{verb} has no example"
    return lines


@pytest.mark.parametrize("verb", VERBS)
def test_examples_parse(verb, cli):
    """An example with a wrong option would fail here: --help wins only after all options are known."""
    assert f"bench {verb}" in cli(verb, "--help").out
    for line in examples_of(verb):
        words = shlex.split(line)[1:]
        options = [w for w in words if w.startswith("--")]
        shown = " ".join(cli(verb, "--help").out.split())
        assert words[0] == verb and all(option in shown for option in options), line


@pytest.mark.parametrize(
    "words, expected",
    [
        (["rnu"], "did you mean 'run'"),
        (["run", "--methd", "x"], "--method"),
        (["run", "--limit", "many"], "--limit"),
        (["score", "--scope", "loacl"], "did you mean 'local'"),
        (["--verbose"], "--verbose"),
        (["ls", "method"], "did you mean 'methods'"),
        (
            ["run", "--device", "gpu", "--method", "toy_copy"],
            "unknown device 'gpu'; expected one of: auto, cpu, cuda, mps",
        ),
        (["run", "--precision", "fp8", "--method", "toy_copy"], "unknown precision 'fp8'"),
        (["run", "--engine", "serail", "--method", "toy_copy"], "did you mean 'serial'"),
        (["run", "--workers", "0", "--method", "toy_copy"], "--workers must be 1 or more"),
        (["run", "--batch-size", "-1", "--method", "toy_copy"], "--batch-size must be 1 or more"),
        (["run"], "no method given"),
        (["run", "--method", "toy_codes", "--set", "scale"], "--set cannot be read"),
        (["run", "--method", "toy_codes", "--set", "steps=0"], "is too small; got 0; expected 1 or more"),
        (["run", "--method", "toy_codes", "--set", "steps=null"], "got null; expected int, like its default 1"),
        (["run", "--method", "toy_codes", "--set", "steps="], "got null; expected int"),
        (["run", "--method", "toy_codes", "--set", "steps=many"], "got 'many' (str); expected int"),
        (["run", "--method", "toy_codes", "--ablation", "quiet", "--variant", "x"], "exclude each other"),
        (["run", "--method", "toy_copy", "--dataset", "tou"], "did you mean 'toy'"),
        (["run", "--method", "toy_copy", "--profile", "tou"], "unknown profile 'tou'"),
        (["score", "--method", "toy_coyp"], "did you mean 'toy_copy'"),
        (["time", "--method", "toy_coyp"], "did you mean 'toy_copy'"),
        (["check", "toy_coyp"], "did you mean 'toy_copy'"),
        (["train", "genrator"], "no training configuration"),
        (["train", "generator", "--config", "none.yaml"], "no training configuration"),
        (["train", "generator", "--config", "none.yaml"], "none.yaml"),
        (["prepare", "--images", "pictures"], "exactly one"),
        (["ls", "--root", "datasets"], "datasets is no project"),
    ],
)
def test_mistakes_are_one_line(one_line_error, words, expected):
    assert expected in one_line_error(*words)


def test_debug_shows_the_trace(cli):
    answer = cli("run", "--method", "toy_coyp", "--debug")
    assert answer.code == 2 and "Traceback" in answer.err and answer.err.rstrip().splitlines()[-1].startswith("error: ")


def test_ls(cli):
    listing = json.loads(cli("ls", "--json").out)
    methods = {m["id"]: m for m in listing["methods"]}
    assert methods["toy_codes"]["published"] and methods["toy_codes"]["options"] == {
        "scale": 0.5,
        "noise": 0.1,
        "steps": 1,
    }
    assert {"id": "toy", "kind": "folder"}.items() <= listing["datasets"][0].items()
    assert listing["weights"][0]["id"] == "toy_generator" and listing["ablations"][0]["id"] == "quiet"
    assert list(json.loads(cli("ls", "metrics", "--json").out)) == ["metrics"]
    assert "toy_codes" in cli("ls", "methods").out


def test_ls_shows_what_is_broken(cli, project):
    (project / "methods" / "broken.py").write_text("class Method(:")
    (project / "datasets" / "torn.yaml").write_text("id: torn\n")
    answer = cli("ls")
    assert answer.code == 0 and "! broken: SyntaxError" in answer.out and "! torn:" in answer.out


def test_run_score_aggregate(cli, project):
    assert cli("prepare").code == 0 and (project / "results/prepared/toy.json").is_file()
    for method in ("toy_copy", "toy_codes"):
        answer = cli("run", "--method", method)
        assert answer.code == 0 and answer.out == f"results/runs/toy/{method}/toy\n" and "8 images" in answer.err
    assert cli("run", "--ablation", "quiet").out == "results/runs/toy/toy_codes.quiet/toy\n"
    assert "nothing to do" in cli("run", "--method", "toy_copy").err
    scored = cli("score")
    assert scored.code == 0 and scored.out.count(".parquet") == 3
    assert cli("aggregate").out == "results/summary.csv\nresults/metrics.json\n"
    means = json.loads((project / "results/metrics.json").read_text())["toy"]
    assert means["toy_copy"]["mae"] == 0 < means["toy_codes"]["mae"] and "toy_codes.quiet" in means
    record = json.loads((project / "results/records/toy/toy_copy-toy.json").read_text())
    assert record["verb"] == "run" and record["machine"]["cores"] and record["seconds"] > 0


def test_prepared_record_is_stable(cli, project):
    cli("prepare")
    path = project / "results/prepared/toy.json"
    before = path.read_bytes()
    cli("prepare")
    assert path.read_bytes() == before and json.loads(before)["toy"]["count"] == 8


def test_experiments_never_touch_the_pipelines_results(cli, project):
    cli("run", "--method", "toy_codes")
    cli("score")
    cli("aggregate")
    before = {p: p.read_bytes() for p in (project / "results").rglob("*") if p.is_file()}
    for args in (
        ["--limit", "3"],
        ["--set", "scale=2", "--variant", "strong"],
        ["--precision", "bf16", "--variant", "half"],
    ):
        answer = cli("run", "--method", "toy_codes", *args)
        assert answer.code == 0 and "results/runs/local/" in answer.out and "bench score --scope local" in answer.err
    assert cli("score", "--scope", "local").code == 0 and cli("aggregate", "--scope", "local").code == 0
    assert {p: p.read_bytes() for p in before} == before
    assert "strong" in (project / "results/local/summary.csv").read_text()


def test_next_step_that_run_prints_works(cli):
    hint = cli("run", "--method", "toy_codes", "--limit", "3").err.split("next: ")[1]
    for line in hint.strip().split(" && "):
        assert cli(*shlex.split(line)[1:]).code == 0


def test_two_settings_under_one_name_are_refused(cli, one_line_error):
    cli("run", "--method", "toy_codes", "--limit", "3")
    assert "exists with other settings" in one_line_error("run", "--method", "toy_codes", "--limit", "4")
    assert cli("run", "--method", "toy_codes", "--limit", "4", "--overwrite").code == 0


def test_dry_run_writes_nothing(cli, project):
    plan = json.loads(cli("run", "--method", "toy_codes", "--set", "scale=2", "--dry-run").out)
    assert plan["config"]["options"]["scale"] == 2.0 and plan["scope"] == "local" and plan["config"]["images"] == 8
    assert not (project / "results").exists()


def test_profile_limit_is_the_pipelines(cli, project):
    path = project / "profiles/toy.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "limits": {"toy_codes": 3}}))
    cli("run", "--method", "toy_codes")
    assert len(list((project / "results/runs/toy/toy_codes/toy/images").iterdir())) == 3
    cli("run", "--method", "toy_codes", "--limit", "5")
    assert len(list((project / "results/runs/local/toy_codes/toy/images").iterdir())) == 5


def test_own_pictures_in_three_commands(cli):
    assert cli("prepare", "--dataset", "my", "--images", "pictures", "--align", "none").code == 0
    answer = cli("run", "--method", "toy_codes", "--dataset", "my")
    assert answer.code == 0 and answer.out == "results/runs/local/toy_codes/my\n"
    assert cli("score", "--scope", "local").code == 0


def test_check(cli, project):
    answer = cli("check", "toy_codes", "mae")
    assert answer.code == 0 and "FAIL" not in answer.out and answer.out.count("pass") > 15
    source = (project / "methods/toy_codes.py").read_text()
    unseeded = source.replace("generator=torch.Generator().manual_seed(seed)", "dtype=torch.float32")
    (project / "methods/unseeded.py").write_text(unseeded.replace('title, source = "Codes", "test"', "title = 'Loose'"))
    answer = cli("check", "unseeded")
    assert answer.code == 1
    assert re.search(r"FAIL +documented +no source", answer.out) and "use context.image_seeds" in answer.out


WEIGHTY = """
from bench import api
class Method(api.Method):
    '''The mean code, moved by its weights.'''
    title, source = "Weighty", "test"
    weights = {"toy": ["toy_generator"], "moon": "moon_encoder"}
    options = {"untrained": False}
    def setup(self):
        self.shift = 0.0 if self.opt["untrained"] else self.context.load_weights("toy_generator")["latent_avg"].mean()
    def embed(self, x):
        return api.Inversion(self.generator.latent_avg.expand(len(x), -1, -1) + self.shift)
"""


def test_check_of_a_method_with_weights(cli, project):
    """The clauses run without any file; real weights are tried where they are, and where not, that is said."""
    (project / "methods/weighty.py").write_text(WEIGHTY)
    answer = cli("check", "weighty")
    assert answer.code == 0 and "pass" in answer.out and "weights of domain toy fit" in answer.out
    assert "note: untrained networks on a toy generator stand in for its weights" in answer.out
    assert "note: weights of domain moon were not tried: no generator is listed for domain 'moon'" in answer.out
    assert "moon_encoder unknown" in answer.out
    (project / "methods/misfit.py").write_text(WEIGHTY.replace('["latent_avg"].mean()', '["no_such_key"]'))
    answer = cli("check", "misfit")
    assert answer.code == 1 and re.search("FAIL +weights of domain toy fit +KeyError", answer.out)
    assert "1 clause of the contract does not hold" in answer.out


def test_check_without_weights_says_what_was_not_tried(cli, project):
    """Neither weights nor untrained networks: nothing that needs them passes, nothing is called broken."""
    source = WEIGHTY.replace('"toy": ["toy_generator"], ', "").replace('options = {"untrained": False}', "options = {}")
    (project / "methods/absent.py").write_text(source.replace('self.opt["untrained"]', "False"))
    answer = cli("check", "absent")
    assert answer.code == 1 and "FAIL" not in answer.out
    assert answer.out.count("not tried ") == 9 and "moon_encoder unknown" in answer.out
    assert "9 clauses of the contract could not be tried here" in answer.out


def test_ls_methods_shows_domains_and_weights(cli, project):
    (project / "methods/weighty.py").write_text(WEIGHTY)
    (project / "methods/odd.py").write_text(WEIGHTY.replace('"moon_encoder"', "7"))
    (project / "methods/bare.py").write_text(re.sub("weights = .*", "", WEIGHTY))
    methods = {m["id"]: m for m in json.loads(cli("ls", "methods", "--json").out)["methods"]}
    assert methods["toy_codes"]["domains"] == ["any"] and methods["toy_codes"]["weight_status"] == {}
    assert methods["weighty"]["domains"] == ["moon", "toy"] and methods["bare"]["domains"] == ["none"]
    assert methods["weighty"]["weight_status"] == {"toy_generator": "committed", "moon_encoder": "unknown"}
    answer = cli("ls", "methods")
    assert re.search("weighty .*moon, toy .*toy_generator=committed, moon_encoder=unknown", answer.out)
    assert "! odd: a method's weights for domain 'moon' are not named" in answer.out


def test_check_finds_a_broken_metric(cli, project):
    (project / "metrics").mkdir()
    (project / "metrics/odd.py").write_text(
        "from bench import api\nclass Metric(api.PairMetric):\n    '''Depends on the batch, and noise helps.'''\n"
        "    title, source, higher_is_better, ideal = 'Odd', 'test', True, 0.0\n"
        "    def __call__(self, x, x_hat):\n        x, x_hat = self.pair(x, x_hat)\n"
        "        return ((x - x_hat) ** 2).flatten(1).mean(1) * len(x)\n"
    )
    answer = cli("check", "odd")
    assert answer.code == 1
    assert re.search("FAIL +more noise is worse", answer.out) and re.search(
        "FAIL +independent of batch split", answer.out
    )


def test_progress_is_silent_without_a_terminal(cli):
    answer = cli("run", "--method", "toy_copy")
    assert "\x1b" not in answer.err + answer.out and len(answer.err.splitlines()) == 1


def test_interrupt_is_one_line(cli, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.inversion.runner.run", interrupt)
    answer = cli("run", "--method", "toy_copy")
    assert answer.code == 130 and answer.err.startswith("error: interrupted; finished work is kept")


def test_bugs_keep_their_trace(project, monkeypatch):
    """Only what the user can mend becomes one line; anything else must not hide where it happened."""

    def bug(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("bench.inversion.runner.run", bug)
    with pytest.raises(ZeroDivisionError):
        run_cli(["run", "--method", "toy_copy"])
