"""Reports: tables, figures and an index page, from results (and prepared pictures) alone. Nothing is computed anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.config.project import Config
    from bench.engine import Execution, Shard
    from bench.report.report_data import ReportData

__all__ = ["build"]

LONGEST_FIRST = ("edits", "metrics", "grid", "planned", "video", "rate", "steps", "sheet")  # kinds of figures
ON_PAGE = ("grid", "steps", "edits", "planned", "rate", "metrics", "sheet", "video")


@dataclass
class Written:
    """Files of one part. Args: figures: (kind or caption, path), for the page. extra: what the page does not list."""

    tables: list[Path] = field(default_factory=list)
    figures: list[tuple[str, Path]] = field(default_factory=list)
    extra: list[Path] = field(default_factory=list)


def build(root: Path, scope: str, config: Config | None = None, execution: Execution | None = None) -> list[Path]:
    """Write the report of a scope: reports/ for the main profile, reports/<scope>/ for any other.

    Args:
        root: project folder. scope: profile or ``local``. config: settings; None reads them from ``root``.
        execution: None for serial; tables are one part, each kind of figure another.
    Returns:
        All files written: tables/*, figures/*, plots/*, claims.md, index.md, and README.md where Table 1 is shown there.
    Raises:
        DataError: results are missing or inconsistent; the message names the verb that makes them.
        BenchError: a file cannot be written; figures need a package that is not installed.
    """
    from bench.engine import SERIAL, Shard, Work, map_shards
    from bench.report.index import write_index
    from bench.report.plots import write_plot_data
    from bench.report.report_data import load_report_data

    report = load_report_data(root, scope, config)
    folder = report.store.reports_dir(scope)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    parts = ["tables", *LONGEST_FIRST]
    found = map_shards(
        Work(write_part, {"report": report}), [Shard(n, (name,)) for n, name in enumerate(parts)], execution or SERIAL
    )
    written = dict(zip(parts, found, strict=True))
    everything = [written[name] for name in ("tables", *ON_PAGE)]
    tables = [path for one in everything for path in one.tables]
    figures = [figure for one in everything for figure in one.figures]
    data = write_plot_data(report, folder / "plots")
    index = write_index(report, folder / "index.md", figures, [*tables, *data])
    return [*tables, *[path for _, path in figures], *[p for one in everything for p in one.extra], *data, index]


def write_part(shard: Shard, report: ReportData) -> Written:
    """The part that a shard names: ``tables``, or a kind of figure."""
    name, folder = shard.ids[0], report.store.reports_dir(report.scope)
    return _tables(report, folder) if name == "tables" else _figures(name, report, folder)


def _tables(report: ReportData, folder: Path) -> Written:
    """All tables and the claims: one part, as they print some of the same tests."""
    from bench.report.ablation import write_ablations
    from bench.report.edit_tables import write_edit_tables
    from bench.report.protocols import write_protocols
    from bench.report.rate import write_rate
    from bench.report.readme import write_readme
    from bench.report.reconcile import write_reconciliation
    from bench.report.row_claims import CLAIMS_FILE, write_claims
    from bench.report.significance import write_significance
    from bench.report.steps import write_steps
    from bench.report.tables import write_tables
    from bench.report.times import write_times

    reference = report.store.results / "reference"
    tables = write_tables(report, folder / "tables", reference)
    tables += write_ablations(report, folder / "tables")
    tables += write_steps(report, folder / "tables")
    tables += write_edit_tables(report, folder / "tables")
    tables += write_rate(report, folder / "tables", reference)
    tables += write_significance(report, folder / "tables" / "significance.md")
    tables.append(write_protocols(report, folder / "tables" / "protocols.md"))
    tables.append(write_times(report, folder / "tables" / "timing.md", reference))
    tables.append(write_reconciliation(report.config, report.store, report.scope))
    if (reference / CLAIMS_FILE).is_file():  # a project of one's own may have no paper to compare with
        tables.append(write_claims(report, folder / "claims.md", reference))
    return Written(tables, extra=write_readme(report))


def _figures(kind: str, report: ReportData, folder: Path) -> Written:
    """Figures of one kind, of every dataset: the first has the plain names; steps, edits and rates are of it alone."""
    from bench.files import write_png
    from bench.report.edit_figures import write_edit_figures
    from bench.report.grid import write_grid
    from bench.report.pictures import sheet
    from bench.report.planned_figures import write_planned_figures
    from bench.report.plots import write_plots
    from bench.report.rate_figures import write_rate_figures
    from bench.report.steps import write_step_figure
    from bench.report.video import write_video

    figures, first, done = folder / "figures", report.datasets[0], Written()
    if kind == "steps":
        done.figures += write_step_figure(report, first, figures)
    elif kind == "edits":
        done.figures += write_edit_figures(report, first, figures)
    elif kind == "planned":
        done.figures += write_planned_figures(report, first, figures, report.store.results / "reference")
    elif kind == "rate":
        done.figures += write_rate_figures(report, first, figures)
    elif kind == "video":
        films, stills = write_video(report, folder)
        done.tables, done.figures = list(films), list(stills)
    for dataset in report.datasets if kind in ("grid", "metrics", "sheet") else ():
        suffix = "" if dataset == first else f"_{dataset}"
        if kind == "grid":
            grid = write_grid(report, dataset, figures / f"grid_inversion{suffix}.png")
            done.figures += [("grid", grid)] if grid else []
        elif kind == "metrics":
            plots = write_plots(report, dataset, figures / f"metrics{suffix}")
            done.figures += [("metrics", plots[0])] if plots else []
            done.extra += plots[1:]
        else:
            contact = figures / f"{dataset if suffix else report.manifest(dataset).domain}_sheet.png"
            write_png(contact, sheet(report, dataset))
            done.figures.append(("sheet", contact))
    return done
