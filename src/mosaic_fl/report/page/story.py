"""What a page says of a run in sentences: the short of it, what is not there and why, and how to get it again."""

import json
from collections.abc import Iterator
from statistics import fmean

from mosaic_fl.numerics.intervals import wilson
from mosaic_fl.report.page.facts import MOST_CLASSES, Facts
from mosaic_fl.report.page.words import percent

MOST_LINES = 1500  # of `result.json`, which is shown at the end
LONGEST = 400  # letters of one of its lines
HEARD = {
    "weights": (
        "A client's say on a class is fixed: its share of the training samples of the class, or the same for all "
        "clients where the teacher is a plain mean."
    ),
    "gate": "A gate decides for each sample whom to listen to: these are means over the test samples of each class.",
    "measured": (
        "How far the teacher's answers on test samples of a class move where the client is silent, as a share of what "
        "all clients move."
    ),
}


def lead(run: Facts) -> list[str]:
    """The short of it."""
    return list(_lead(run))


def _lead(run: Facts) -> Iterator[str]:
    sites = len(run.clients)
    what = "bring their models, which answer together" if run.is_ensemble else "trained one model together"
    yield f"{sites} site{'s' * (sites != 1)} {what}. Their data stayed with them."
    value = run.result.get("accuracy")
    if value is not None and run.tested:
        low, high = wilson(value, run.tested)
        yield (
            f"Of {run.tested:,} test samples that nobody trained on, the shared model gets {percent(value)} right. "
            f"With so many samples the truth lies between {percent(low)} and {percent(high)}, 19 times of 20."
        )
    local = [own for own in run.result.get("local_accuracy") or [] if own is not None]
    if local:
        yield f"The best site alone has {percent(max(local))} there, the mean site {percent(fmean(local))}."
    taking = run.result.get("taking_part") or {}
    if (test := taking.get("test")) is not None:
        yield f"{test['gain']} of {len(test['points'])} sites gain on the test set of all sites."
    if (own := taking.get("own")) is not None:
        yield f"On their own held-back data {own['gain']} of {len(own['points'])} gain, {own['lose']} lose."


def interval(run: Facts) -> str:
    """The interval of the shared model's accuracy; empty without one."""
    value = run.result.get("accuracy")
    if value is None or not run.tested:
        return ""
    low, high = wilson(value, run.tested)
    return f"{percent(low)} to {percent(high)}"


def gains(run: Facts) -> str:
    """As "4 of 5", or nothing where sites have no models of their own to compare."""
    test = (run.result.get("taking_part") or {}).get("test")
    return f"{test['gain']} of {len(test['points'])}" if test else ""


def heard(run: Facts) -> str:
    """How the teacher listens, in a sentence."""
    return HEARD.get(str((run.detail["listening"] or {}).get("how")), "")


def absent(run: Facts) -> list[tuple[str, str]]:
    """(what is not on the page, why)."""
    return list(_absent(run))


def _absent(run: Facts) -> Iterator[tuple[str, str]]:
    untested = "no labelled test set"
    if not run.tested:
        yield "accuracy, calibration and confusions", untested
    if not (run.at_home or run.home_gains):
        yield "each site on its own data", "no site told figures of its own model and of the shared one"
    for home in run.homes:
        if home.why:
            yield f"{home.name} on its own data", home.why
    if run.tested and not run.scores[1:]:
        yield "what each site could do alone", "this method asks no client's own model"
    if not run.aurocs:
        yield "AUROC with intervals", untested if not run.tested else "its samples are no rows of a table"
    if not run.split:
        yield "who holds what", "the clients told no counts, or there are more than 100 classes"
    if len(run.classes) > MOST_CLASSES:
        yield "heat maps by class", f"{len(run.classes):,} classes are too many for one"
    without = run.detail["without"] or {}
    if not run.without:
        yield "what each contributed", without.get("skipped") or "this method has no teacher"
    if not run.listening:
        yield (
            "whom the teacher listens to",
            (without.get("skipped") or "it does not tell") if without else "this method has no teacher",
        )
    if not run.generated and not run.pictures:
        yield "samples of the generators", "this method keeps none"
    if not run.audits:
        yield "what attacks on privacy reach", "no site told of an audit (docs/audit.md)"
    if run.result.get("privacy") is None:
        yield "privacy spent", "no noise was added"
    if not run.result.get("bytes_up"):
        yield "bytes", "nothing travelled"


def command(run: Facts) -> str:
    """The command that makes the run again, from the configuration in `run.toml`."""
    if run.result.get("contributors"):
        files = [name for name, _ in run.sources.values()] or ["CONTRIBUTION…"]
        shown = files if len(files) <= 6 else [*files[:5], "…"]
        return f"mosaic distill {' '.join(shown)} --config run.toml --out again"
    if run.result.get("left_out") is not None:
        return f"mosaic deploy server run.toml --clients {len(run.clients)} --out again"
    return "mosaic run run.toml --out again"


def everything(run: Facts) -> str:
    """The content of `result.json`, of which a long one is cut: nothing is written that is not shown."""
    lines = [""]
    for part in json.JSONEncoder(indent=1, ensure_ascii=False).iterencode(run.result):
        head, *rest = part.split("\n")
        lines[-1] += head
        lines += rest
        if len(lines) > MOST_LINES:
            lines[-1] = "… the rest is in result.json"
            break
    return "\n".join(line if len(line) <= LONGEST else line[:LONGEST] + "…" for line in lines)
