"""The one launcher of every worker: `python -I -S -B launch.py SPEC`.

Owns what must hold before a byte of the plugin runs: the worker dies with its host, its descriptors are its own,
nothing of the plugin (`.pth` files and sitecustomize too) has been imported. Then it becomes the plugin: it
executes `command`, or serves the protocol for `entry`, or calls the function of a command that the plugin brings for
users, `call`, with the words that follow SPEC. It decides nothing about calls.

SPEC is a JSON object, without secrets because `ps` shows it: {"parent": pid of the host, "root": folder of the
plugin, "entry": "module:object" or null, "command": ["./plugin"] or null, "max_frame": bytes}; "site": false
leaves the interpreter's site-packages out, for a plugin that has no environment of its own. For a command it is
{"parent", "root", "site", "call": "module:function", "name": what the user calls it}.
"""

from __future__ import annotations

import json
import os
import sys

__all__ = ["main"]

# The launcher's own exit statuses, those of a shell where one fits.
CANNOT_EXECUTE = 126
NOT_FOUND = 127
ORPHANED = 113
TOO_OLD = 114

OLDEST_PYTHON = (3, 10)

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def main(spec: dict[str, object]) -> None:
    """Restrict this process, then turn it into the plugin. Returns when the host said goodbye."""
    _die_with(int(str(spec["parent"])))
    command = spec.get("command")
    if "call" in spec:
        _call(spec)
    elif isinstance(command, list):
        _execute(str(spec["root"]), [str(word) for word in command])
    else:
        _serve(spec)


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its host dies, and leave if that has already happened."""
    if not _kill_on_parent_death():
        _note("this platform has no PDEATHSIG: the worker may outlive a host that is killed")
    if os.getppid() != parent:
        _note(f"the host, process {parent}, is gone")
        sys.exit(ORPHANED)


def _kill_on_parent_death() -> bool:
    if sys.platform != "linux":
        return False
    try:
        # The C module alone: `import ctypes` costs every worker 9 ms of its start.
        import _ctypes

        program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is this program, as in dlopen(3)
        address = _ctypes.dlsym(program, "prctl")
        return bool(_ctypes.call_function(address, (_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)) == 0)
    except (ImportError, AttributeError):
        pass
    try:
        import ctypes

        return int(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)) == 0
    except (ImportError, OSError, AttributeError):
        return False


def _execute(root: str, command: list[str]) -> None:
    """Become the program of a `command` plugin; its descriptors 0, 1 and 2 stay as the host made them."""
    import signal

    # Python ignores these two, and an ignored signal stays ignored in the program we become.
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    program = command[0]
    if os.sep in program:
        program = os.path.join(root, program)
    environment = _with_own_programs(dict(os.environ))
    try:
        os.execvpe(program, command, environment)
    except FileNotFoundError:
        _note(f"cannot start {command[0]!r}: no such program, or the interpreter of its first line is missing")
        sys.exit(NOT_FOUND)
    except OSError as error:
        _note(f"cannot start {command[0]!r}: {error.strerror}; is it executable and has it a #! line?")
        sys.exit(CANNOT_EXECUTE)


def _with_own_programs(environment: dict[str, str]) -> dict[str, str]:
    """Put the programs of the plugin's environment first, so that `command = ["python", ...]` finds them."""
    programs = os.path.dirname(sys.executable)
    home = os.path.dirname(programs)
    if os.path.exists(os.path.join(home, "pyvenv.cfg")):
        environment["PATH"] = os.pathsep.join(filter(None, (programs, environment.get("PATH", os.defpath))))
        environment["VIRTUAL_ENV"] = home
    return environment


def _serve(spec: dict[str, object]) -> None:
    """Keep the protocol's descriptors away from the plugin, build its import path, and serve."""
    if sys.version_info < OLDEST_PYTHON:
        _note(
            f"this is Python {sys.version.split()[0]}; penstock_plugin needs 3.10 or newer, a `command` plugin does not"
        )
        sys.exit(TOO_OLD)
    reader, writer = os.dup(0), os.dup(1)  # a dup is not inherited by programs that the plugin starts
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)  # print and C code that writes to descriptor 1 end up in the log, not in a frame
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]  # a text file here

    root = str(spec["root"])
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    # Ours may be cached beside its source; -B stays in force for everything that is the plugin's.
    sys.dont_write_bytecode = False
    from penstock_plugin.serving.session import Session

    sys.dont_write_bytecode = True
    if spec.get("site", True):
        import site

        site.main()
    sys.path.insert(0, root)
    sys.argv = [root]
    Session(str(spec["entry"]), reader, writer, int(str(spec["max_frame"]))).serve()


def _call(spec: dict[str, object]) -> None:
    """Call the function of a command, as the scripts of an installed distribution do; it ends the process."""
    root = str(spec["root"])
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    if spec.get("site", True):
        import site

        site.main()
    sys.path.insert(0, root)
    sys.argv = [str(spec["name"]), *sys.argv[2:]]
    from importlib import import_module

    module, _, path = str(spec["call"]).partition(":")
    found: object = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    sys.exit(found())  # type: ignore[operator]  # what the manifest names is called, whatever it is


def _note(line: str) -> None:
    print(f"penstock: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
