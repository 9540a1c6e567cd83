"""examples/deploy and docs/deploy.md agree with each other and with the server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.deployed.deployment import SHIPPED
from waha_mcp.bridges import CLOSING
from waha_mcp.server.http import DRAIN

COMPOSE = SHIPPED / "compose.yaml"
SERVICES: dict[str, Any] = YAML(typ="safe").load(COMPOSE.read_text())["services"]
NETWORKS: dict[str, Any] = YAML(typ="safe").load(COMPOSE.read_text())["networks"]
UNIT = (SHIPPED / "waha-mcp.service").read_text()
REPLICAS = ("replica-1", "replica-2")
DOCUMENT = (SHIPPED.parents[1] / "docs/deploy.md").read_text()


@pytest.mark.slow
def test_compose_is_valid_by_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"waha"}))
def test_a_container_may_do_nothing_else(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode"} & service.keys()
    assert "KEY" not in str(service.get("environment"))


def test_every_image_is_pinned_and_named_without_a_registry() -> None:
    for name, service in SERVICES.items():
        image = re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["image"])
        assert "." not in image.partition("/")[0] or "/" not in image
        assert name in REPLICAS or re.search(r":\D*\d+\.\d+\.\d+", image), image


def test_only_nginx_is_published_and_who_needs_nobody_meets_nobody() -> None:
    assert {name: each["ports"] for name, each in SERVICES.items() if "ports" in each} == {
        "nginx": ["443:8443"],
        "waha": ["127.0.0.1:3000:3000"],
    }
    where = {name: set(each["networks"]) for name, each in SERVICES.items()}
    assert where == {
        "nginx": {"edge"},
        "waha": {"waha"},
        "redis": {"store"},
        **{name: {"edge", "waha", "store"} for name in REPLICAS},
    }
    assert NETWORKS["store"]["internal"] is True


def test_redis_keeps_what_it_is_told() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes --appendfsync always" in command
    assert "--maxmemory-policy noeviction" in command
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]


def test_processes_differ_in_their_address_and_their_state_alone() -> None:
    one, two = (SERVICES[name] for name in REPLICAS)
    assert {key for key in one if one[key] != two[key]} == {"networks", "volumes"}
    for name, service in zip(REPLICAS, (one, two), strict=True):
        assert f"server {name}:8080 " in (SHIPPED / "nginx.conf").read_text()
        assert f"{name}:8080" in (SHIPPED / "Caddyfile").read_text()
        subnet = NETWORKS["edge"]["ipam"]["config"][0]["subnet"]
        assert f"--trusted-proxy={subnet}" in service["command"]
        assert service["networks"]["edge"]["ipv4_address"].startswith(subnet.rpartition(".")[0])


def test_who_stops_a_process_waits_until_it_has_ended() -> None:
    most = DRAIN + CLOSING + 1
    [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert int(stop) > most
    assert all(int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > most for name in REPLICAS)
    assert f"calls under way have {DRAIN} s to end" in DOCUMENT
    assert f"ended {most:.0f} s later at most" in DOCUMENT


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not installed: systemd-analyze")
def test_systemd_understands_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    unit = tmp_path / "waha-mcp.service"
    # The program has to exist, and does not.
    unit.write_text(UNIT.replace("/opt/waha-mcp/bin/waha-mcp", sys.executable))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-500:]


def test_the_unit_names_no_secret() -> None:
    lines = [line for line in UNIT.splitlines() if not line.startswith("#")]
    assert not re.search(r"API_KEY|PASSWORD", "\n".join(lines))
    assert "DynamicUser=yes" in lines
    assert "ProtectSystem=strict" in lines
    assert "StateDirectory=waha-mcp" in lines
