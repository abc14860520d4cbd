"""One global model from private data at many sites and models of any architecture."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mosaic_fl.api import Run, compare, contribute, distill, run
    from mosaic_fl.classifier import MosaicClassifier
    from mosaic_fl.client.answering import answer
    from mosaic_fl.data.arrays import from_arrays, from_dataset
    from mosaic_fl.data.memory import from_table
    from mosaic_fl.data.table.site_statistics import Statistics
    from mosaic_fl.domains.dataset import Dataset
    from mosaic_fl.domains.schema import Schema
    from mosaic_fl.encoders.encoding import encode
    from mosaic_fl.errors import MosaicError, UsageError
    from mosaic_fl.exchange.assessment import Assessment
    from mosaic_fl.exchange.contribution import Contribution
    from mosaic_fl.exchange.evaluation import Evaluation
    from mosaic_fl.exchange.global_model import GlobalModel
    from mosaic_fl.exchange.query import Answer, Query
    from mosaic_fl.experts.answers.function import BlackBox
    from mosaic_fl.models import trust
    from mosaic_fl.notes import Note
    from mosaic_fl.table_statistics import merge_statistics, statistics

    __version__: str

__all__ = [
    "Answer",
    "Assessment",
    "BlackBox",
    "Contribution",
    "Dataset",
    "Evaluation",
    "GlobalModel",
    "MosaicClassifier",
    "MosaicError",
    "Note",
    "Query",
    "Run",
    "Schema",
    "Statistics",
    "UsageError",
    "__version__",
    "answer",
    "compare",
    "contribute",
    "distill",
    "encode",
    "from_arrays",
    "from_dataset",
    "from_table",
    "merge_statistics",
    "run",
    "statistics",
    "trust",
]

# Imported when first used: torch takes seconds, and `mosaic --help` needs none of it.
_HOMES = {
    "Answer": "exchange.query",
    "Assessment": "exchange.assessment",
    "BlackBox": "experts.answers.function",
    "Contribution": "exchange.contribution",
    "Evaluation": "exchange.evaluation",
    "GlobalModel": "exchange.global_model",
    "Dataset": "domains.dataset",
    "MosaicClassifier": "classifier",
    "MosaicError": "errors",
    "Note": "notes",
    "Query": "exchange.query",
    "Schema": "domains.schema",
    "Statistics": "data.table.site_statistics",
    "UsageError": "errors",
    "Run": "api",
    "answer": "client.answering",
    "compare": "api",
    "contribute": "api",
    "distill": "api",
    "encode": "encoders.encoding",
    "from_arrays": "data.arrays",
    "from_dataset": "data.arrays",
    "from_table": "data.memory",
    "merge_statistics": "table_statistics",
    "statistics": "table_statistics",
    "run": "api",
    "trust": "models",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from mosaic_fl.release import release

        return release()
    if name not in _HOMES:
        raise AttributeError(f"module 'mosaic_fl' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mosaic_fl.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
