"""The look of all figures, and files that are the same bytes each time."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: equal figures on every machine
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.4",
    "axes.linewidth": 0.6,
    "axes.titlesize": 10,
    "xtick.color": "0.25",
    "ytick.color": "0.1",
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "svg.hashsalt": "hfgi-bench",  # element ids of an svg are otherwise random
    "svg.fonttype": "path",
}


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib without a screen, in our style.

    seaborn 0.13 passes ``vert`` to matplotlib 3.11, which announces its removal in 3.13 (we cap matplotlib below that).

    Raises:
        BenchError: matplotlib or seaborn is not installed.
    """
    try:
        import matplotlib
        import seaborn  # noqa: F401  asked for here so that its absence is one line
    except ImportError as error:
        raise BenchError(f"figures need {error.name}", fix="pip install 'hfgi-bench[report]'") from None
    matplotlib.use("Agg")
    with matplotlib.rc_context(RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="vert: bool was deprecated")
        yield


def save(figure: Figure, path: Path, dpi: int = 100) -> Path:
    """Write a figure atomically without dates or versions in it, and close it."""
    import matplotlib.pyplot as plt

    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=dpi, metadata=metadata)
    plt.close(figure)
    atomic_write(path, buffer.getvalue())
    return path
