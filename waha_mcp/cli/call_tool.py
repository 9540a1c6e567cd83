"""`waha-mcp call`: one tool call through the whole path, from a shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, cast

import anyio
import typer

from waha_mcp.app.definition import App
from waha_mcp.cli.common import Failure, with_app
from waha_mcp.log import redact_json
from waha_mcp.steps import did_you_mean


@with_app(log_level="error")
def call(
    tool: Annotated[str, typer.Argument(help="Name of the tool.", show_default=False)],
    arguments: Annotated[str, typer.Argument(help="Its arguments as JSON, such as '{\"limit\": 5}'.")] = "{}",
    *,
    load: Callable[..., App],
) -> None:
    """Call one tool and print its result as JSON. Exits with 1 when the tool reports an error.

    Example: waha-mcp call list_chats '{"limit": 5}'
    """
    try:
        parsed = json.loads(arguments)
    except ValueError as error:
        raise Failure(f"the arguments are not valid JSON ({error}): quote them like '{{\"limit\": 5}}'") from None
    if not isinstance(parsed, dict):
        raise Failure("the arguments must be a JSON object, like '{\"limit\": 5}'")
    result = anyio.run(_call, load(), tool, parsed)
    print(json.dumps(result, ensure_ascii=False, indent=2))


async def _call(app: App, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    from waha_mcp.bridge import Bridge, UnknownTool
    from waha_mcp.policy import Refusal
    from waha_mcp.tools.catalog import CATALOG, ArgumentError, why_hidden
    from waha_mcp.tools.toolsets import load_tools
    from waha_mcp.waha.errors import WahaError

    async with Bridge(app) as bridge:
        try:
            await bridge.key.identify()
            answer = await bridge.answer(name, arguments, client="waha-mcp call")
        except UnknownTool:
            if bridge.key.grant.problem:
                raise Failure(bridge.key.grant.problem, code=1) from None
            load_tools()
            none = f"there is none by that name{did_you_mean(name, CATALOG)}"
            why = why_hidden(CATALOG[name], app, bridge.key.grant) if name in CATALOG else none
            raise Failure(f"tool '{name}' is not offered: {why} (see waha-mcp tools)") from None
        except (ArgumentError, Refusal, WahaError) as error:
            raise Failure(str(error), code=1) from None
    _, data = redact_json(answer.data, app.key)
    return cast(dict[str, Any], data)
