"""Wrong uses of every command: one line each, which names the value and says what to do, and no work is spent."""

from pathlib import Path

import pytest

from command import fails
from test_json import DOCS, ROW

# The words, a part that names what is wrong, and a part that says what to do.
USES: list[tuple[str, str, str]] = [
    (
        "run --data nowhere.parquet",
        "nowhere.parquet does not exist",
        "give a Parquet file, a folder, hub:NAME",
    ),
    ("run --method mosaik", "'mosaik'", "did you mean mosaic?"),
    ("run --minutes soon", "'soon'", "write a positive number, as 10"),
    ("run s.toml --preset paper", "s.toml and --preset paper", "give one of them"),
    ("compare --methods mosaic,fedav", "'fedav'", "did you mean fedavg"),
    ("compare --jobs 0", "'0'", "write a number of at least 1, or auto"),
    ("compare --seeds one", "'one'", "with commas between them, as 0,1,2"),
    ("report folder", "folder has no result.json", "name the folder of a run that has ended"),
    ("report", "Missing argument 'RUN...'", "folders of runs"),
    ("summary folder", "folder", "name what --out"),
    ("data --data digitz", "'digitz'", "did you mean digits"),
    ("data --classes 10", "--classes 10", "goes with --describe"),
    ("schema t.csv", "which column has the classes", "--label-column NAME"),
    ("schema t.csv --label-column klass", "klass", "a, target"),
    ("schema t.csv --label-column target --out schema.json", "schema.json", "end its name in .toml"),
    ("schema t.cvs --label-column target", "t.cvs does not exist", "did you mean t.csv?"),
    ("contribute --data t.csv --model mlp:8 --out x", "Missing option '--client'", "another at each site"),
    ("contribute --data t.csv --model mlp:8 --client -1 --out x", "-1", "0<=x<=9999"),
    ("contribute --data t.csv --model mlp:8 --client 0 --out a.contribution", "exists", "add --force"),
    (
        "contribute --data t.csv --model mlp:8 --client 0 --out x --limits l.toml",
        "limits.figure",
        "limits.figures",
    ),
    ("contribute --data t.csv --model mlp:8 --client 0 --out x --sign k", "--sign", "needs --run-id TEXT"),
    ("audit a.contribution --data t.csv", "a.contribution: not a mosaic-fl file", "name one that mosaic wrote"),
    ("audit a.contribution", "Missing option '--data'", "the labelled data that it was made of"),
    ("check a.contribution --run-id r", "--run-id", "--signers FOLDER: give that, too"),
    ("distill b.contribution", "cannot read b.contribution", "did you mean a.contribution?"),
    ("distill a.contribution --set distill.stepz=3", "'distill.stepz'", "did you mean distill.steps"),
    ("distill a.contribution --client 3", "--client N", "give both, or none"),
    ("evaluate folder --data t.csv", "folder", "give the folder of a run, or such a file"),
    ("evaluate a.contribution --data t.csv --sign k --run-id r", "--sign", "--out: give that, too"),
    ("collect a.contribution", "a.contribution: not a mosaic-fl file", "name one that mosaic wrote"),
    ("inspect a.contribution --pictures x.png", "--pictures", "needs --data"),
    ("withdraw folder 0", "folder is not the folder of a run", "name what --out was"),
    ("withdraw folder x", "'x' is no whole number", "mosaic withdraw --help"),
    ("query folder", "folder has no queries", "mosaic distill writes them"),
    ("answer a.contribution --model m --out x --form words", "'words'", "probabilities, logits, labels"),
    ("predict a.contribution --data t.csv --least-sure 2", "--least-sure 2.0", "0.1 abstains from a tenth"),
    ("export a.contribution --to onx --out there", "'onx'", "did you mean onnx"),
    ("predict a.contribution --data t.csv --format xml", "'xml'", "known: csv, jsonl, parquet"),
    ("methods --jsn", "No such option '--jsn'", "did you mean --json?"),
    ("config --set run.seed", "'run.seed'", "write SECTION.KEY=VALUE"),
    ("config nowhere.toml", "cannot read nowhere.toml", "a path begins in the current folder"),
    ("status nowhere", "nowhere is no folder", "name what --out was"),
    ("keys new folder", "folder is a folder", "name a file"),
    ("keys public t.csv", "t.csv is no private key", "mosaic keys new FILE makes one"),
    ("deploy", "Missing command", "mosaic deploy --help"),
    ("deploy keys server", "Missing option '--host'", "names and addresses that clients use"),
    ("deploy keys client --fast", "No such option '--fast'", "mosaic deploy keys client --help"),
    ("deploy server --clients 2 --limit fit=soon --insecure", "'fit=soon'", "write STAGE=SECONDS, as fit=600"),
    ("deploy client site.toml", "site.toml: data is missing", "a Parquet file or a folder"),
    ("audit-log verify t.csv --last", "'--last' requires an argument", "a last hash that was noted elsewhere"),
    ("audit-log show t.csv x", "extra argument (x)", "mosaic audit-log show --help"),
    ("key new x", "No such command 'key'", "did you mean keys?"),
]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("a.contribution").write_text("precious")
    Path("t.csv").write_text("a,target\n1,x\n2,y\n")
    Path("s.toml").write_text('[run]\nmethod = "mosaic"\n')
    Path("l.toml").write_text("[limits]\nfigure = true\n")
    Path("site.toml").write_text("client = 0\n")


@pytest.mark.parametrize(("words", "value", "way"), USES, ids=[words for words, *_ in USES])
def test_one_line_names_the_value_and_the_way_out(
    capsys: pytest.CaptureFixture[str], words: str, value: str, way: str
) -> None:
    before = sorted(path.name for path in Path.cwd().iterdir())
    if words.startswith("deploy"):
        pytest.importorskip("flwr", reason="the flower extra is not installed")
    line = fails(capsys, *words.split())
    assert value in line
    assert way in line
    assert len(line) < 400
    assert sorted(path.name for path in Path.cwd().iterdir()) == before
    assert Path("a.contribution").read_text() == "precious"


def test_every_command_has_a_wrong_use() -> None:
    documented = {words.split(" --")[0] for words, *_ in ROW.findall(DOCS.read_text("utf-8"))}
    assert {name for name in documented if not any(use[0].startswith(name) for use in USES)} == set()
