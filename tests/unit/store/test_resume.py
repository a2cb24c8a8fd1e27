"""What an earlier run left is gone on from, left alone or replaced; work of two configurations is never joined."""

import pytest

from bench import registry
from bench.config.project import load_config
from bench.engine import Execution
from bench.errors import BenchError
from bench.inversion.plan import Overrides, plan_run
from bench.inversion.runner import run


def plan(project, **asked):
    return plan_run(load_config(project), "toy_codes", "toy", Overrides(**asked))


def everything(a_plan):
    return {str(p.relative_to(a_plan.run.folder)): p.read_bytes() for p in a_plan.run.folder.rglob("*") if p.is_file()}


def test_complete_run_is_left_alone(project):
    chosen = plan(project)
    run(chosen)
    before = {p: p.stat().st_mtime_ns for p in chosen.run.folder.rglob("*")}
    told = []
    assert run(chosen, on_plan=lambda *a: told.append(a))["n"] == 8 and told == []
    assert {p: p.stat().st_mtime_ns for p in chosen.run.folder.rglob("*")} == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_interrupted_run_resumes_to_the_same_files(project, overwrite):
    chosen = plan(project)
    run(chosen)
    whole = everything(chosen)
    chosen.run.discard()
    calls = []

    def stop_after_two(amount):
        calls.append(amount)
        if sum(calls) >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(chosen, Execution(on_tick=stop_after_two))
    assert chosen.run.state() == "partial"
    told = []
    run(plan(project), overwrite=overwrite, on_plan=lambda todo, total: told.append((todo, total)))
    assert told[0][0] < told[0][1] == 8 and everything(chosen) == whole


@pytest.mark.parametrize("finished", [True, False])
def test_code_changes_make_results_stale(project, monkeypatch, finished):
    """Shards of the old code are never joined with those of the new; without --overwrite that is said."""

    def stop(amount):
        raise KeyboardInterrupt

    if finished:
        run(plan(project))
    else:
        with pytest.raises(KeyboardInterrupt):
            run(plan(project), Execution(on_tick=stop))
    path = project / "methods" / "toy_codes.py"
    path.write_text(path.read_text().replace("x.mean((2, 3))", "x.amax((2, 3))"))
    registry.methods.cache_clear()
    with pytest.raises(BenchError, match="exists with other settings.*code_sha256"):
        run(plan(project))
    told = []
    run(plan(project), overwrite=True, on_plan=lambda todo, total: told.append((todo, total)))
    assert told == [(8, 8)]
    renewed = everything(plan(project))
    run(plan(project), fresh=True)
    assert everything(plan(project)) == renewed
