"""Settings of federated boosting: the trees that each round adds to the global ensemble."""

from pydantic import Field

from mosaic_fl.config.section import Reader, ReadSection


class BoostingConfig(ReadSection):
    """Trees that all clients grow together, of the methods federated_xgboost and federated_bagging.

    The defaults of `rate`, `depth` and `patience` are those of the student of trees, so that the methods compare.
    """

    readers = frozenset({Reader.SERVER})

    rate: float = Field(0.1, gt=0, le=1, description="shrinkage of each round's trees (XGBoost's eta)")
    depth: int = Field(6, ge=1, le=16, description="greatest depth of a tree")
    l2: float = Field(1.0, ge=0, description="penalty on squared leaf values (XGBoost's lambda)")
    least_weight: float = Field(1.0, ge=0, description="least sum of second derivatives in a leaf (min_child_weight)")
    bins: int = Field(128, ge=2, le=1024, description="federated_xgboost: bins of a number, between its knots")
    rows: float = Field(0.8, gt=0, le=1, description="federated_bagging: share of a client's rows for each tree")
    columns: float = Field(0.8, gt=0, le=1, description="federated_bagging: share of the columns for each tree")
    patience: int = Field(
        20, ge=0, description="rounds without a better loss on the clients' validation rows before the end; 0: never"
    )
