"""The functions, macros and type names an expression may use. docs/expressions.md is held equal to these tables."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["BINDING", "FUNCTIONS", "NAMES"]

FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {
        # Presence and size.
        "has": "`has(payload.a.b)`: whether the field is there; false when anything on the way is absent",
        "size": "`size(x)` or `x.size()`: characters of a text, members of a list or object",
        # Text.
        "contains": "`s.contains('x')`: whether the text holds another",
        "startsWith": "`s.startsWith('x')`: whether the text starts with another",
        "endsWith": "`s.endsWith('x')`: whether the text ends with another",
        "matches": "`s.matches('^a+$')`: whether an RE2 pattern is found anywhere in the text",
        "lowerAscii": "`s.lowerAscii()`: the text with A-Z as a-z",
        "upperAscii": "`s.upperAscii()`: the text with a-z as A-Z",
        "trim": "`s.trim()`: the text without white space at its ends",
        "charAt": "`s.charAt(0)`: one character",
        "indexOf": "`s.indexOf('x')`: where another text starts, or -1",
        "lastIndexOf": "`s.lastIndexOf('x')`: where another text starts for the last time, or -1",
        "substring": "`s.substring(1, 3)`: characters from one place up to another",
        "replace": "`s.replace('a', 'b')`: the text with one part replaced by another",
        "split": "`s.split(',')`: the parts between separators, as a list",
        "join": "`list.join(',')`: the texts of a list put together",
        "reverse": "`s.reverse()`: the text from its end",
        "quote": "`strings.quote(s)`: the text in quotes, its special characters escaped",
        "format": "`'%s of %d'.format([a, b])`: a text with values put in",
        # Lists and objects.
        "exists": "`list.exists(x, x > 1)`: whether a member meets the condition; over an object, `x` is a key",
        "all": "`list.all(x, x > 1)`: whether every member meets the condition",
        "exists_one": "`list.exists_one(x, x > 1)`: whether exactly one member meets the condition",
        "filter": "`list.filter(x, x > 1)`: the members that meet the condition",
        "map": "`list.map(x, x + 1)`: a value for every member",
        # Conversions.
        "int": "`int(x)`: a whole number out of a number or a text",
        "uint": "`uint(x)`: a whole number from 0 on",
        "double": "`double(x)`: a floating number out of a number or a text",
        "string": "`string(x)`: a text out of a number, bool or bytes",
        "bool": "`bool(x)`: a bool out of the texts true and false",
        "bytes": "`bytes(x)`: the UTF-8 bytes of a text",
        "dyn": "`dyn(x)`: the value, unchecked until it is used",
        "type": "`type(x) == string`: the type of a value",
        # Time, of values handed over; there is no clock.
        "timestamp": "`timestamp('2026-01-01T00:00:00Z')`: a point in time",
        "duration": "`duration('90s')`: a span of time",
        "getFullYear": "`t.getFullYear()`: the year of a timestamp",
        "getMonth": "`t.getMonth()`: the month, from 0",
        "getDate": "`t.getDate()`: the day of the month, from 1",
        "getDayOfMonth": "`t.getDayOfMonth()`: the day of the month, from 0",
        "getDayOfWeek": "`t.getDayOfWeek()`: the day of the week, from Sunday 0",
        "getDayOfYear": "`t.getDayOfYear()`: the day of the year, from 0",
        "getHours": "`t.getHours()`: the hour, or the hours of a duration",
        "getMinutes": "`t.getMinutes()`: the minute, or the minutes of a duration",
        "getSeconds": "`t.getSeconds()`: the second, or the seconds of a duration",
        "getMilliseconds": "`t.getMilliseconds()`: the milliseconds",
        # Optional values, as `payload.?a` gives them.
        "orValue": "`payload.?a.orValue('x')`: the value, or another where there is none",
        "or": "`o.or(other)`: the optional, or another where it is empty",
        "hasValue": "`o.hasValue()`: whether there is a value",
        "value": "`o.value()`: the value; fails where there is none",
        "optMap": "`o.optMap(x, x + 1)`: an optional of a value made from the one inside",
        "optFlatMap": "`o.optFlatMap(x, x.?b)`: the same with an optional as the result",
        "of": "`optional.of(x)`: an optional with a value",
        "none": "`optional.none()`: an empty optional",
        "ofNonZeroValue": "`optional.ofNonZeroValue(x)`: empty for '', 0, false, [] and {}",
    }
)

BINDING = frozenset({"exists", "all", "exists_one", "filter", "map", "optMap", "optFlatMap"})
"""Functions whose first argument names a variable."""

NAMES = frozenset(
    {
        "true",
        "false",
        "null",
        "in",
        "int",
        "uint",
        "double",
        "string",
        "bool",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
    }
    | {"optional", "strings", "google"}
)
"""Names that are neither fields nor functions: literals, types, and the first half of `optional.of`."""
