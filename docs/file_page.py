"""docs/pipeline-file.md, made from the tables that read a pipeline file."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.file.containers import ListOf, MapOf, OneOrMany
from pipelines.file.reading import Shape
from pipelines.file.section import OwnOrNone, Record, Section, Short, keys_of
from pipelines.file.spec import FileSpec

_HEAD = """\
# The pipeline file

<!-- Made by `python docs/generate.py` from pipelines/file/spec.py. -->

Every key there is. `penstock explain PATH` says the same of one of them, with its value and the layer that set it;
`penstock lint` names every mistake with its place ([errors.md](errors.md)); editors find the JSON Schema in
`orchestrator/pipeline-v1.schema.json`.

- YAML 1.2: `on`, `no`, `1:30` and `017` are text. A key written twice, a tag (`!x`) and `<<` are refused. What starts
  with `!` or holds `${` inside braces is quoted.
- Names that you choose match `[a-z][a-z0-9_]*` and are no word of CEL.
- A time has a unit: `50ms`, `5s`, `1m`.
- `include` merges files before anything is checked. A plugin, a pipeline, a hook or a timeout is defined in one file
  only; the pipelines of an included file come first.
- `--profile NAME` lays a profile over the file: mappings by key, everything else whole, and `null` deletes a key. Every
  profile is checked whichever is asked for.
- A stage's `out` may be asked for only where it is there: by stages that need it, and if it may be skipped (`when`,
  `disabled`, an explicit `is`, `on_error: continue`), it says what its `out` is `otherwise`. Where neither of two
  stages enforces, the second may ask without: a value that is missing only makes it be passed over as the first was.
- A policy is used by its name or written in place, where its place is its name. `none` waives what `defaults` say.
- A call whose outcome is unknown is repeated only where the manifest says `idempotent = true`. A `retry` that a stage
  writes and cannot bear is refused; one that it has from `defaults` is narrowed to Busy and Retryable.
- A stage whose manifest says `effects = "external"` says how it is undone (`compensate`), or that it is not
  (`compensate: none`). What undoes is a stage with `undoes` in its manifest, and stands nowhere else.
- Where a plugin's manifest says `admits = true` of a stage, nothing is let in on its admission hooks without it: every
  way to an allow on which no such stage, enforcing, has succeeded is refused (`unguarded`). So is a stage that may
  change what was judged, without being judged after it, and an `in` of such a stage that takes the payload's word.
- A secret is declared with its source under `secrets` and handed to a plugin by the plugin's own name for it. It goes
  to plugins whose manifest asks for it (`permissions.secrets`) and that are granted it, and to nothing else: no log, no
  record, no journal, no environment or command line of a worker has its value. A `file` may have up to 64 KiB of UTF-8
  text, of which one newline at the end is dropped; a variable of `env` is passed on to no worker, whatever its manifest
  says. Values are read when plugins are started, and again when the file is applied or a secret's file changes.
- Where the plugin of a stage with `split` gets a new generation, the whole new revision of the file takes that part of
  the calls of the stage's hooks, until it is promoted or aborted. Calls whose `key` is equal go the same way. It is
  aborted by itself when, after `minimum_calls` of its own, it fails more than `errors` times as often as the stable
  generation, or its high latencies are more than `latency` times as long.
- lint warns (`over-deadline`) where stages in a row may take longer than the deadline of the run: timeouts times
  attempts, with the longest pauses between them. A stage without a timeout is bounded by the deadline and not counted.

A file whose plugin is handed a secret, and whose new generations take a twentieth of the calls at first:

```yaml
version: 1
name: guard
secrets:
  opa_token: { from: file, path: /run/secrets/opa_token }
  hmac_key: { from: env, name: GATEWAY_HMAC }
plugins:
  opa:
    source: ./plugins/opa
    grant: { network: ["opa.corp.example:8181"], secrets: [token, key] }
    secrets: { token: opa_token, key: hmac_key }
pipelines:
  tool_call:
    hook: tool_pre_invoke
    stages:
      policy:
        uses: opa/decide
        split: { canary: 5, key: context.tenant, abort: { errors: 2, latency: 3, minimum_calls: 50 } }
```
"""


def file_page() -> str:
    """Render docs/pipeline-file.md."""
    return _HEAD + "".join(_sections("", FileSpec))


def _sections(path: str, section: type[Section]) -> Iterator[str]:
    rows = [
        f"| `{k.name}`{'' if not k.required else ' (required)'} | {k.shape.words.rstrip(',')} | {k.doc} |"
        for k in keys_of(section).values()
    ]
    yield "\n".join(
        [
            f"\n## {f'`{path}`' if path else 'The file'}\n",
            f"{section.__doc__}\n",
            "| key | | |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )
    for key in keys_of(section).values():
        inner = _inner(key.shape, f"{path}.{key.name}".removeprefix("."))
        if inner is not None:
            yield from _sections(*inner)


def _inner(shape: Shape, path: str) -> tuple[str, type[Section]] | None:
    """The section below a key, and its path with `NAME` for what the operator chooses."""
    if isinstance(shape, MapOf):
        return _inner(shape.value, f"{path}.NAME")
    if isinstance(shape, ListOf | OneOrMany):
        return _inner(shape.item, f"{path}[]")
    return (path, shape.section) if isinstance(shape, Record | Short | OwnOrNone) else None
