"""What a test does with each command of the documents: run it, or say who tests it and why it cannot be run here.

A page's commands run in order, in a folder with small data under the names that it uses (`document_data`). What stands
in `ELSEWHERE` is not run; every other command is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

SMALL = [
    word
    for setting in (
        "train.max_steps=12", "train.min_steps=6", "generator.steps=8", "generator.width=8", "meta.steps=6",
        "meta.samples=80", "distill.steps=12", "distill.pool=120", "distill.prior_pool=40", "distill.choose=false",
        "distill.terms=1", "distill.inversion=2", "audit.seconds=1",
    )
    for word in ("--set", setting)
]  # fmt: skip
"""With these any command that trains takes a second or two. What they bring is for other tests."""
WORDS = {
    "run": [*SMALL, "--set", "data.max_train=300", "--workers", "1"],
    "compare": [*SMALL, "--set", "data.max_train=200", "--set", "data.max_test=60", "--workers", "1"],
    "contribute": SMALL,
    "distill": SMALL,
    "audit": ["--set", "audit.seconds=1"],
}
"""What is added to a command."""

ELSEWHERE = {
    # What is for a whole machine, installs packages, or ends with Ctrl-C.
    "make demo": "minutes of training; tests/test_end_to_end.py has its settings with few steps",
    "make demo-tables": "minutes of training; tests/test_table_run.py",
    "make test": "it is what runs the tests",
    "make docs-run": "it is what runs these",
    "make lint": ".ci/run runs it",
    "make format": "it changes files; .ci/run looks for what it would change",
    "make notebooks helm": ".ci/run runs both",
    "python -m pip install build twine": "it installs packages",
    "python -m build": "its package is installed for it; tests/test_package.py builds a wheel",
    "python -m twine check --strict dist/*": "its package is installed for it",
    "pip install 'mosaic-fl[report]'": "it installs packages; tests/test_extras.py knows the extras",
    "pip install 'mosaic-fl[track]'": "it installs packages; tests/test_extras.py knows the extras",
    "tensorboard --logdir runs": "it goes on until Ctrl-C; tests/test_tracking.py reads what it would show",
    "mosaic status runs/mine --web": "it goes on until Ctrl-C; tests/test_status_page.py",
    "mosaic status runs/two --web": "it goes on until Ctrl-C; tests/test_status_page.py",
    # Hours of training.
    "mosaic compare --methods all": "minutes to hours; tests/test_compare.py runs every method",
    "mosaic compare --full": "hours; tests/test_compare_grid.py says which cells it has",
    "python benchmarks/": "minutes to hours; tests/test_docs_commands.py knows that the script is there",
    # Several processes: a cluster on one machine, or a server with TLS and its sites.
    "mosaic run --engine flower": "Ray; tests/test_flower_simulation.py",
    "mosaic run --models mlp:64,answers:random_forest --clients 4 --engine flower": "tests/test_black_box_engines.py",
    "mosaic deploy server --clients 2 --keys server --clients-keys clients --test": "tests/test_deploy_run.py",
    "mosaic deploy client site.toml": "it waits for a server; tests/test_deploy_run.py",
    "mosaic deploy server … --signers signers": "tests/test_deploy_run.py",
    "helm install": "a Kubernetes cluster; tests/test_deploy_images.py renders the chart",
    "until mosaic distill": "it waits for other sites; tests/test_black_box.py has its exit code",
    "mosaic audit-log verify north-client/site-log.jsonl --last": "a hash cut short; tests/test_audit_log.py",
    "mosaic contribute --data b.csv --schema heart.toml --model mine.onnx": "tests/test_table_experts.py makes one",
    "mosaic run --data digits --track tensorboard": "tests/test_tracking.py",
    "mosaic compare --methods mosaic,fedavg --seeds 0,1,2 --track mlflow": "MLflow; tests/test_tracking.py",
    # Python.
    'model = mosaic_fl.GlobalModel.load("runs/latest")': "a token of the Hub; tests/test_export.py",
    "# CatBoost": "a package that is no dependency; tests/test_onnx_experts.py reads such a file",
    "# Keras": "a package that is no dependency; tests/test_keras_experts.py",
    "import mosaic_fl as mosaic\nfrom sklearn.datasets import load_digits": "tests/test_readme.py",
}
"""Steps that are not run, by how they begin: the reason, and the test that has what can be tested."""


@dataclass(frozen=True)
class Page:
    """What a reader of a page has before its first command."""

    before: tuple[str, ...] = ()
    """Commands of other pages that came first."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What a reader writes for a placeholder."""
    fetched: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Files and folders that are copied (from, to) before the command that begins so: what people send one another."""
    codes: Mapping[str, int] = field(default_factory=dict)
    """Exit codes that are not 0, by how the command begins."""
    names: str = ""
    """Python: what the page's blocks of Python take for granted."""
    machines: bool = False
    """The prompts are machines, each with a folder of its own."""
    fields: bool = False
    """Tables have columns of pictures."""


MODEL = "mosaic run --data photos --clients 2 --alpha 1 --out runs/latest"
SITES = tuple(
    f"mosaic contribute --data {data}.parquet --classes 10 --model mlp:8 --client {k} --out {name}.contribution"
    for k, (name, data) in enumerate({"a": "ward", "b": "clinic", "c": "own", "d": "others"}.items())
)
FILES = (*SITES[:2], "mosaic distill a.contribution b.contribution --out global")
DIGITS = """
import json, mosaic_fl
from sklearn.datasets import load_digits
digits = load_digits()
images, labels = (digits.images[:200] * 15).astype("uint8"), digits.target[:200]
"""
SMALLER = {"resnet18": "resnet8"}  # half a minute less
SITE = "--data ward.parquet --classes 10 --model mlp:8 --client 0"

PAGES_RUN = {
    "README.md": Page(words=SMALLER),
    "CONTRIBUTING.md": Page(),
    "docs/audit.md": Page(
        before=(
            "mosaic contribute --data own.parquet --classes 10 --model mlp:8 --client 3 --out site-3.contribution",
            "mosaic data --data digits --clients 5 --alpha 100 --export sites --out split.png",
        ),
        names=DIGITS
        + """
contribution = mosaic_fl.Contribution.load("site-3.contribution")
data = mosaic_fl.from_arrays(images, labels, classes=10)
members, strangers = data.subset(range(100)), data.subset(range(100, 200))
""",
    ),
    "docs/black-box.md": Page(
        before=SITES[:1],
        fetched={"mosaic answer": (("sent/client-1-round-1.query", "client-1-round-1.query"),)},
        codes={"mosaic distill a.contribution b.contribution --out global/": 3},
        names=DIGITS
        + """
def predict(samples):
    return [[0.1] * 10] * len(samples)
a, b = (mosaic_fl.Contribution.load(f"{name}.contribution") for name in "ab")
""",
    ),
    "docs/compare.md": Page(
        before=tuple(
            f"mosaic compare --methods mosaic,fedavg --data {data} --seeds 0 --architectures equal --out runs/{name}"
            for data, name in (("digits", "compare"), ("photos", "full"))
        ),
        fetched={"mosaic summary old=": (("runs/compare", "runs/other"),)},
    ),
    "docs/deploy.md": Page(
        machines=True,
        fetched={
            "ls clients": (
                ("north/keys/client.key.pub", "server/clients/north.pub"),
                ("south/keys/client.key.pub", "server/clients/south.pub"),
            ),
            "mosaic deploy client site.toml --show": (("server/server/ca.crt", "north/ca.crt"),),
        },
    ),
    "docs/encoders.md": Page(before=FILES, words={"*.contribution": "a.contribution"}),
    "docs/experts.md": Page(
        before=("mosaic schema a.csv --label-column outcome --out heart.toml",),
        names=DIGITS
        + """
X, y = digits.data[:200], labels
from torch import nn
net = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))
""",
    ),
    "docs/export.md": Page(
        before=(MODEL, *SITES[:2]),
        names=DIGITS
        + """
X, y = digits.data[:200], labels
contributions = [mosaic_fl.Contribution.load(f"{name}.contribution") for name in "ab"]
""",
    ),
    "docs/files.md": Page(words=SMALLER),
    "docs/folder.md": Page(),
    "docs/json.md": Page(before=(*FILES, f"mosaic contribute {SITE} --out ward.contribution")),
    "docs/modalities.md": Page(fields=True, words={"NAME": "fusion:8", "5": "3"}),
    "docs/predictions.md": Page(before=(MODEL,), names=DIGITS + 'model = mosaic_fl.GlobalModel.load("runs/latest")'),
    "docs/privacy.md": Page(
        before=(
            f"mosaic contribute {SITE} --log north-client/site-log.jsonl --out north.contribution",
            "mosaic keys new south.key > south.pub",
            "mosaic contribute --data clinic.parquet --classes 10 --model mlp:8 --client 1 --out south.age",
        ),
        words={"…": SITE, "*.contribution": "north.contribution"},
        fetched={
            "ls signers": (("north.pub", "signers/0.pub"), ("south.pub", "signers/1.pub")),
        },
    ),
    "docs/python.md": Page(
        names=DIGITS + "others = [mosaic_fl.contribute(images, labels, model='mlp:8', client=1, classes=10)]"
    ),
    "docs/regions.md": Page(before=SITES),
    "docs/report.md": Page(
        before=(
            "mosaic run --data digits --clients 2 --models mlp:8 --out runs/demo",
            "mosaic compare --methods fedavg --data digits --seeds 0 --architectures equal --out runs/compare",
        ),
        fetched={"mosaic report runs/a": (("runs/demo", "runs/a"), ("runs/demo", "runs/b"))},
    ),
    "docs/simulate.md": Page(),
    "docs/sites.md": Page(
        before=(
            *FILES,
            "mosaic evaluate global a.contribution --data ward.parquet --held-back --out a.scores",
            "mosaic evaluate global b.contribution --data clinic.parquet --held-back --out b.scores",
        )
    ),
    "docs/tables.md": Page(
        before=("mosaic schema b.csv --label-column outcome --statistics --client 1 --out b.statistics",)
    ),
    "docs/tracking.md": Page(),
    "docs/trust.md": Page(),
    "docs/tutorial.md": Page(),
}
"""Every page with commands or blocks of Python."""
