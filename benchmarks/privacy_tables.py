"""Our nearest neighbours beside SDMetrics' on a table: do both rank generators alike?

    pip install sdmetrics    (beside mosaic-fl; it brings no torch)
    python benchmarks/privacy_tables.py [--rows 200] [--seed 0]

The table is scikit-learn's breast cancer: half of `--rows` twice, members and strangers. SDMetrics'
`DCROverfittingProtection` gives the share of synthetic rows that lie closer to a member than to a stranger; ours is the
same share by our distances, and beside it the AUC of `nearest` with its interval. `copies` are the members themselves
with a little noise, `fresh` are rows that nobody has trained on.
"""

import argparse
import warnings

import pandas as pd
import torch
from sdmetrics.single_table import DCROverfittingProtection
from sklearn.datasets import load_breast_cancer

from mosaic_fl import contribute, from_table
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.case import flat
from mosaic_fl.privacy.audit.figures import area

FAMILIES = {
    "cart": {"generator.family": "cart"},
    "marginals": {"generator.family": "marginals"},
    "tabular, 100 steps": {"generator.family": "tabular", "generator.steps": 100},
    "tabular, 3,000 steps": {"generator.family": "tabular", "generator.steps": 3000},
}
COPY_NOISE = 0.02  # of a column's deviation
LITTLE = {"train.max_steps": 50, "data.validation": 0.0, "generator.min_samples": 2}


def main() -> None:
    """Print one line a generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    torch.set_num_threads(1)
    frame, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        everyone = from_table(frame, labels)
    order = torch.randperm(len(everyone), generator=Stream(words.seed, "table").torch())
    half = words.rows // 2
    members, strangers, fresh = (everyone.subset(part) for part in order.split([half, half, len(order) - 2 * half]))
    names = list(frame.columns)
    print(
        "| generator | SDMetrics: closer to members | ours: closer to members | AUC of `nearest` |\n|---|---|---|---|"
    )
    for name, synthetic in synthetics(members, fresh, words.seed):
        theirs = DCROverfittingProtection.compute_breakdown(
            *(pd.DataFrame(part.samples.only.numpy(), columns=names) for part in (members, synthetic, strangers)),
            {"tables": {"t": {"columns": {column: {"sdtype": "numerical"} for column in names}}}}, "t",
        )  # fmt: skip
        share = theirs["synthetic_data_percentages"]["closer_to_training"]
        rows = [flat(part.samples, tuple(part.schema.fields)) for part in (members, strangers, synthetic)]
        own = (
            (torch.cdist(rows[2], rows[0]).min(1).values < torch.cdist(rows[2], rows[1]).min(1).values).double().mean()
        )
        scores = [-torch.cdist(part, rows[2]).min(1).values.double().numpy() for part in rows[:2]]
        auc = area(*scores, Stream(words.seed, "area").numpy())
        print(
            f"| {name} | {share:.2f} | {float(own):.2f} | {auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f}) |",
            flush=True,
        )


def synthetics(members: Dataset, fresh: Dataset, seed: int) -> list[tuple[str, Dataset]]:
    """Synthetic rows by the name of what drew them."""
    values = members.samples.only
    noise = torch.randn(values.shape, generator=Stream(seed, "noise").torch()) * values.std(0) * COPY_NOISE
    copied = Dataset(
        type(members.samples)(members.schema.fields, {"table": values + noise}), members.labels, members.schema
    )
    made = [("copies", copied), ("fresh", fresh)]
    for name, settings in FAMILIES.items():
        sent = contribute(members, model="mlp:8", client=0, settings=LITTLE | settings, seed=seed)
        generator = sent.build_generator()
        assert generator is not None
        labels = members.labels.repeat(4)
        samples = generator.samples(members.schema.fields, labels, Stream(seed, "draw").torch())
        made.append((name, Dataset(samples, labels, members.schema)))
    return made


if __name__ == "__main__":
    main()
