"""A run's figures in MLflow, TensorBoard or Weights & Biases, off by default; docs/tracking.md.

`tracker` says what one does, a file each makes one of a package, and `process` is where they live. `following` reads
the run's folder and tells that process; `cells` sends it the cells of a comparison, and `entries` says which arrived.
"""
