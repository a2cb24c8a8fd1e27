"""All that the author of a method or a metric reads: ``from bench import api``."""

from bench.api.method import Context, DatasetInfo, Inversion, Judge, Landmarks, Method, TrainableMethod
from bench.api.metric import Metric, MetricWeights, PairMetric, RunMetric, SetMetric
from bench.errors import BenchError, DataError, ShapeError, UnknownName, WeightsError

__all__ = [
    "BenchError",
    "Context",
    "DataError",
    "DatasetInfo",
    "Inversion",
    "Judge",
    "Landmarks",
    "Method",
    "Metric",
    "MetricWeights",
    "PairMetric",
    "RunMetric",
    "SetMetric",
    "ShapeError",
    "TrainableMethod",
    "UnknownName",
    "WeightsError",
]
