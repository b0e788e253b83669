"""Values of secrets: read late, handed to the plugins that are granted them, and shown nowhere.

A value stands in a `Secret` and in the tables for `configure`; both are silent about it, however they are printed. A
configuration with secrets has an id of its own on the wire, which changes with their values and tells nothing of them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes
from typing import NoReturn

from isolation.errors import StartError
from isolation.regular import opened_regular
from pipelines.plan import Plan, PluginPlan, SecretPlan, SecretSource
from pipelines.problem import Mark

__all__ = ["MAX_SECRET_BYTES", "Handover", "Secret", "SecretError", "SecretProblem", "Vault"]
__all__ += ["secret_files", "without_secrets"]

MAX_SECRET_BYTES = 64 * 1024
"""A chain of certificates with its key is a tenth of it; all secrets of a plugin must go into one frame."""

_KEY_BYTES = 32
_ID_BYTES = 12


class Secret:
    """The value of one secret. Only `reveal` gives it away."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, to be handed over and not kept."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash would tell equal values apart from others

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")


@dataclass(frozen=True, slots=True)
class SecretProblem:
    """Why a secret is not to be had, and what to do about it. `place` is where the pipeline file names its source."""

    name: str
    place: Mark
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: the secret {self.name!r} is not to be had: {self.reason}"


class SecretError(StartError):
    """Secrets of the pipeline file are not to be had. `problems` has every one of them."""

    code = "penstock.secret"

    def __init__(self, problems: tuple[SecretProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.hint = problems[0].remedy


class _Handed(dict[str, str]):
    """Secrets of a plugin by its own names for them; its names is all that is printed of them."""

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name!r}: ...' for name in self)}}}"


@dataclass(frozen=True, slots=True)
class Handover:
    """What one plugin is handed: `table` for `configure`, and `ids`, what the table calls each id of the plan.

    `fingerprint` changes with the values of its secrets and tells nothing of them; it is "" where it has none.
    """

    table: Mapping[str, object] = field(repr=False)
    ids: Mapping[str, str]
    fingerprint: str = ""


class Vault:
    """Reads secrets and makes the tables that hold them. One for each host process: `key` keeps its ids to itself.

    `environ` is the host's own environment. Nothing is kept: what was read is in the tables and nowhere else.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, key: bytes | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._key = key or token_bytes(_KEY_BYTES)

    def hand_over(self, plan: Plan, plugins: Iterable[str] | None = None) -> dict[str, Handover]:
        """Read what `plugins` of the plan (all, when not said) are granted, and make their tables. Blocks.

        Raises SecretError with every secret that is not to be had.
        """
        chosen = tuple(plan.plugins if plugins is None else plugins)
        return self.tables(plan, self.read(plan, chosen), chosen)

    def tables(
        self, plan: Plan, secrets: Mapping[str, Secret], plugins: Iterable[str] | None = None
    ) -> dict[str, Handover]:
        """The tables of `plugins` (all, when not said) with secrets that were read."""
        chosen = plan.plugins if plugins is None else plugins
        return {name: _handover(plan.plugins[name], secrets, self._key) for name in chosen}

    def read(self, plan: Plan, plugins: Iterable[str] | None = None) -> dict[str, Secret]:
        """The secrets that `plugins` (all, when not said) are handed, by their names in the file. Blocks.

        Raises SecretError.
        """
        chosen = plan.plugins if plugins is None else plugins
        wanted = dict.fromkeys(secret for name in chosen for secret in plan.plugins[name].secrets.values())
        values: dict[str, Secret] = {}
        problems = []
        for name in wanted:
            try:
                values[name] = Secret(_value(plan.secrets[name], self._environ))
            except _NotToBeHad as error:
                problems.append(SecretProblem(name, plan.secrets[name].mark, error.reason, error.remedy))
        if problems:
            raise SecretError(tuple(problems))
        return values


def _handover(plugin: PluginPlan, secrets: Mapping[str, Secret], key: bytes) -> Handover:
    handed = _Handed({name: secrets[secret].reveal() for name, secret in sorted(plugin.secrets.items())})
    ids = {config: f"c{_keyed([config, *handed.items()], key)}" if handed else config for config in plugin.configs}
    table = {ids[config]: {"with": values, "secrets": handed} for config, values in plugin.configs.items()}
    return Handover(table, ids, _keyed([*handed.items()], key) if handed else "")


def _keyed(values: list[object], key: bytes) -> str:
    """A digest that nobody without the key can try values against."""
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=_ID_BYTES, key=key).hexdigest()


def secret_files(plan: Plan) -> tuple[Path, ...]:
    """The files that hold secrets which some plugin is handed: what has to be watched for new values."""
    used = {secret for plugin in plan.plugins.values() for secret in plugin.secrets.values()}
    chosen = (secret for name, secret in plan.secrets.items() if name in used)
    return tuple(_path(secret) for secret in chosen if secret.source is SecretSource.FILE)


def without_secrets(plan: Plan, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables that hold secrets: no manifest can have them passed on."""
    hidden = {secret.where for secret in plan.secrets.values() if secret.source is SecretSource.ENV}
    return {name: value for name, value in environ.items() if name not in hidden}


class _NotToBeHad(Exception):
    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def _value(secret: SecretPlan, environ: Mapping[str, str]) -> str:
    if secret.source is SecretSource.FILE:
        path = _path(secret)
        data, where, text = _read(path), str(path), f"write the secret into {path}, as UTF-8 text"
    else:
        where, text = f"the variable {secret.where}", f"start penstock with {secret.where} set, to UTF-8 text"
        if secret.where not in environ:
            raise _NotToBeHad(f"{where} is not set", f"start penstock with {secret.where} set")
        data = os.fsencode(environ[secret.where])
    if len(data) > MAX_SECRET_BYTES:
        raise _NotToBeHad(f"{where} holds more than {MAX_SECRET_BYTES} bytes", "use a shorter secret")
    try:
        value = data.decode()
    except UnicodeDecodeError:
        raise _NotToBeHad(f"{where} does not hold UTF-8 text", text) from None
    if secret.source is SecretSource.FILE:
        value = value[:-2] if value.endswith("\r\n") else value.removesuffix("\n")
    if not value:
        raise _NotToBeHad(f"{where} is empty", text)
    return value


def _path(secret: SecretPlan) -> Path:
    return Path(os.path.abspath(Path(secret.mark.file).parent / Path(secret.where).expanduser()))


def _read(path: Path) -> bytes:
    """One byte more than is allowed, at most. A pipe or a device might never end, and may not even be opened."""
    remedy = f"create {path}, readable by the user that runs penstock, or change `path`"
    try:
        with opened_regular(path) as file:
            if file is None:
                raise _NotToBeHad(f"{path} is not a file", remedy)
            return file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise _NotToBeHad(f"{path}: {error.strerror or error}", remedy) from None
