"""The site file: the data, the model and the server of one client. It never leaves the site."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from mosaic_fl.config.experiment import ReadingConfig
from mosaic_fl.config.model_names import held_by, is_onnx_file
from mosaic_fl.config.names import UNKNOWN, GeneratorName
from mosaic_fl.config.privacy import Epsilon, PrivacyConfig
from mosaic_fl.config.privacy_checks import require_epsilon
from mosaic_fl.config.section import Section
from mosaic_fl.config.site_limits import SiteLimits
from mosaic_fl.config.toml import read_toml
from mosaic_fl.errors import UsageError, excerpt, unknown
from mosaic_fl.storage.files import require_path

LOG = "site-log.jsonl"
ADDRESS = re.compile(r"^(\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):([0-9]{1,5})$")


class ServerPart(Section):
    """The server's address, and the certificate and key for the connection."""

    address: str = Field(description="host:port, as the certificate names the host")
    certificate: Path | None = Field(None, description="the server operator's ca.crt")
    key: Path | None = Field(None, description="this client's private key, made by mosaic deploy keys client")

    @property
    def host(self) -> str:
        """The host without the port, an IPv6 address without its brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port, 1..65535."""
        return int(self.address.rpartition(":")[2])


class SiteFile(ReadingConfig):
    """One client of a federation, as the site itself describes it; all paths are absolute."""

    client: int = Field(ge=0, le=9999, description="this client's number, another at each site")
    data: Path = Field(description="labelled data: a Parquet file or a folder")
    model: str = Field(
        min_length=1,
        description="this client's model, as mlp:64, random_forest or heart.onnx; answers:MODEL stays at the site",
    )
    folder: Path = Field(description="artefacts, logs and Flower's state of this client (default: beside the file)")
    classes: Annotated[int, Field(ge=2)] | Annotated[tuple[str, ...], Field(min_length=2)] | None = Field(
        None, description="of the whole federation: how many, or their names"
    )
    classes_file: Path | None = Field(None, description="their names instead, one a line")
    schema_file: Path | None = Field(
        None, description="the federation's schema: from mosaic schema of tables, from mosaic data --describe of images"
    )
    device: str = Field("auto", description="auto, cpu, cuda")
    trust: tuple[str, ...] = Field((), description="what the global model may be of: timm, or module:factory of yours")
    generator: GeneratorName | None = Field(None, description="one of another package that the server may ask for")
    epsilon: Epsilon = Field(0.0, description="the largest ε of what leaves this site; 0 or inf: no privacy")
    delta: float = Field(1e-5, gt=0, le=0.01, description="the largest δ of it")
    clip: float = Field(0.0, ge=0, description="longest vector that counts, public; 0: that of the encoder")
    sign: Path | None = Field(None, description="private key of mosaic keys new, which signs what leaves this site")
    limits: SiteLimits = Field(SiteLimits(), description="what may leave, and budgets: docs/privacy.md")
    server: ServerPart

    @property
    def log(self) -> Path:
        """The site's own log of what was read and what left."""
        return self.folder / LOG

    @property
    def privacy(self) -> PrivacyConfig:
        """What the site demands of every contribution."""
        if not self.epsilon:
            return PrivacyConfig()
        return PrivacyConfig(epsilon=self.epsilon, delta=self.delta, clip=self.clip)

    def federation(self) -> int | tuple[str, ...] | None:
        """`classes`, or the names in `classes_file`; raises UsageError for a file without names."""
        if self.classes_file is None:
            return self.classes
        from mosaic_fl.data.names import read_names  # it imports torch

        return tuple(read_names(self.classes_file))


def load_site(path: Path) -> SiteFile:
    """The site file at `path`, its relative paths taken from its own folder.

    Raises UsageError with one line that names the file: it cannot be read, is not TOML, a setting is wrong, unknown or
    missing, or a path in it does not exist.
    """
    tree = read_toml(path)
    _resolve_paths(path, tree)
    try:
        site = SiteFile.model_validate(tree)
    except ValidationError as error:
        raise UsageError(f"{path}: {_explain(error, tree)}") from error
    _require_valid(path, site)
    return site


def _resolve_paths(path: Path, tree: dict[str, Any]) -> None:
    """Make the paths in the site file's `tree` absolute, and set the default of `folder`."""
    real = path.resolve()  # the node starts with this path
    tree.setdefault("folder", f"{real.stem}-client")
    server = tree.get("server")
    for table, keys in (
        (tree, ("data", "folder", "classes_file", "schema_file", "sign")),
        (server if isinstance(server, dict) else {}, ("certificate", "key")),
    ):
        for key in keys:
            if isinstance(table.get(key), str):
                table[key] = real.parent / _expand_home(path, key, table[key])
    model = tree.get("model")
    if isinstance(model, str) and is_onnx_file(plain := held_by(model) or model):
        prefix = model.removesuffix(plain)
        tree["model"] = prefix + str(real.parent / _expand_home(path, "model", plain))
    encoder = tree.get("encoder")
    if isinstance(encoder, str) and is_onnx_file(encoder):
        tree["encoder"] = str(real.parent / _expand_home(path, "encoder", encoder))


def _require_valid(path: Path, site: SiteFile) -> None:
    """Raise UsageError for an address or a path that cannot be used, and for two sources of class names."""
    address = ADDRESS.match(site.server.address)
    if not address or not 1 <= int(address[2]) <= 65535 or not _is_name(site.server.host):
        raise UsageError(
            f'{path}: server.address is {excerpt(site.server.address)}: write it as "mosaic.example.org:8443"'
        )
    if site.classes is not None and site.classes_file is not None:
        raise UsageError(f"{path}: classes and classes_file: give one of them")
    try:
        require_epsilon({"delta", "clip"} & site.model_fields_set, site.privacy)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    if site.limits.epsilon is not None and not site.epsilon:
        raise UsageError(f"{path}: limits.epsilon is a budget of releases with noise: set epsilon, too")
    _require_path(path, "folder", site.folder)
    plain = held_by(site.model) or site.model
    model = Path(plain) if is_onnx_file(plain) else None
    encoder = Path(site.encoder) if is_onnx_file(site.encoder) else None
    for key, source in (
        ("data", site.data), ("model", model), ("encoder", encoder), ("classes_file", site.classes_file),
        ("schema_file", site.schema_file), ("sign", site.sign),
        ("server.certificate", site.server.certificate), ("server.key", site.server.key),
    ):  # fmt: skip
        if source is None:
            continue
        _require_path(path, key, source)
        if not source.exists():
            raise UsageError(f"{path}: {key} names {source}, which does not exist")
        if key != "data" and source.is_dir():
            raise UsageError(f"{path}: {key} names {source}, which is a folder and no file")
        if site.folder.resolve() in (source.resolve(), *source.resolve().parents):
            raise UsageError(
                f"{path}: folder names {site.folder}, in which {key} lies: the client needs one of its own"
            )
    if os.pathsep in str(site.folder):
        raise UsageError(f"{path}: folder names {site.folder}: it may have no {os.pathsep!r}, which separates paths")


def _expand_home(path: Path, key: str, name: str) -> Path:
    try:
        return Path(name).expanduser()
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"{path}: {key} is {excerpt(name)}: there is no such home") from error


def _require_path(path: Path, key: str, value: Path) -> None:
    """Raise UsageError that names the site file and the setting where the system cannot look the path up."""
    try:
        require_path(value)
    except UsageError as error:
        raise UsageError(f"{path}: {key} is no path: {error}") from error


def _is_name(host: str) -> bool:
    """Whether the text is possible as a host name."""
    try:
        return bool(host.encode("idna"))
    except UnicodeError:
        return False


def _explain(error: ValidationError, tree: dict[str, Any]) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        parts: dict[str, type[Section]] = {"server": ServerPart, "limits": SiteLimits}
        names = [
            *SiteFile.model_fields,
            *(f"{name}.{key}" for name, part in parts.items() for key in part.model_fields),
        ]
        return str(unknown("setting", where, names))
    if first["type"] == "missing":
        if where == "server":
            return 'there is no [server] with address = "host:port", certificate and key'
        fields = ServerPart.model_fields if where.startswith("server.") else SiteFile.model_fields
        return f"{where} is missing: {fields[str(first['loc'][-1])].description}"
    if first["loc"][0] == "classes":  # its type is a union, for which pydantic's message has two parts
        return (
            f"classes is {excerpt(tree['classes'])}, but it should be how many there are, two or more, or all their "
            "names"
        )
    if where.startswith("limits.generator"):  # a union, too
        return f"limits.generator is {excerpt(tree['limits']['generator'])}, but it should be true, false or families"
    if first["type"] == UNKNOWN:
        return str(unknown(where, str(first["input"]), first["ctx"]["names"]))
    if first["type"].startswith("path_"):
        return f"{where} is {excerpt(first['input'])}, but it should be a path"
    return f"{where} is {excerpt(first['input'])}, but it {first['msg'].replace('Input should', 'should')}"
