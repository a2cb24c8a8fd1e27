"""Published numbers: the committed files are whole, and what is shown of them is what they say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.errors import DataError
from bench.report.layout import to_markdown
from bench.report.reference import COLUMNS, published_table, read_reference, references

FOLDER = Path(__file__).resolve().parents[3] / "results" / "reference"


@pytest.mark.parametrize("path", references(FOLDER), ids=lambda p: p.stem)
def test_every_file_is_valid_and_states_its_source(path):
    table = read_reference(path)
    assert len(table) and (table["source"] != "").all() and (table["dataset"] != "").all()
    assert (table["protocol"] != "").all()
    assert not table.duplicated(["method", "metric"]).any()


def value(name: str, method: str, metric: str) -> str:
    table = read_reference(FOLDER / name)
    return table[(table.method == method) & (table.metric == metric)]["value"].item()


def test_known_numbers_of_the_paper():
    assert references(FOLDER)[0].name == "hfgi_table1.csv"
    paper = read_reference(FOLDER / "hfgi_table1.csv")
    assert len(paper) == 6 * 4
    assert value("hfgi_table1.csv", "HFGI", "MAE") == "0.0617" and value("hfgi_table1.csv", "e4e", "LPIPS") == "0.221"
    assert set(paper[paper.method == "Optimization"]["n"]) == {"100"}
    assert set(paper[paper.method != "Optimization"]["n"]) == {"1500"}


def test_sources_agree_where_protocols_do():
    """LPIPS of one method at 256 px by AlexNet agrees across four groups to 0.025; a slip of the pen would show."""
    files = ("hfgi_table1.csv", "ganinverter_v1.csv", "styleres_table1.csv", "sfe_table1.csv")
    for method in ("HFGI", "pSp", "e4e"):
        found = [float(value(name, method, "LPIPS")) for name in files]
        assert max(found) - min(found) <= 0.025, (method, found)


def test_table_shows_every_value_and_note():
    rows = read_reference(FOLDER / "hfgi_table1.csv")
    text = to_markdown(published_table(rows, "Published", "tab:p"))
    for row in rows.itertuples():
        assert row.value in text and row.method in text
    for note in ("normalisation not stated", "window not stated", "first 100 images only"):
        assert note in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="note"), "has other columns"),
        (lambda t: t.assign(value="n/a"), "line 2 is not valid"),
        (lambda t: t.assign(certainty="guessed"), "certainty read or transcribed"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change, message):
    change(pd.read_csv(FOLDER / "hfgi_table1.csv", dtype=str, keep_default_na=False)).to_csv(
        tmp_path / "x.csv", index=False
    )
    with pytest.raises(DataError, match=message):
        read_reference(tmp_path / "x.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_reference(tmp_path / "absent.csv")
    assert COLUMNS[0] == "source"
