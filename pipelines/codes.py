"""Every code a problem of a pipeline file can have, with a sentence each, in groups; docs/errors.md is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["CODES", "GROUPS"]

GROUPS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "The text": {
            "encoding": "The file is not UTF-8 text, or holds a character that YAML does not allow.",
            "syntax": "The text is not YAML.",
            "empty": "The file holds nothing.",
            "unquoted": "A value that starts with `!`, or has `${` inside braces, must be quoted.",
            "tag": "A YAML tag (`!name`) is not allowed.",
            "merge-key": "The YAML merge key `<<` is not allowed; profiles and defaults say the same thing openly.",
            "anchor": "A YAML alias stands inside its own anchor, or names none.",
            "duplicate-key": "A key is written twice, in one mapping or in two files that are merged.",
            "too-large": "The document is larger, deeper or, through its aliases, longer than a pipeline file may be.",
            "bad-number": "A number that JSON cannot carry: infinite, not a number, or endless.",
        },
        "Keys and values": {
            "unknown-key": "The language has no such key here.",
            "not-supported": "The key belongs to the language, but this version of penstock does not build it yet.",
            "missing-key": "A key that must be there is not.",
            "wrong-type": "The value is of another kind than the key asks for.",
            "wrong-value": "The value is of the right kind, but not one of those allowed.",
            "bad-name": "A name does not match `[a-z][a-z0-9_]*`, or is a word that CEL reserves.",
            "bad-unit": "An amount lacks its unit, or has one that is not known (`50ms`, `5s`, `1m`).",
        },
        "Files and layers": {
            "unreadable": "A file that is named cannot be read.",
            "include-cycle": "A file includes itself, directly or through others.",
            "unknown-profile": "The file has no profile of that name.",
            "nothing-to-delete": "A profile deletes (`null`) a key that is not there.",
        },
        "Plugins": {
            "bad-source": "The source of a plugin is not a folder or file with a manifest.",
            "manifest": "The manifest of a plugin is wrong, at the place named.",
            "unknown-plugin": "No plugin of that name is declared under `plugins`.",
            "unknown-stage": "The plugin offers no such stage, or the pipeline has none of that name.",
            "unknown-extra": "The plugin has no optional dependencies of that name.",
            "bad-version": "The `version` asked of a plugin is no specifier as PEP 440 writes them.",
            "wrong-version": "The plugin's version is none of those that the pipeline file asks for.",
            "unfit-plugin": "The plugin cannot run here: no installed Python is one that it takes.",
            "deprecated": "The plugin, or what it is written for, should not be used any more (warning).",
            "bad-with": "The configuration does not fit the plugin's own schema.",
            "bad-schema": "The configuration schema that the plugin ships is itself not valid.",
            "not-granted": "The plugin asks for a permission that the pipeline file does not grant.",
            "unused-grant": "The pipeline file grants a permission that the plugin does not ask for (warning).",
            "unused-plugin": "A plugin is declared and no stage uses it (warning).",
        },
        "Secrets": {
            "unknown-secret": "No secret of that name is declared under `secrets`.",
            "bad-secret": "A secret has a key that belongs to another source.",
            "not-handed": "The plugin asks for a secret that is granted, and is handed none under that name.",
            "not-asked": "The plugin is handed a secret under a name that its manifest does not ask for.",
            "unused-secret": "A secret is declared and no plugin is handed it (warning).",
        },
        "Hooks": {
            "unknown-hook": "Neither the catalogue nor the `hooks` section of the file has a hook of that name.",
            "hook-exists": "The `hooks` section declares a hook that the catalogue already has.",
            "hook-not-offered": "The plugin's manifest does not offer the stage on this hook.",
            "cannot-deny": "An enforcing stage stands on a hook that cannot deny.",
            "unguarded": "Something could be let in on an admission hook without the stage that admits there.",
        },
        "The graph": {
            "cycle": "Stages need each other in a circle.",
            "unknown-timeout": "No timeout of that name is declared under `policies.timeouts`.",
            "unmeetable-need": "A need can never be met, so the stage can never run (warning).",
            "merge-conflict": "Two stages without an order between them may write the same place.",
            "split-conflict": "Two stages split the calls of one hook in different ways.",
            "fallback-allows": "A fallback that allows stands on a pipeline with an enforcing stage.",
        },
        "Policies": {
            "unknown-policy": "No policy of that name is declared under `policies`.",
            "bad-policy": "Two figures of a policy contradict each other.",
            "unsafe-retry": "A stage may be called again after an unknown outcome, and is not idempotent.",
            "idle-policy": "A part of a policy is written that can never be used (warning).",
            "over-deadline": "Timeouts and attempts come to more than the deadline they stand under (warning).",
        },
        "Undo and what comes after": {
            "needs-durable": "The pipeline must say `durable`, or say `durable: true`, for this key.",
            "needs-undo": "A stage has effects outside, and neither `compensate` nor `compensate: none`.",
            "not-an-undo": "The stage named by `compensate` does not undo this one.",
            "undo-as-stage": "A stage that undoes another is used as a stage of its own.",
            "nothing-to-undo": "Something is said about undo where nothing has to be undone (warning).",
            "final-enforces": "A stage of `finally` enforces, and the verdict is given already.",
            "name-taken": "A stage of `finally` has the name of a stage of its pipeline.",
        },
        "Overrides by command": {
            "ambiguous-stage": "Several pipelines have a stage of that name: it is written with its pipeline.",
            "open-admission": "An override leaves an admission hook without a stage that enforces.",
        },
        "Expressions": {
            "expression-syntax": "The text is not a CEL expression.",
            "expression-name": "An expression names something that is not there.",
            "expression-type": "An expression compares or combines kinds that do not fit, or gives the wrong kind.",
            "expression-regex": "A regular expression in an expression is wrong.",
            "expression-limit": "An expression is too long or too deep, or a hostile payload could make it slow.",
            "not-an-ancestor": "An expression refers to a stage that its own does not need, directly or not.",
            "may-be-skipped": "An expression refers to the `out` of a stage that may be skipped without `otherwise`.",
            "bad-out": "A value given in a stage's stead (`otherwise`, a mock) does not fit its declared outputs.",
        },
        "Tests": {
            "unknown-pipeline": "The file has no pipeline of that name.",
            "bad-payload": "The payload of a test does not fit its hook.",
            "bad-answer": "A mock is not something a stage may answer.",
        },
    }
)

CODES: Mapping[str, str] = MappingProxyType({code: said for group in GROUPS.values() for code, said in group.items()})
