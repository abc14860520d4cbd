"""`mosaic deploy`: make keys, and start a server or a client of a federation over a network; see docs/deploy.md."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mosaic_fl.cli.app import App, TextCommand
from mosaic_fl.cli.files import Trust
from mosaic_fl.cli.keys import EncryptFor, SignersFolder, readers_of
from mosaic_fl.cli.options import (
    Aggregate,
    Bundle,
    ConfigFile,
    Force,
    Keep,
    Preset,
    Resume,
    Settings,
    Strict,
    configure,
    trust_options,
)
from mosaic_fl.cli.output import results, run_results
from mosaic_fl.cli.reading import reads_images, tell_idle
from mosaic_fl.config.checks import check_real
from mosaic_fl.data.places import existing
from mosaic_fl.engines.flower.limits import MAX_ANSWER, read_limits
from mosaic_fl.methods import METHODS
from mosaic_fl.notes import note
from mosaic_fl.runs.folder import require_open

app = App("A federation over a network: docs/deploy.md.")
keys = App("Make keys and certificates.")
app.add_typer(keys, name="keys")

MB = 2**20  # bytes; the unit of --max-answer
Show = Annotated[bool, typer.Option("--show", help="print the commands and their environment, and end")]
Insecure = Annotated[bool, typer.Option("--insecure", help="no TLS and no keys: on loopback only")]


@keys.command("server")
def server_keys(
    host: Annotated[str, typer.Option(metavar="NAME,…", help="names and addresses that clients use")],
    out: Annotated[Path, typer.Option(help="folder for them")] = Path("keys"),
    force: Annotated[bool, typer.Option("--force", help="renew the certificate; the authority stays")] = False,
) -> None:
    """At the server: an authority, a certificate and its key."""
    _need_flower()
    from mosaic_fl.deploy.certificates import AUTHORITY_DAYS, SERVER_DAYS, make_server_keys

    make_server_keys(host.split(","), out, force=force)
    files = ("ca.crt", "ca.key", "server.pem", "server.key")
    results({"files": [out / name for name in files], "days": SERVER_DAYS, "authority_days": AUTHORITY_DAYS})
    print(f"{out}/server.pem, server.key: the server's, for {SERVER_DAYS} days")
    print(f"{out}/ca.crt: for every client, by a way you trust (valid {AUTHORITY_DAYS} days)")
    print(f"{out}/ca.key: signs the next certificate; keep it off this machine")


@keys.command("client")
def client_keys(
    out: Annotated[Path, typer.Option(help="folder for them")] = Path("keys"),
    force: Annotated[bool, typer.Option("--force", help="make another pair")] = False,
) -> None:
    """At a client: its key pair."""
    _need_flower()
    from mosaic_fl.deploy.certificates import make_client_keys

    public = make_client_keys(out, force=force)
    results({"public": public, "private": public.with_suffix("")})
    print(f"{public}: for the server's operator, by a way you both trust")
    print(f"{public.with_suffix('')}: stays here, and at this client alone")


@app.command("server")
@reads_images()
def server(
    file: ConfigFile = None,
    *,
    clients: Annotated[int, typer.Option(min=1, metavar="N", help="clients to wait for")],
    min_clients: Annotated[int | None, typer.Option(metavar="M", help="go on with these [more than half]")] = None,
    method: Annotated[str | None, typer.Option(help="mosaic, fedavg, …: see mosaic methods")] = None,
    student: Annotated[str | None, typer.Option(help="the global model's architecture")] = None,
    aggregate: Aggregate = None,
    bundle: Bundle = None,
    preset: Preset = None,
    keep: Keep = None,
    strict: Strict = None,
    settings: Settings = None,
    test: Annotated[Path | None, typer.Option(help="labelled data for a final accuracy")] = None,
    reading: dict[str, Any],
    trusted: Trust = None,
    keys: Annotated[Path | None, typer.Option(help="folder of mosaic deploy keys server")] = None,
    clients_keys: Annotated[Path | None, typer.Option(help="folder of the clients' .pub files")] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "0.0.0.0",  # noqa: S104
    port: Annotated[int, typer.Option(help="the one port that clients reach")] = 8443,
    limit: Annotated[list[str] | None, typer.Option(metavar="STAGE=SECONDS", help="time limits")] = None,
    max_answer: Annotated[int, typer.Option(min=1, metavar="MB", help="larger answers are refused")] = MAX_ANSWER // MB,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="one JSON object a line")] = False,
    metrics_port: Annotated[int | None, typer.Option(metavar="P", help="Prometheus figures on loopback")] = None,
    signers: SignersFolder = None,
    encrypt_for: EncryptFor = None,
    insecure: Insecure = False,
    no_proxy: Annotated[
        bool, typer.Option("--no-proxy", hidden=True, help="without effect: the server always has its proxy")
    ] = False,
    show: Show = False,
    out: Annotated[Path, typer.Option(help="folder of the run")] = Path("runs/deploy"),
    resume: Resume = False,
    force: Force = False,
) -> None:
    """At the server: wait for the clients, run the method, write the one global model."""
    options = {"run.method": method, "models.student": student, "partition.clients": clients, **reading}
    options |= {"models.bundle": bundle, "rounds.aggregate": aggregate} | trust_options(keep, strict)
    config = configure(file, options, settings, preset)
    if no_proxy:
        note("--no-proxy: this option has no effect, the server always has its proxy; leave it out")
    METHODS[config.run.method].check_settings(config)
    check_real(config)
    if test:
        existing(test)
    tell_idle(reading, test)
    readers = readers_of(encrypt_for)
    stage_limits = read_limits(limit)
    if not show:
        require_open(out, resume=resume, force=force)
    _need_flower()
    from mosaic_fl.deploy.plan import ServerPlan
    from mosaic_fl.deploy.server import command_lines, serve
    from mosaic_fl.report.heartbeat import Heartbeat
    from mosaic_fl.report.status_lines import brief
    from mosaic_fl.watch.reading import read_status

    plan = ServerPlan(
        config=config,
        out=out.resolve(),
        clients=clients,
        min_clients=clients // 2 + 1 if min_clients is None else min_clients,
        host=host.strip("[]"),
        port=port,
        keys=keys.resolve() if keys else None,
        clients_keys=clients_keys.resolve() if clients_keys else None,
        test=test.resolve() if test else None,
        limits=stage_limits,
        json_logs=json_logs,
        max_answer=max_answer * MB,
        metrics_port=metrics_port,
        insecure=insecure,
        trusted=tuple(trusted or ()),
        signers=signers.resolve() if signers else None,
        readers=readers,
    )
    if show:
        results({"commands": command_lines(plan).splitlines()})
        print(command_lines(plan))
        return
    from mosaic_fl.report.page.page import write_page

    console = Console(stderr=True)
    heartbeat = Heartbeat(console, lambda: brief(read_status(plan.out), time.time()))
    result = serve(plan, resume=resume, force=force, beat=heartbeat.beat)
    write_page(out)
    run_results(out, result)
    _print(result, out)


def _print(result: dict[str, Any], out: Path) -> None:
    """Print the figures of the run in the folder `out`."""
    from mosaic_fl.encoders.statement import encoder_lines
    from mosaic_fl.report.benefit import benefit_lines
    from mosaic_fl.report.fields import subset_lines
    from mosaic_fl.report.quality import quality_lines
    from mosaic_fl.report.tables import accuracy_table
    from mosaic_fl.report.trust import trust_lines
    from mosaic_fl.runs.audits import audit_lines
    from mosaic_fl.runs.privacy import privacy_lines

    Console().print(accuracy_table(result))
    print(*quality_lines(result), *subset_lines(result), *benefit_lines(result), sep="\n")
    for line in (*encoder_lines(result), *trust_lines(result), *privacy_lines(result), *audit_lines(result)):
        print(line)
    print(f"Results: {out}/report.html, result.json")


@app.command("client", cls=TextCommand)
def client(
    site: Annotated[Path, typer.Argument(metavar="SITE.toml", help="this client's own file: docs/deploy.md")],
    insecure: Insecure = False,
    once: Annotated[bool, typer.Option("--once", help="end when the server has gone")] = False,
    wait: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="for the server to answer at first")] = 60.0,
    show: Show = False,
) -> None:
    """At a client: work for the server with the data and model that SITE.toml names."""
    _need_flower()
    from mosaic_fl.deploy.client import ClientPlan, check_client, command, work
    from mosaic_fl.deploy.processes import free_port
    from mosaic_fl.engines.flower.site import load_site

    plan = ClientPlan(site, load_site(site), insecure, once, wait)
    if show:
        check_client(plan)
        print(command(plan, free_port()).shell_line())
        return
    work(plan)


def _need_flower() -> None:
    from mosaic_fl.engines.flower.extra import require

    require("mosaic deploy", "flwr", "cryptography")
