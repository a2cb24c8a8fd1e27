"""Published values beside ours: complete, under a preset, and subtracted only where that is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.analysis.protocol import protocols
from bench.errors import DataError
from bench.report.reconcile import compare_row, preset_of, read_rules
from bench.report.reference import read_reference, references

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"


def test_every_published_value_has_a_rule_and_a_preset():
    rules = read_rules(REFERENCE)
    assert {p.stem for p in references(REFERENCE)} == set(rules.tables)
    for path in references(REFERENCE):
        rule, rows = rules.tables[path.stem], read_reference(path)
        assert set(rows["metric"]) == set(rule.columns), path.stem
        assert rule.protocol in protocols() or not rule.protocol
        for column in rule.columns.values():
            assert column.metric or column.differs


def published(value="0.100", method="e4e", metric="LPIPS", n="1500"):
    return SimpleNamespace(method=method, metric=metric, value=value, n=n)


def verdict(row, dataset="celebahq_1500", mean=0.101, n=1500, table="hfgi_table1"):
    rules = read_rules(REFERENCE)
    line = SimpleNamespace(dataset=dataset, method="e4e", mean=mean, n=n, ci_low=mean, ci_high=mean)
    rule = rules.tables[table].columns[row.metric]
    return compare_row(row, rule, rules, preset_of(None, rules.tables[table]), {(dataset, "e4e", rule.metric): line})[1]


def test_a_difference_needs_the_same_images_and_definition():
    assert verdict(published()) == "+0.001 (+1.0%): agrees (expected within 3%)"
    assert "DIFFERS (expected within 3%)" in verdict(published(), mean=0.12)
    assert verdict(published(), dataset="annyfaces_1500").startswith("not compared: ours are of `annyfaces_1500`")
    assert verdict(published(n="100")) == "other images: n = 100 there, 1,500 here"
    assert verdict(published(method="LSAP")).startswith("no counterpart")
    assert verdict(published(metric="seconds")).startswith("no counterpart: hardware")
    two = {"dataset": "celebahq_2824", "n": 2824, "table": "styleres_table1"}
    assert verdict(published(metric="SSIM", n="2824"), **two).endswith("agrees (expected within 0.02)")
    assert verdict(published(metric="FID", n="2824"), **two).startswith("another definition: theirs by torchvision")


def test_the_page(cli, project, one_line_error):
    shutil.copytree(REFERENCE, project / "results" / "reference")
    for words in (("run", "--method", "toy_codes"), ("score",), ("aggregate",), ("reconcile",)):
        answer = cli(*words)
        assert answer.code == 0, answer.err
    page = (project / "reports" / "reconciliation.md").read_text()
    values = sum(len(read_reference(p)) for p in references(REFERENCE))
    assert sum(line.count("|") == 8 for line in page.splitlines()) == values + 2 * len(references(REFERENCE))
    assert "Preset: `hfgi_table1` (inferred, not confirmed by the authors)." in page and "domain toy" in page
    shutil.copy(REFERENCE / "sfe_table1.csv", project / "results" / "reference" / "new.csv")
    assert "has no rule for new.csv" in one_line_error("reconcile")


def test_damaged_rules(tmp_path):
    (tmp_path / "reconcile.yaml").write_text("within: {}\nmethods: {}\ntables: {a: {protocol: x, column: {}}}\n")
    with pytest.raises(DataError, match="reconcile.yaml is not valid"):
        read_rules(tmp_path)
