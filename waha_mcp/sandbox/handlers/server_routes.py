"""The server itself: version, status, environment, ping, health, debug."""

from __future__ import annotations

import time
from typing import Any

from starlette.responses import Response

from waha_mcp.sandbox.answers import http_error
from waha_mcp.sandbox.registry import Call, handles


@handles("ServerController_get", "VersionController_get")
def version(call: Call) -> Any:
    return call.sandbox.version


@handles("ServerController_status")
def status(call: Call) -> Any:
    started = call.sandbox.started
    return {
        "startTimestamp": int(started * 1000),
        "uptime": int((time.time() - started) * 1000),
        "worker": {"id": ""},
    }


@handles("ServerController_environment")
def environment(call: Call) -> Any:
    """The environment, secrets included: only the admin reads it."""
    sandbox = call.sandbox
    shown = {
        "WAHA_API_KEY": sandbox.keys.admin.secret,
        "WAHA_BASE_URL": sandbox.engine.public_url,
        "WAHA_DASHBOARD_PASSWORD": "dashboard-secret",
        "WHATSAPP_DEFAULT_ENGINE": sandbox.engine.name,
    }
    return shown | {"PATH": "/usr/local/bin:/usr/bin:/bin"} if call.query["all"] else shown


@handles("ServerController_stop")
def stop(call: Call) -> Any:
    """Answers as WAHA does; the sandbox goes on."""
    return {"stopping": True}


@handles("PingController_ping")
def ping(call: Call) -> Any:
    return {"message": "pong"}


@handles("HealthController_check")
def health(call: Call) -> Any:
    space = {"status": "up", "path": "/app/.media", "diskPath": "/", "free": 10**11, "threshold": 10**8}
    info = {"mediaFiles.space": space, "sessionsFiles.space": space | {"path": "/app/.sessions"}}
    return {"status": "ok", "info": info, "error": {}, "details": info}


@handles("ServerDebugController_cpuProfile", "ServerDebugController_heapsnapshot")
def profile(call: Call) -> Any:
    return Response(b"{}", 200, {"content-type": "application/octet-stream"})


@handles("McpController_post")
def mcp(call: Call) -> Any:
    raise http_error(501, "The sandbox has no MCP endpoint of its own")
