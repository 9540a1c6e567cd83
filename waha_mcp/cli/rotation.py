"""Gives an App a new key at WAHA. Its definition holds a key that works at every moment."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from waha_mcp.app import keys
from waha_mcp.app.definition import AppError, read_definition, resolve_key
from waha_mcp.cli.setup import Plan, differences, write_definition
from waha_mcp.files import write_atomically
from waha_mcp.places import definitions
from waha_mcp.steps import for_person
from waha_mcp.waha.admin_api import Admin, AdminError, Minted
from waha_mcp.waha.errors import WahaError


@dataclass(frozen=True)
class Place:
    """Where a definition keeps its key. `variable`: the environment variable it comes from; None: it can be written."""

    definition: Path
    variable: str | None

    @classmethod
    def of(cls, definition: Path) -> Place:
        match read_definition(definition).get("key"):
            case None:
                return cls(definition, "WAHA_API_KEY")
            case {"env": str(name)}:
                return cls(definition, name)
        return cls(definition, None)

    def read(self) -> SecretStr:
        """The key.

        Raises:
            AppError: it cannot be read.
        """
        reference = {"env": self.variable} if self.variable else read_definition(self.definition).get("key")
        return resolve_key(reference, self.definition.parent, os.environ)

    def write(self, key: SecretStr) -> None:
        """Replace the key, in the same place.

        Raises:
            OSError, NoKeyThere, AppError: it cannot be written, or is not found there afterwards.
        """
        reference = read_definition(self.definition).get("key")
        if isinstance(reference, str):
            write_definition(self.definition, {"key": key.get_secret_value()})
        else:
            keys.replace(reference, key.get_secret_value(), self.definition.parent)
        if self.read() != key:
            raise AppError("another key stands there afterwards")


async def rotate(admin: Admin, plan: Plan, place: Place) -> Path | None:
    """Make a new key with the plan's actions, store it, and take the old one away.

    An MCP App in WAHA keeps its key for life. So it is removed and made anew, while the definition holds a plain key
    for the moment between.

    If the key comes from an environment variable, the old key stays, and the result is the file with the new one.

    Raises:
        AppError: the current key cannot be read.
        AdminError, WahaError: it could not be done; the App works with the key that its definition holds, and the
            text says what is left in WAHA.
    """
    old = place.read()
    apps = await admin.apps(plan.session)
    bridging = await _made(admin, plan, lambda: admin.add_key(plan.session, plan.actions))
    assert bridging.key is not None
    await _checked(admin, plan, bridging)
    if place.variable:
        file = place.definition.with_suffix(".key")
        await _stored(
            admin, plan, place, bridging, lambda key: write_atomically(file, key.get_secret_value() + "\n", 0o600)
        )
        return file
    await _stored(admin, plan, place, bridging, place.write)
    now = f"App '{plan.id}' works with a new key"
    try:
        if apps is not None:
            await admin.remove(plan.id, plan.session, None)
        await admin.remove_key(old.get_secret_value())
    except (AdminError, WahaError) as error:
        raise AdminError(
            f"{now}, but whether the old one is gone is not known, and it may still work: run the command again. "
            f"{error}"
        ) from None
    if apps is None:
        return None
    now = f"{now}, and the old one is gone, but WAHA's list of MCP apps lacks '{plan.id}': run the command again."
    try:
        made = await _made(admin, plan, lambda: admin.save(plan.id, plan.session, plan.actions))
        await _checked(admin, plan, made)
        await _stored(admin, plan, place, made, place.write)
    except (AdminError, WahaError) as error:
        raise AdminError(f"{now} {error}") from None
    left = await _removed(admin, plan, bridging)
    if left:
        raise AdminError(f"App '{plan.id}' works with a new key, and the old one is gone. {left}")
    return None


def shared_with(place: Place) -> list[str]:
    """The user's other Apps that have the same key."""
    key, found = place.read(), []
    for path in definitions():
        if path != place.definition:
            try:
                if Place.of(path).read() == key:
                    found.append(path.stem)
            except AppError:
                continue
    return found


async def _made(admin: Admin, plan: Plan, make: Callable[[], Awaitable[Minted]]) -> Minted:
    """Make a key; if that fails, the error names the keys that were created meanwhile."""
    before = await admin.key_ids(plan.session)
    try:
        made = await make()
        if made.key is None:
            raise AdminError("WAHA did not return the new key.")
    except (AdminError, WahaError) as error:
        try:
            new = sorted(await admin.key_ids(plan.session) - before)
            left = f"Left in WAHA and used by nobody: the key {', '.join(new)}." if new else "Nothing is left in WAHA."
        except WahaError:
            left = (
                f"Whether a new key of session '{plan.session}' is left in WAHA is not known: look at its keys there."
            )
        raise AdminError(f"{error} {left}") from None
    return made


async def _checked(admin: Admin, plan: Plan, made: Minted) -> None:
    """Check that a new key works and allows exactly the planned actions; if not, it is removed."""
    assert made.key is not None
    try:
        recorded = await admin.stored(made.key.get_secret_value())
        wrong = await differences(plan.app(made.key), recorded.actions if recorded else None)
    except WahaError as error:
        wrong = [for_person(str(error))]
    if wrong:
        left = await _removed(admin, plan, made) or "It is removed again."
        raise AdminError(f"The new key cannot be used: {'; '.join(wrong)}. {left}")


async def _stored(admin: Admin, plan: Plan, place: Place, made: Minted, write: Callable[[SecretStr], None]) -> None:
    """Store a new key with `write`; if that fails, the key is removed, unless the definition may hold it."""
    assert made.key is not None
    try:
        write(made.key)
    except (OSError, keys.NoKeyThere, AppError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        where = getattr(error, "filename", None) or place.definition
        try:
            held = place.read() != made.key
        except AppError:
            held = False
        left = (
            await _removed(admin, plan, made) or "It is removed again, and the App keeps its old key."
            if held
            else f"It may be stored there all the same, so it is left in WAHA, with id {made.id}, beside the old one."
        )
        raise AdminError(f"The new key cannot be stored ({where}: {why}). {left}") from None


async def _removed(admin: Admin, plan: Plan, made: Minted) -> str:
    """Remove a key that is not needed; what is left in WAHA, as a sentence, or an empty text."""
    assert made.key is not None
    try:
        if made.app:
            await admin.remove(plan.id, plan.session, None)
        else:
            await admin.remove_key(made.key.get_secret_value())
    except (AdminError, WahaError) as error:
        what = f"the MCP app '{made.id}' and its key" if made.app else f"the key {made.id}"
        return f"Left in WAHA and used by nobody, as far as is known: {what} ({error})"
    return ""
