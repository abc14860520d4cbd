"""`mosaic deploy` with wrong words or a wrong site file: one line, exit code 2, before any process starts."""

from importlib.metadata import version
from pathlib import Path

import pytest

from flower_processes import Place
from mosaic_fl.cli.main import main
from mosaic_fl.data.export import save_parquet
from mosaic_fl.deploy.client import REFUSAL_LIMIT, ClientPlan, Supervisor, _accept, _lock
from mosaic_fl.deploy.flower import environment
from mosaic_fl.deploy.prepare import check_data, prepare
from mosaic_fl.deploy.processes import Processes
from mosaic_fl.deploy.reach import Answer, UnreachableError
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.flower.client_app import site_desk
from mosaic_fl.engines.flower.site import load_site
from mosaic_fl.errors import MosaicError, UsageError

HERE = version("mosaic-fl")
SERVER = '\n[server]\naddress = "host:8443"\n'
GOOD = 'client = 0\ndata = "data.parquet"\nmodel = "cnn:8"\n'


@pytest.fixture
def folder(tmp_path: Path, digits: Dataset) -> Path:
    save_parquet(digits.subset(range(200)), tmp_path / "data.parquet")
    return tmp_path


def _site(folder: Path, text: str) -> Path:
    (folder / "site.toml").write_text(text)
    return folder / "site.toml"


def test_a_site_files_paths_are_its_own_folders(folder: Path) -> None:
    (folder / "client.key").touch()
    site = load_site(_site(folder, f'{GOOD}{SERVER}key = "client.key"\n'))
    assert site.data == folder / "data.parquet"
    assert site.folder == folder / "site-client"
    assert (site.server.host, site.server.port, site.server.key) == ("host", 8443, folder / "client.key")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("client = ", "is not TOML"),
        (GOOD, r"there is no \[server\]"),
        (f"{GOOD}clases = 3\n{SERVER}", "unknown setting 'clases': did you mean classes"),
        (
            f"{GOOD}classes = 1\n{SERVER}",
            "classes is 1, but it should be how many there are, two or more, or all their",
        ),
        (f'{GOOD}classes = ["cat"]\n{SERVER}', r"classes is \['cat'\], but it should be how many there are"),
        (f'{GOOD}{SERVER}adress = "x"\n', "unknown setting 'server.adress': did you mean server.address"),
        (GOOD.replace("data.parquet", "none") + SERVER, "data names .*none, which does not exist"),
        (GOOD.replace("client = 0\n", "") + SERVER, "client is missing: this client's number"),
        (GOOD.replace("= 0", "= 10000") + SERVER, "client is 10000, but it should be less than or equal to 9999"),
        (GOOD + SERVER.replace(":8443", ""), "server.address is 'host': write it as"),
        (GOOD + SERVER.replace("8443", "84430"), "server.address is 'host:84430': write it as"),
        (f'{GOOD}{SERVER}certificate = "ca.crt"\n', "server.certificate names .*ca.crt, which does not exist"),
        ("server = 3\n" + GOOD, "server is 3, but"),
        (GOOD.replace('"data.parquet"', "5") + SERVER, "data is 5, but it should be a path$"),
        (GOOD.replace("data.parquet", "~nosuch/x") + SERVER, "data is '~nosuch/x': there is no such home"),
        (
            GOOD + SERVER.replace("host", "mosaic..example.org"),
            "server.address is 'mosaic..example.org:8443': write it",
        ),
        (f'{GOOD}{SERVER}certificate = "."\n', "server.certificate names .*, which is a folder and no file"),
        (f'folder = "."\n{GOOD}{SERVER}', "folder names .*, in which data lies: the client needs one"),
        (f'folder = "data.parquet"\n{GOOD}{SERVER}', "folder names .*, in which data lies"),
        (f'folder = "at-12:30"\n{GOOD}{SERVER}', "it may have no ':', which separates paths"),
    ],
)
def test_a_wrong_site_file_is_named(folder: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=rf"site.toml.*{said}") as caught:
        load_site(_site(folder, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("server --clients 2 --insecure", "only with --host 127.0.0.1, not 0.0.0.0"),
        ("server --clients 2 --min-clients 3", "--min-clients 3: it is 1 to --clients 2"),
        ("server --clients 2 --host 127.0.0.1", "--keys and --clients-keys are needed"),
        ("server --clients 2 --limit fitt=3", "unknown limit 'fitt': did you mean fit"),
        ("server --clients 2 --limit fit=no", "write STAGE=SECONDS"),
        ("server --clients 2 --insecure --host 127.0.0.1 --test no", "no does not exist"),
        ("server --clients 2 --insecure --host 127.0.0.1 --test site.toml", "site.toml cannot be read as Parquet"),
        ("server --clients 2 --insecure --host 127.0.0.1 --set run.device=tpu", "device 'tpu'"),
        ("server --clients 2 --insecure --host 127.0.0.1 --port 99999", "ports are 1 to 65535"),
        ("server --clients 2 --insecure --host 127.0.0.1 --port 0", "ports are 1 to 65535"),
        ("server --clients 2 --insecure --host 127.0.0.1 --metrics-port 8443", "clients reach --port there"),
        ("server --clients 2 --insecure --host 127.0.0.1 --student cmn:8", "unknown model 'cmn'"),
        ("server --clients 2 --insecure --host 127.0.0.1 --trust cnn:8", "--trust 'cnn:8': write MODULE:FACTORY"),
        ("server --clients 2 --insecure --host 127.0.0.1 --out a?b", "its path may have no '?'"),
        ("server --clients 2 --insecure --host 127.0.0.1 --out at-12:30", "its path may have no ':'"),
        ("server --clients 2 --insecure --host 127.0.0.1 --out site.toml/run", "cannot write "),
        ("server --clients 2 --insecure --host 127.0.0.1 --resume --force", "say one of them"),
        ("client no.toml", "cannot read no.toml"),
        ("client site.toml", "[server] needs certificate"),
        ("client site.toml --insecure", "only to 127.0.0.1, not host"),
    ],
)
def test_wrong_words(
    folder: Path, words: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    _site(folder, GOOD + SERVER)
    with pytest.raises(SystemExit) as ended:
        main(["deploy", *words.split()])
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1), error
    assert said in error
    assert not (folder / "runs" / "deploy").exists()


def test_a_client_of_another_version_or_with_an_unknown_or_doubled_key_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.make_keys(1)
    site = load_site(place.write_site(0))
    plan = ClientPlan(tmp_path / "site-0" / "site.toml", site)
    _accept(Answer(), plan, "mark")
    _accept(Answer(HERE, frozenset({"mark"})), plan, "mark")
    with pytest.raises(MosaicError, match=f"the server runs mosaic-fl 9.9, this client {HERE}: install the same"):
        _accept(Answer("9.9", frozenset({"mark"})), plan, "mark")
    with pytest.raises(MosaicError, match=r"does not know the key .*client.key: give its .pub file"):
        _accept(Answer(HERE, frozenset({"other"})), plan, "mark")
    supervisor = Supervisor(plan, "mark", Processes())
    supervisor._report_refusal()
    assert supervisor.refusal_start is not None
    supervisor.refusal_start -= REFUSAL_LIMIT
    with pytest.raises(MosaicError, match="another client uses it"):
        supervisor._report_refusal()


def test_a_client_that_is_to_end_with_the_server_outlives_its_node(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one question that is lost."""
    lives = list[int]()
    plan = ClientPlan(folder, load_site(_site(folder, GOOD + SERVER)), insecure=True, once=True)
    # Two questions after the first life (is it gone, may I come back), three after the second, of which one is lost. It
    # goes when it has answered the first one after the third life.
    answers = [True, True, False, True, True, True]

    def ask(_: ClientPlan) -> Answer:
        if answers and answers.pop(0):
            return Answer()
        raise UnreachableError("nobody")

    monkeypatch.setattr("mosaic_fl.deploy.client._ask", ask)
    monkeypatch.setattr("mosaic_fl.deploy.client.time.sleep", lambda _: None)
    with Processes() as processes:
        supervisor = Supervisor(plan, None, processes)
        monkeypatch.setattr(supervisor, "_live", lambda: [lives.append(len(lives))] != [])
        supervisor.run()
    assert lives == [0, 1, 2]
    assert supervisor.over


def test_show_prints_every_command_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    place.make_keys(1)
    monkeypatch.chdir(tmp_path)
    words = (
        f"deploy server --clients 1 --keys server --clients-keys clients --host 127.0.0.1 --port {place.port} --show"
    )
    with pytest.raises(SystemExit):
        main(words.split())
    shown = capsys.readouterr().out
    for part in (
        "flower-superlink",
        "supernode register",
        "mosaic_fl.deploy.proxy_server",
        "flwr run",
        "FLWR_TELEMETRY_ENABLED=0",
    ):
        assert part in shown
    assert not (tmp_path / "runs").exists()
    with pytest.raises(SystemExit):
        main(["deploy", "client", "site-0/site.toml", "--show"])
    assert "flower-supernode" in capsys.readouterr().out
    assert not (tmp_path / "site-0" / "site-client").exists()


def test_the_former_option_for_a_server_without_proxy_is_told_to_do_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opened the hub to loopback; what stood before it still finds TLS and the same port."""
    place = Place(tmp_path)
    place.make_keys(1)
    monkeypatch.chdir(tmp_path)
    words = "deploy server --clients 1 --keys server --clients-keys clients --host 127.0.0.1 --no-proxy --show"
    with pytest.raises(SystemExit):
        main([*words.split(), "--port", str(place.port)])
    out, err = capsys.readouterr()
    assert "mosaic_fl.deploy.proxy_server" in out
    assert err.startswith("mosaic: note: --no-proxy: ")
    assert err.count("\n") == 1


def test_a_folder_of_somebody_else_is_no_client_s(folder: Path) -> None:
    """What it holds as gate/, flower/ and work/ would be replaced."""
    theirs = folder / "papers" / "gate"
    theirs.mkdir(parents=True)
    (theirs / "thesis.tex").write_text("years of work")
    plan = ClientPlan(folder, load_site(_site(folder, f'folder = "papers"\n{GOOD}{SERVER}')), insecure=True, wait=0)
    with pytest.raises(UsageError, match="is not empty, and not the folder of a client"), _lock(plan.site.folder):
        pass
    with pytest.raises(UsageError, match="cannot be the client's folder"), _lock(folder / "data.parquet" / "x"):
        pass
    for _ in range(2):  # at first empty, then its own
        with _lock(folder / "mine"):
            (folder / "mine" / "work").mkdir(exist_ok=True)
    assert (theirs / "thesis.tex").exists()


def test_a_link_to_a_site_file_names_the_folder_of_the_file(folder: Path) -> None:
    """The node is started with the file, and looks for its gate there."""
    link = folder / "here.toml"
    link.symlink_to(_site(folder, GOOD + SERVER))
    assert load_site(link).folder == load_site(link.resolve()).folder == folder / "site-client"


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_loopback_needs_no_proxy_however_that_is_spelt(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for spelling in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(spelling, raising=False)
    monkeypatch.setenv(name, "corp.local")
    given = environment(Path("home"))
    assert given["no_proxy"] == given["NO_PROXY"] == "corp.local,127.0.0.1,localhost,::1"


def test_a_site_that_names_the_classes_joins(folder: Path) -> None:
    names = [str(k) for k in range(10)]
    site = _site(folder, f"{GOOD}classes = {names}\n{SERVER}")
    desk = site_desk({"site": str(site)})
    assert desk.site().data.schema.classes == tuple(names)


def test_a_site_may_name_the_classes_in_a_file(folder: Path) -> None:
    site = _site(folder, f'{GOOD}classes_file = "classes.txt"\n{SERVER}')
    with pytest.raises(UsageError, match=r"classes_file names .*classes\.txt, which does not exist"):
        load_site(site)
    (folder / "classes.txt").write_text("9\n8\n7\n6\n5\n4\n3\n2\n1\n0\n")
    assert site_desk({"site": str(site)}).site().data.schema.classes == tuple("9876543210")
    (folder / "classes.txt").write_text("0\n1, or more\n")  # with a comma
    with pytest.raises(UsageError, match=r"class 1 of .* is none of the classes 0, 1, or more"):
        check_data(load_site(site))
    with pytest.raises(UsageError, match="classes and classes_file: give one of them"):
        load_site(_site(folder, f'{GOOD}classes = 10\nclasses_file = "classes.txt"\n{SERVER}'))


def test_what_is_wrong_with_data_or_model_is_one_line_whatever_the_model_prints(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "noisy_nets.py").write_text(
        "import warnings\nfrom torch import nn\nprint('hello')\nwarnings.warn('a remark')\n"
        "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(7, 10))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    site = _site(folder, GOOD.replace("cnn:8", "noisy_nets:net") + "classes = 10\n" + SERVER)
    with pytest.raises(UsageError, match=r"^model 'noisy_nets:net' cannot take images of shape .*$") as said:
        prepare(site)
    assert "\n" not in str(said.value)
    assert not (load_site(site).folder / "gate").exists()
