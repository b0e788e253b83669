"""A plugin as its author declares it: stages, startup, configure. An author's mistake is refused at import."""

from __future__ import annotations

from .call import Call, Config, Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from .answer import Answer, Violation

    Reply = Answer | Violation | None
    StageFunction = TypeVar("StageFunction", bound=Callable[[Call], Any])
    StartFunction = TypeVar("StartFunction", bound=Callable[[Start], Any])
    ConfigFunction = TypeVar("ConfigFunction", bound=Callable[[Config], Any])

__all__ = ["DeclarationError", "Plugin", "Stage", "is_async", "plain"]

# Flags of a code object (inspect.CO_*); `import inspect` costs every worker 10 ms of its start.
_VARARGS, _GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x04, 0x20, 0x80, 0x200


class DeclarationError(TypeError):
    """A plugin that cannot work as it is written: two stages of one name, a function that takes no call."""


class Stage:
    """One declared stage. `undoes` names the stage that it compensates, None in an ordinary one."""

    __slots__ = ("function", "is_async", "name", "undoes")

    def __init__(self, name: str, function: Callable[[Call], Any], undoes: str | None = None) -> None:
        self.name = name
        self.function = function
        self.is_async = is_async(function)
        self.undoes = undoes


class Plugin:
    """Holds what the decorators below declare. A plugin's module has one, named by `entry` in the manifest."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self.on_startup: Callable[[Start], Any] | None = None
        self.on_configure: Callable[[Config], Any] | None = None

    def stage(self, name: str) -> Callable[[StageFunction], StageFunction]:
        """Declare the stage `name`: a function of one `Call`.

        `def` is called one at a time per worker; `async def` many at once, and then the plugin must never block.
        """
        return self._declare(name, None)

    def compensation(self, name: str, *, undoes: str) -> Callable[[StageFunction], StageFunction]:
        """Declare the stage `name`, which takes back what the stage `undoes`, declared above it, has done.

        `call.undoes` is the key of the call to take back. That call may never have come, may have ended anyhow, may
        come later and must then be refused; and the same undo may come again. `penstock_plugin.effects` sees to that.
        It answers with None or `call.allow(out=...)`.
        """
        if undoes not in self.stages:
            raise DeclarationError(f"there is no stage {undoes!r} for {name!r} to undo; declare it above its undo")
        if self.stages[undoes].undoes is not None:
            raise DeclarationError(f"stage {undoes!r} is an undo itself; {name!r} cannot undo it")
        if any(stage.undoes == undoes for stage in self.stages.values()):
            raise DeclarationError(f"stage {undoes!r} has an undo already; {name!r} would be a second one")
        return self._declare(name, undoes)

    def _declare(self, name: str, undoes: str | None) -> Callable[[StageFunction], StageFunction]:
        if callable(name):
            raise DeclarationError('write @plugin.stage("name"): a stage needs its name')
        if not _is_name(name):
            raise DeclarationError(f"stage name {name!r}: use a-z, 0-9 and _, and begin with a letter")
        if name in self.stages:
            raise DeclarationError(f"stage {name!r} is declared twice")

        def declare(function: StageFunction) -> StageFunction:
            _demand_one_argument(f"stage {name!r}", function, "call")
            self.stages[name] = Stage(name, function, undoes)
            return function

        return declare

    def startup(self, function: StartFunction) -> StartFunction:
        """Declare what runs once, before the first call: load a model, open a file. It is handed a `Start`."""
        if self.on_startup is not None:
            raise DeclarationError("@plugin.startup is declared twice")
        _demand_one_argument("@plugin.startup", function, "start")
        self.on_startup = function
        return function

    def configure(self, function: ConfigFunction) -> ConfigFunction:
        """Declare what is made of each distinct `with`, once. It is handed a `Config`; its result is `call.config`."""
        if self.on_configure is not None:
            raise DeclarationError("@plugin.configure is declared twice")
        _demand_one_argument("@plugin.configure", function, "config")
        self.on_configure = function
        return function

    @property
    def is_async(self) -> bool:
        """Whether anything in it is `async def`, so that it has to live on an event loop."""
        functions = [stage.function for stage in self.stages.values()]
        return any(is_async(function) for function in (*functions, self.on_startup, self.on_configure) if function)


def is_async(function: object) -> bool:
    """Whether calling `function` gives a coroutine, as far as its code tells."""
    code = getattr(plain(function), "__code__", None)
    return bool(code is not None and code.co_flags & _COROUTINE)


def plain(function: object) -> object:
    """The function behind a bound method, a functools.partial or an object with `__call__`."""
    while hasattr(function, "func") and not hasattr(function, "__code__"):
        function = function.func
    if not hasattr(function, "__code__") and not isinstance(function, type):
        function = getattr(function, "__call__", function)  # noqa: B004  # the method itself is wanted
    return getattr(function, "__func__", function)


def _demand_one_argument(what: str, function: object, argument: str) -> None:
    if not callable(function):
        raise DeclarationError(f"{what} must be a function, not {type(function).__name__}")
    code = getattr(function, "__code__", None)
    if code is None:
        return
    if code.co_flags & (_GENERATOR | _ASYNC_GENERATOR):
        raise DeclarationError(f"{what} must return its answer; it has a `yield`, so it is a generator")
    given = 1 if hasattr(function, "__func__") else 0  # a bound method brings its `self`
    wanted = code.co_argcount - given - len(function.__defaults__ or ())  # type: ignore[attr-defined]  # has __code__, so has this
    keywords = code.co_kwonlyargcount - len(function.__kwdefaults__ or {})  # type: ignore[attr-defined]
    takes_one = code.co_argcount - given >= 1 or code.co_flags & _VARARGS
    if wanted > 1 or keywords > 0 or not takes_one:
        raise DeclarationError(f"{what} must take one argument: def {code.co_name}({argument})")


def _is_name(name: object) -> bool:
    return (
        isinstance(name, str) and name.isascii() and name.isidentifier() and name == name.lower() and name[0].isalpha()
    )
