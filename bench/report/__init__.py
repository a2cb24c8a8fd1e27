"""Reports: tables, figures and an index page, from results (and prepared pictures) alone. Nothing is computed anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.config import Config

__all__ = ["build"]


def build(root: Path, scope: str, config: Config | None = None) -> list[Path]:
    """Write the report of a scope: reports/ for the main profile, reports/<scope>/ for any other.

    Args:
        root: project folder. scope: profile or ``local``. config: settings; None reads them from ``root``.
    Returns:
        All files written: tables/*, figures/*, plots/*, claims.md, index.md.
    Raises:
        DataError: results are missing or inconsistent; the message names the verb that makes them.
        BenchError: a file cannot be written; figures need a package that is not installed.
    """
    from bench.images import write_png
    from bench.reconcile import write_reconciliation
    from bench.report.ablation import write_ablations
    from bench.report.claims import CLAIMS_FILE, write_claims
    from bench.report.edit_figures import write_edit_figures
    from bench.report.editing import write_editing
    from bench.report.editing_figures import write_editing_figures
    from bench.report.grid import write_grid
    from bench.report.index import write_index
    from bench.report.material import gather
    from bench.report.pictures import sheet
    from bench.report.plots import write_plot_data, write_plots
    from bench.report.protocols import write_protocols
    from bench.report.rate import write_rate
    from bench.report.rate_figures import write_rate_figures
    from bench.report.significance import write_significance
    from bench.report.steps import write_step_figure, write_steps
    from bench.report.tables import write_tables
    from bench.report.times import write_times
    from bench.report.video import write_video

    material = gather(root, scope, config)
    folder = material.store.reports_dir(scope)
    reference = material.store.results / "reference"
    tables = write_tables(material, folder / "tables", reference)
    tables += write_ablations(material, folder / "tables")
    tables += write_steps(material, folder / "tables")
    tables += write_editing(material, folder / "tables")
    tables += write_rate(material, folder / "tables", reference)
    tables += write_significance(material, folder / "tables" / "significance.md")
    tables.append(write_protocols(material, folder / "tables" / "protocols.md"))
    tables.append(write_times(material, folder / "tables" / "timing.md", reference))
    tables.append(write_reconciliation(material.config, material.store, scope))
    figures: list[tuple[str, Path]] = []
    extra: list[Path] = []
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for n, dataset in enumerate(material.datasets):
        suffix = f"_{dataset}" if n else ""  # the first dataset has the plain names
        grid = write_grid(material, dataset, folder / "figures" / f"grid_inversion{suffix}.png")
        figures += [("grid", grid)] if grid else []
        if not n:  # figures of steps, edits and rates are of the first dataset
            figures += write_step_figure(material, dataset, folder / "figures")
            figures += write_editing_figures(material, dataset, folder / "figures")
            figures += write_edit_figures(material, dataset, folder / "figures", reference)
            figures += write_rate_figures(material, dataset, folder / "figures")
        plots = write_plots(material, dataset, folder / "figures" / f"metrics{suffix}")
        figures += [("metrics", plots[0])] if plots else []
        extra += plots[1:]
        contact = folder / "figures" / f"{dataset if n else material.manifest(dataset).domain}_sheet.png"
        write_png(contact, sheet(material, dataset))
        figures.append(("sheet", contact))
    films, stills = write_video(material, folder)
    tables, figures = [*tables, *films], [*figures, *stills]
    data = write_plot_data(material, folder / "plots")
    if (reference / CLAIMS_FILE).is_file():  # a project of one's own may have no paper to compare with
        tables.append(write_claims(material, folder / "claims.md", reference))
    index = write_index(material, folder / "index.md", figures, [*tables, *data])
    return [*tables, *[path for _, path in figures], *extra, *data, index]
