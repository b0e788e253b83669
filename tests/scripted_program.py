"""The program of the tests' plugin: the protocol by hand, and whatever answer the call's context asks for.

`context.metadata.script` maps stage ids to what to do: {"answer": ...} gives a result, {"error": CODE} an error,
{"hang": true} nothing until cancelled, {"exit": STATUS} ends the process, {"meet": PATH, "as": "r" or "w"} waits at a
FIFO until another stage is at its other end, {"see": true} puts out what the stage was handed.
"""

import json
import os
import sys

UNDOES = {"release": "reserve", "refund": "charge"}

hanging = set()


def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def invoke(number, params):
    stage = params["key"].partition("/")[2]
    wanted = params["context"]["metadata"].get("script", {}).get(stage, {})
    if "exit" in wanted:
        os._exit(wanted["exit"])
    if "hang" in wanted:
        hanging.add(number)
        return
    if "meet" in wanted:
        with open(wanted["meet"], wanted["as"]):
            pass
    if "error" in wanted:
        say({"id": number, "error": {"code": wanted["error"], "message": "as told"}})
    elif "see" in wanted:
        say({"id": number, "result": {"out": {"seen": params}}})
    else:
        say({"id": number, "result": wanted.get("answer")})


for line in sys.stdin:
    message = json.loads(line)
    number, params = message.get("id"), message.get("params", {})
    if message["method"] == "initialize":
        plugin = params["plugin"]
        stages = {name: {"undoes": UNDOES[name]} if name in UNDOES else {} for name in params["stages"]}
        say({"id": number, "result": {"protocol": "1.0", "plugin": plugin, "stages": stages}})
    elif message["method"] == "stage/invoke":
        invoke(number, params)
    elif message["method"] == "$/cancelRequest":
        if params["id"] in hanging:
            hanging.discard(params["id"])
            say({"id": params["id"], "error": {"code": -32800, "message": "cancelled"}})
    else:
        say({"id": number, "result": {}})
        if message["method"] == "shutdown":
            sys.exit(0)
