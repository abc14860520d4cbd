"""Facts of runs that tests of pages make up."""

from mosaic_fl.report.page.facts import Facts

EVIL = '<script>alert("x")</script>'


def facts(folder: str = "run", **result: object) -> Facts:
    """A run with these figures beside its least ones."""
    return Facts(folder, {"method": "mosaic", "models": ["cnn:4"], "seconds": {"total": 3.0}, **result}, "", {}, {})


def crowd(clients: int, classes: int) -> Facts:
    """A run of many clients and classes, with every figure that a page shows."""
    names = [f"class {c}" for c in range(classes)]
    row = [0.5] * classes
    counts = [[3] * classes] * clients
    audit = {
        "attack": "lira", "on": "expert", "auc": 0.55, "low": 0.5, "high": 0.62, "limit": 0.6, "members": 9,
        "strangers": 9, "basis": "its own", "accepted": "",
    }  # fmt: skip
    detail = {
        "samples": 1000,
        "classes": names,
        **({"confusion": [[1] * classes] * classes} if classes <= 100 else {}),
        "calibration": [[10, 0.1, 0.2]] * 15,
        "calibration_error": 0.1,
        "abstain": [[k / 20, 0.9] for k in range(1, 21)],
        "recall_by_model": {"teacher": row, "local": [row] * clients},
        "split": {"clients": list(range(clients)), "counts": counts, "noisy": False},
        "listening": {"teacher": "gate", "how": "gate", "clients": list(range(clients)), "by_class": [row] * clients},
        "without": {
            "teacher": "gate", "samples": 1000, "accuracy": 0.9,
            "clients": [{"client": k, "accuracy": 0.8, "mends": 120, "spoils": 20} for k in range(clients)],
        },
    }  # fmt: skip
    recalls = [{"classes": [c], "samples": 9, "recall": 0.5} for c in range(classes - 1)]
    recalls.append({"classes": [classes - 1], "samples": 9, "recall": 0.25})
    model = {"digest": "", "accuracy": 0.5, "low": 0.4, "high": 0.6, "recall": recalls, "ece": 0.1, "auroc": None}
    models = [
        {**model, "model": "global", "gain": {"points": 3.0, "low": -1.0, "high": 7.0}},
        {**model, "model": "own", "gain": None, "recall": [{**group, "recall": 0.75} for group in recalls]},
    ]
    sites = [{"client": k, "samples": 9 * classes, "least": 5, "why": None, "models": models} for k in range(clients)]
    values = {
        "cross_site": {"classes": names, "sites": sites},
        "models": ["cnn:4"] * clients,
        "samples": [100] * clients,
        "accuracy": 0.9,
        "local_accuracy": [0.5] * clients,
        "recall": row,
        "taking_part": {"test": {"gain": clients, "lose": 0, "same": 0, "unknown": 0, "points": [40.0] * clients}},
        "own_data": [{"samples": 9, "alone": 0.9, "together": 0.8}] * clients,
        "bytes_up": [1000] * clients,
        "bytes_down": [1000] * clients,
        "audit": [{"client": k, **audit} for k in range(clients)],
        "detail": detail,
    }
    return facts("crowd", **values)
