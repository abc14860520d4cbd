"""Two sites with tables, a random forest and a network: one global model.

How-to: docs/tables.md. The rows are scikit-learn's breast cancer data.
"""

from sklearn.datasets import load_breast_cancer

import mosaic_fl as mosaic

table = load_breast_cancer(as_frame=True).frame
test, rest = table.iloc[::5], table.drop(table.index[::5])
order = rest.sort_values("mean radius")  # one site has the small tumours, the other the large ones
short = {
    "train.max_steps": 100,
    "train.min_steps": 100,
    "meta.steps": 60,
    "distill.pool": 2000,
    "distill.steps": 300,
    "distill.terms": 1,
}

schema = mosaic.from_table(table, "target").schema
contributions = []
for site, (rows, kind) in enumerate([(order.iloc[:260], "random_forest"), (order.iloc[260:], "mlp:32")]):
    data = mosaic.from_table(rows, "target", schema)
    contributions.append(mosaic.contribute(data, model=kind, client=site, settings=short))
model = mosaic.distill(contributions, settings=short)
figures = model.evaluate(mosaic.from_table(test, "target", schema))
print(f"The one model is right on {figures.accuracy:.1%} of {len(test)} rows that no site had")
