"""Ordinary picture codecs as anchors of the rate axis: bytes of the file that Pillow writes, and its distortion."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import registry
from bench.config.project import Config
from bench.config.sections import RateSettings
from bench.data.dataset import PreparedDataset
from bench.data.manifest import load_manifest
from bench.errors import UnknownName
from bench.rate.sweep import check_metrics
from bench.scoring.build import build
from bench.scoring.pair_metrics import score_batch
from bench.store.rate import COLUMNS, FILE

if TYPE_CHECKING:
    import pandas as pd

BATCH = 8


@dataclass(frozen=True)
class Codec:
    """One of Pillow's. Args: format: Pillow's name; options: of every file."""

    format: str
    options: Mapping[str, Any]


CODECS = {
    "jpeg": Codec("JPEG", {"optimize": True}),
    "webp": Codec("WEBP", {"method": 6}),
}


def codec_named(name: str) -> Codec:
    """UnknownName with the nearest one for a codec there is not."""
    if name not in CODECS:
        raise UnknownName.of("codec", name, CODECS)
    return CODECS[name]


def through(codec: Codec, image: np.ndarray, quality: int) -> tuple[np.ndarray, int]:
    """(R, R, 3) uint8 -> the picture as it is read back, and the bytes of its file, head included."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, codec.format, quality=quality, **codec.options)
    return np.asarray(Image.open(buffer).convert("RGB")), len(buffer.getvalue())


def measure_codec(config: Config, settings: RateSettings, name: str, dataset: str) -> pd.DataFrame:
    """Rows like a method's: form ``file``, its quality in the place of the code's step."""
    import pandas as pd
    import torch

    codec, ids = codec_named(name), load_manifest(config.root, dataset).select(settings.images)
    check_metrics(config.root, settings.metrics)
    known, device = registry.metrics(config.root), torch.device("cpu")
    metrics = {metric: build(config.root, known.load(metric), device) for metric in settings.metrics}
    prepared = PreparedDataset.open(config.root, dataset)
    rows: list[tuple] = []
    for start in range(0, len(ids), BATCH):
        some = ids[start : start + BATCH]
        source = prepared.stack(some)
        for quality in settings.qualities:
            results = [through(codec, one, quality) for one in source]
            head = (dataset, name, "", FILE, float(quality), 0.0, 1)
            rows += [(*head, i, "rate", "", "bits", 8.0 * size) for i, (_, size) in zip(some, results, strict=True)]
            stack = np.stack([image for image, _ in results])
            for metric, how in metrics.items():
                values = score_batch(how, metric, source, stack)
                rows += [(*head, i, "inversion", "", metric, v) for i, v in zip(some, values, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"value": "float64"})
