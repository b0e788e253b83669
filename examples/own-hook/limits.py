# /// script
# requires-python = ">=3.11"
# dependencies = ["msgspec>=0.20,<1"]
#
# [tool.penstock]
# summary = "Add up an invoice and cap it"
#
# [tool.penstock.config-schema]
# type = "object"
# additionalProperties = false
# properties.most = { type = "number", description = "The largest total that may be sent." }
#
# [tool.penstock.stages.total]
# effects = "none"
# idempotent = true
# outputs = { total = "double" }
#
# [tool.penstock.stages.cap]
# effects = "none"
# idempotent = true
# outputs = {}
# ///
"""Two stages for a hook of one's own: add up the lines of an invoice, and refuse a total over the limit."""

import msgspec
from penstock_plugin import Answer, Call, Plugin

plugin = Plugin()


class Line(msgspec.Struct):
    """A line of an invoice."""

    net: float
    count: int = 1


@plugin.stage("total")
def total(call: Call) -> Answer:
    """Add up; lines that are none are msgspec's to refuse."""
    lines = msgspec.convert(call.payload["lines"], list[Line])
    return call.allow(out={"total": sum((line.net * line.count for line in lines), 0.0)})


@plugin.stage("cap")
def cap(call: Call) -> Answer | None:
    """Object to a total over `most`, as another stage added it up."""
    most = call.config.get("most", 1000)
    if call.input["total"] <= most:
        return None
    return call.deny("over_limit", f"the total {call.input['total']:.2f} is over {most}")
