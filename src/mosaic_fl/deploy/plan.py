"""The options of `mosaic deploy server`, and their checks before the command writes or starts anything."""

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mosaic_fl.config import Config
from mosaic_fl.data.sources import check_test
from mosaic_fl.deploy.certificates import CA, CERTIFICATE, KEY
from mosaic_fl.deploy.checks import check_server_keys, check_signers, client_public_keys, is_loopback
from mosaic_fl.deploy.flower import program
from mosaic_fl.deploy.gate import require_app_module
from mosaic_fl.engines.flower.limits import MAX_ANSWER
from mosaic_fl.errors import UsageError
from mosaic_fl.models import check_name, trust, trust_own
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.registries import name_generator
from mosaic_fl.storage.keys import PublicKey
from mosaic_fl.watch import require_metrics


@dataclass(frozen=True)
class ServerPlan:
    """The options of one start of a server; paths are absolute."""

    config: Config
    out: Path
    clients: int
    min_clients: int
    host: str
    port: int
    keys: Path | None = None  # ca.crt, server.pem, server.key
    clients_keys: Path | None = None  # *.pub
    test: Path | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    json_logs: bool = False
    metrics_port: int | None = None
    max_answer: int = MAX_ANSWER
    insecure: bool = False
    trusted: tuple[str, ...] = ()
    signers: Path | None = None  # a folder with a public key for each client's number: N.pub
    readers: tuple[PublicKey, ...] = ()  # for whom the contributions that stay are encrypted at the end

    @property
    def flower(self) -> Path:
        """The folder for all files of Flower and the proxy."""
        return self.out / "flower"

    @property
    def hub_host(self) -> str:
        """The address on which the hub listens, always on loopback."""
        return self.host if self.insecure else "127.0.0.1"

    def tls(self) -> tuple[Path, Path, Path] | None:
        """The paths of the hub's certificate, key and authority, which are for loopback only; None without TLS."""
        if self.insecure:
            return None
        folder = self.flower / "loopback"
        return folder / CERTIFICATE, folder / KEY, folder / CA


def check_plan(plan: ServerPlan) -> dict[str, Path]:
    """The clients' public keys by fingerprint (empty without TLS); raises UsageError for the first wrong option."""
    if not 1 <= plan.min_clients <= plan.clients:
        raise UsageError(f"--min-clients {plan.min_clients}: it is 1 to --clients {plan.clients}")
    if separator := next((sign for sign in (os.pathsep, "?") if sign in str(plan.out)), ""):
        raise UsageError(
            f"--out {plan.out}: its path may have no {separator!r}, at which Flower or a search path would split it"
        )
    if plan.metrics_port == plan.port:
        raise UsageError(f"--metrics-port {plan.metrics_port}: clients reach --port there; choose another")
    if plan.signers:
        check_signers(plan.signers, plan.clients)
    for spec in plan.trusted:
        trust_own(spec)
    if plan.config.models.student:
        check_name(trust(plan.config.models.student))
    name_generator(plan.config.generator.family)
    find_device(plan.config.run.device)
    if plan.insecure and not is_loopback(plan.host):
        raise UsageError(f"--insecure sends everything in clear: only with --host 127.0.0.1, not {plan.host}")
    require_app_module("server")
    for name in ("flower-superlink", "flower-superexec", "flwr"):
        program(name)
    if plan.test and not plan.test.exists():
        raise UsageError(f"--test {plan.test} does not exist")
    if plan.test:
        check_test(plan.test, plan.config.data)
    client_keys = {} if plan.insecure else _check_keys(plan)
    check_port(plan.host, plan.port, "--port")
    if plan.metrics_port is not None:
        require_metrics()
        check_port("127.0.0.1", plan.metrics_port, "--metrics-port")
    return client_keys


def _check_keys(plan: ServerPlan) -> dict[str, Path]:
    """The clients' public keys by fingerprint; raises UsageError for wrong, missing or too few keys."""
    if plan.keys is None or plan.clients_keys is None:
        raise UsageError("--keys and --clients-keys are needed: mosaic deploy keys server makes the former")
    check_server_keys(plan.keys)
    client_keys = client_public_keys(plan.clients_keys)
    count = len(client_keys)
    if count < plan.clients:
        raise UsageError(
            f"--clients {plan.clients}, but {plan.clients_keys} holds {count} key{'s' * (count != 1)}: "
            "every client has its own"
        )
    return client_keys


def check_port(host: str, port: int, option: str) -> None:
    """Raise UsageError unless this process can listen on `port` of `host` now."""
    if port == 0:
        raise UsageError(f"{option} 0: ports are 1 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OverflowError as error:
        raise UsageError(f"{option} {port}: ports are 1 to 65535") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} of {host} is in use: end what uses it (ss -ltnp 'sport = :{port}'), or choose another "
                f"{option}"
            ) from error
        if error.errno == errno.EACCES:
            raise UsageError(f"{option} {port}: ports below 1024 need root; choose another, as 8443") from error
        raise UsageError(f"cannot listen on {host}: {error.strerror}; --host is an address of this machine") from error
