"""Reports of a rehearsal say so: each page and table in words, each figure in a band across its top."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from bench.files import atomic_write, write_png

MARK = "REHEARSAL: weights filled by rule; these numbers and pictures mean nothing"
BAND = (176, 0, 32)


def mark_reports(folder: Path) -> list[Path]:
    """Mark every page, table and figure below a report folder that is not marked yet; returns the files changed."""
    makers = {".md": mark_markdown, ".tex": mark_tex, ".svg": mark_svg}
    changed = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.suffix in makers:
            before = path.read_text(encoding="utf-8")
            after = makers[path.suffix](before)
            if after != before:
                atomic_write(path, after)
                changed.append(path)
        elif path.suffix == ".png":
            write_png(path, mark_image(_on_white(path)))
            changed.append(path)
    return changed


def _on_white(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 of a figure, transparent parts white."""
    from PIL import Image

    with Image.open(path) as figure:
        layers = figure.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB"))


def mark_markdown(text: str) -> str:
    """The mark under each heading."""
    if MARK in text:
        return text
    return re.sub(r"^(#+ .*)$", rf"\1\n\n**{MARK}**", text, flags=re.MULTILINE)


def mark_tex(text: str) -> str:
    """The mark at the head of the file and in each caption."""
    if MARK in text:
        return text
    return f"% {MARK}\n" + text.replace(r"\caption{", rf"\caption{{\textbf{{{MARK}.}} ")


def mark_svg(text: str) -> str:
    """The mark as text over the top of the drawing."""
    if MARK in text:
        return text
    words = f'<text x="4" y="10" font-size="9" fill="rgb{BAND}">{MARK}</text>'
    head, end, tail = text.rpartition("</svg>")
    return head + words + end + tail


def mark_image(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 with a band above it that carries the mark, letters fitted to the width."""
    from PIL import Image, ImageDraw, ImageFont

    width = image.shape[1]
    size = max(8, min(32, int(width / (0.55 * len(MARK)))))
    band = Image.new("RGB", (width, 2 * size), BAND)
    ImageDraw.Draw(band).text((size // 2, size // 2), MARK, fill="white", font=ImageFont.load_default(size))
    return np.concatenate([np.asarray(band), image])
