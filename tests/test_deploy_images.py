"""The Dockerfile, the compose file and the Helm chart: what they run exists, and runs without rights."""

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from typer.main import get_command

from mosaic_fl.cli.main import app

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm"
RELEASE = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
SITE = {"role": "client", "client": {"site": 'client = 0\nfolder = "/state/client"\n'}}
ROLES = [{}, SITE]


def docker() -> list[list[str]]:
    """The instructions of the Dockerfile as words; lines that go on are one."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def deploy_options(role: str) -> set[str]:
    """The options of `mosaic deploy ROLE`."""
    group: Any = get_command(app)
    command = group.commands["deploy"].commands[role]
    options = (parameter for parameter in command.params if isinstance(parameter, click.Option))
    return {name for option in options for name in option.opts}


def test_the_image_has_two_stages_and_runs_as_nobody_special() -> None:
    lines = docker()
    assert [words[1] for words in lines if words[0] == "FROM"] == ["python:3.11-slim"] * 2
    last = lines[max(k for k, words in enumerate(lines) if words[0] == "FROM") :]
    assert ["USER", "1000:1000"] in last
    assert ["ENTRYPOINT", '["mosaic"]'] in last
    assert not any("pip" in word for words in last for word in words)


def test_the_image_is_built_from_files_that_are_there() -> None:
    names = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert {"src", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"} <= set(names)
    assert all((ROOT / name).exists() for name in names)


def test_the_compose_file_and_the_chart_use_options_that_exist() -> None:
    compose = yaml.safe_load((ROOT / "docs" / "deploy" / "compose.yaml").read_text())
    words = compose["services"]["server"]["command"].split()
    assert words[:2] == ["deploy", "server"]
    assert compose["services"]["client"]["command"].split()[:2] == ["deploy", "client"]
    lines = re.findall(r"^ +- (--[a-z-]+)", (CHART / "templates" / "server.yaml").read_text(), re.MULTILINE)
    options = {word for word in words if word.startswith("--")} | set(lines)
    assert {"--resume", "--clients-keys"} <= options <= deploy_options("server")


def test_the_chart_s_values_are_those_of_its_schema() -> None:
    """Names alone, where helm is not there to check all."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert RELEASE is not None
    assert (chart["apiVersion"], chart["appVersion"]) == ("v2", RELEASE[1])
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert schema.keys() - {"global"} == values.keys()
    for section in ("image", "server", "client", "state"):
        assert schema[section]["properties"].keys() == values[section].keys()


def rendered(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What Helm makes of the chart, by kind; skipped where Helm's library is not there."""
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk is not installed: make helm")
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name="two", namespace="federation")
    parts = [part for name, text in texts.items() if name.endswith(".yaml") for part in yaml.safe_load_all(text)]
    return {part["kind"]: part for part in parts if part}


@pytest.mark.parametrize("values", ROLES, ids=["server", "client"])
def test_helm_finds_nothing_to_complain_of(values: dict[str, Any]) -> None:
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk is not installed: make helm")
    report = helm.lint(str(CHART), values, strict=True)
    assert report["errors"] == []
    assert [entry["error"] for entry in report["messages"] if entry["severity"] > 1] == []


@pytest.mark.parametrize(("values", "kind"), zip(ROLES, ("Job", "Deployment"), strict=True))
def test_a_pod_has_no_rights_and_every_mount_a_volume(values: dict[str, Any], kind: str) -> None:
    pod = rendered(values)[kind]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 1000)
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_the_server_goes_on_after_a_fault_and_not_after_a_wrong_input() -> None:
    server = rendered({"server": {"options": ["--set", "run.seed=3"]}})
    job = server["Job"]["spec"]
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2]
    arguments = job["template"]["spec"]["containers"][0]["args"]
    assert arguments[:3] == ["deploy", "server", "--clients=2"]
    assert arguments[-3:] == ["--resume", "--set", "run.seed=3"]
    labels = job["template"]["metadata"]["labels"]
    assert server["Service"]["spec"]["selector"].items() <= labels.items()


def test_a_site_is_one_pod_that_nobody_calls() -> None:
    site = rendered(SITE)
    assert site["Deployment"]["spec"]["replicas"] == 1
    assert site["ConfigMap"]["data"] == {"site.toml": SITE["client"]["site"]}  # type: ignore[index]
    assert site["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress"]
    assert "ingress" not in site["NetworkPolicy"]["spec"]
    assert "Service" not in site


@pytest.mark.parametrize(
    ("values", "why"),
    [({"role": "site"}, "role"), ({"role": "client"}, "client.site: give"), ({"server": {"clients": 0}}, "clients")],
)
def test_wrong_values_are_refused(values: dict[str, Any], why: str) -> None:
    with pytest.raises(Exception, match=why):
        rendered(values)
