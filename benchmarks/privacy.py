"""What a contribution tells: the attacks of `mosaic audit` on contributions of several sizes, as cells and one table.

    python benchmarks/privacy.py [--mnist FILE.parquet] [--samples 20,50,200,800] [--seeds 0,1,2,3,4]
                                 [--set KEY=VALUE ...] [--gate] [--out benchmarks/out/privacy]

A cell is one contribution: `n` samples of a data set by a seed, `--model`, default settings and those of `--set`. Its
strangers are up to 1,000 other samples of the set, classes as often as at the site, which never sees them. It is a JSON
file in `--out`; a cell that is there is not made again, so a run that is stopped goes on. `--gate` also asks the site's
own gate, which has no strangers but its own samples, whether the contribution would leave: two trainings more.
`--purpose` overfits on purpose, with 3,000 steps of the generator: that has to be caught.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.cli.options import parse_settings
from mosaic_fl.client.audit_gate import examine, trainer
from mosaic_fl.client.contribute import Site, split
from mosaic_fl.config import Config
from mosaic_fl.data import sources
from mosaic_fl.domains.dataset import Dataset, pool
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.audit import audit
from mosaic_fl.privacy.audit.finding import Audit
from mosaic_fl.privacy.audit.matching import matched

CPU = torch.device("cpu")
STRANGERS = 1000
TEST = 1000  # further samples, for the accuracy of the site's own model
PURPOSE = {"generator.steps": 3000, "train.min_steps": 2000, "train.patience": 0}


def main() -> None:
    """Make the cells that are missing, then print the table."""
    words = arguments()
    torch.set_num_threads(1)
    out = Path(words.out)
    out.mkdir(parents=True, exist_ok=True)
    settings = parse_settings(words.set) | (PURPOSE if words.purpose else {})
    rows = list[dict[str, Any]]()
    for name, data in data_sets(words.sets.split(","), words.mnist):
        for samples in map(int, words.samples.split(",")):
            for seed in map(int, words.seeds.split(",")):
                about = {"set": name, "samples": samples, "seed": seed, "model": words.model, "settings": settings}
                rows.append(cell(out, about, data, gate=words.gate))
    print(table(rows))


def arguments() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="digits", help="digits, mnist, with commas")
    parser.add_argument("--mnist", default="", help="labelled images of MNIST, as for mosaic contribute --data")
    parser.add_argument("--samples", default="20,50,200,800")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--model", default="cnn:16")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting of mosaic config")
    parser.add_argument("--gate", action="store_true", help="also what the site's own gate would say")
    parser.add_argument("--purpose", action="store_true", help="overfit on purpose")
    parser.add_argument("--out", default="benchmarks/out/privacy")
    return parser.parse_args()


def data_sets(names: list[str], mnist: str) -> list[tuple[str, Dataset]]:
    """The data sets by name, all samples of each."""
    found = list[tuple[str, Dataset]]()
    for name in names:
        if name == "digits":
            splits = sources.load(Config().data, 0)
            found.append((name, pool([splits.train, splits.test])))
        elif name == "mnist" and mnist:
            found.append((name, sources.load_file(mnist)))
        else:
            raise SystemExit(f"set {name!r}: digits, or mnist with --mnist FILE")
    return found


def cell(out: Path, about: dict[str, Any], data: Dataset, *, gate: bool) -> dict[str, Any]:
    """The cell of these settings, from its file or made now; with `gate` it has the gate's word, too."""
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    file = out / f"{about['set']}-{about['samples']}-{about['seed']}-{key}.json"
    row: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if row and (not gate or "gate" in row):
        return row
    config = Config().with_values({"run.seed": about["seed"], **about["settings"]})
    order = torch.randperm(len(data), generator=Stream(about["seed"], "benchmark").torch())
    own, strangers, test = order[: STRANGERS + TEST + about["samples"]].split(
        [about["samples"], *parts(len(data) - about["samples"])]
    )
    site = Site(0, data.subset(own), about["model"])
    start = time.perf_counter()
    sent = trainer(CPU)(site, config)
    trained = time.perf_counter()
    if not row:
        members, _ = split(site, config)
        others = matched(members, data.subset(strangers), Stream(about["seed"], "benchmark/matched"))
        basis = "samples that the site never saw"
        found = audit(sent, members, others, about["seed"], basis=basis, train=config.train)
        answers = sent.build_expert().log_probabilities(data.subset(test).samples)
        row = about | {"audit": found.to_json(), "bytes": len(sent.to_bytes()), "seconds_training": trained - start}
        row["accuracy"] = float((answers.argmax(1) == data.subset(test).labels).float().mean())
        row["seconds_audit"] = time.perf_counter() - trained
    if gate:
        start = time.perf_counter()
        word = examine(site, sent, config, trainer(CPU), thorough=True)
        row["gate"] = {"passes": word is None or word.passes, "words": "" if word is None else word.summary}
        row["seconds_gate"] = time.perf_counter() - start
    file.write_text(json.dumps(row, indent=1, ensure_ascii=False))
    print(f"{file.name}: {worst(row)}", flush=True)
    return row


def parts(left: int) -> list[int]:
    """How many of the samples that are `left` are strangers and test samples."""
    strangers = min(STRANGERS, left // 2)
    return [strangers, min(TEST, left - strangers)]


def worst(row: dict[str, Any]) -> str:
    """The worst finding of a cell in a few words."""
    finding = Audit.from_json(row["audit"]).worst
    if finding is None:
        return "no attack applies"
    return f"{finding.attack} {finding.auc:.2f} ({finding.low:.2f} to {finding.high:.2f})"


def table(rows: list[dict[str, Any]]) -> str:
    """One line an attack, one column a set and size: the mean AUC over seeds, and the largest upper end of them."""
    columns = list(dict.fromkeys((row["set"], row["samples"]) for row in rows))
    cells = {column: [row for row in rows if (row["set"], row["samples"]) == column] for column in columns}
    findings = {
        column: [finding for row in own for finding in Audit.from_json(row["audit"]).findings]
        for column, own in cells.items()
    }
    attacks = list(dict.fromkeys(finding.attack for own in findings.values() for finding in own))
    lines = ["| AUC, mean (largest upper end) | " + " | ".join(f"{name} {n}" for name, n in columns) + " |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    for attack in attacks:
        own = [[finding for finding in findings[column] if finding.attack == attack] for column in columns]
        texts = [f"{mean([f.auc for f in few]):.2f} ({max(f.high for f in few):.2f})" if few else "–" for few in own]
        lines.append(f"| `{attack}` | " + " | ".join(texts) + " |")
    for label, value in (
        ("worst attack, mean upper end", lambda row: upper(row)),
        ("accuracy of the site's model", lambda row: row["accuracy"]),
        ("seconds of the audit", lambda row: row["seconds_audit"]),
    ):
        texts = [f"{mean([value(row) for row in cells[column]]):.2f}" for column in columns]
        lines.append(f"| {label} | " + " | ".join(texts) + " |")
    if any("gate" in row for row in rows):
        words = [[row["gate"]["passes"] for row in cells[column] if "gate" in row] for column in columns]
        lines.append("| the site's gate lets through | " + " | ".join(f"{sum(w)} of {len(w)}" for w in words) + " |")
    return "\n".join(lines)


def upper(row: dict[str, Any]) -> float:
    """The upper end of the worst finding; 0 without one."""
    finding = Audit.from_json(row["audit"]).worst
    return 0.0 if finding is None else finding.high


def mean(values: list[float]) -> float:
    """The mean; not a number of nothing."""
    return sum(values) / len(values) if values else float("nan")


if __name__ == "__main__":
    main()
