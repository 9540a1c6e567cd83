"""`waha-mcp serve --http`: options that make no sense or are not safe are refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--port 9", "--port: only with --http"),
        ("--allow-insecure-http", "--allow-insecure-http: only with --http"),
        ("--http --sandbox", "--sandbox: not with --http"),
        ("--http --app other", "--app: not with --http"),
        ("--http --key-file other", "--key-file: not with --http"),
        ("--http --toolsets core", "--toolsets: not with --http"),
        ("--http --url http://localhost:3000", "--url: only with --open"),
        ("--http --template other.toml", "--template: only with --open"),
        ("--http --open --template nowhere.toml", "nowhere.toml"),
        ("--http --certfile one.pem", "--certfile and --keyfile belong together"),
        ("--http --open --certfile one.pem --keyfile two.pem", "--keyfile: they cannot be used: No such file"),
        ("--http", "waha-mcp init`, or name a folder"),
        ("--http --apps nowhere", "--apps: nowhere is not a folder"),
        ("--http --apps .", "no App to serve in ."),
        ("--http --host 0.0.0.0", "name what they call it"),
        ("--http --host 0.0.0.0 --allowed-host wa.example.com", "unencrypted"),
        ("--http --allowed-host https://wa.example.com/", "--allowed-host: must be host names only"),
        ("--http --oauth http://wa.example.com", "--oauth: "),
        ("--http --open --oauth https://wa.example.com", "--oauth: not with --open"),
        (
            "--http --open --host 203.0.113.1 --allowed-host a.example --allow-insecure-http",
            "cannot serve on 203.0.113.1",
        ),
    ],
)
def test_what_makes_no_sense_or_is_not_safe_is_refused_in_one_line(arguments: str, said: str, tmp_path: Path) -> None:
    ended = run("serve", *arguments.split(), cwd=tmp_path, env={"XDG_CONFIG_HOME": str(tmp_path / "config")})
    assert ended.returncode in (1, 2)
    [line] = ended.stderr.strip().splitlines()
    assert said in line
    assert ended.stdout == ""
