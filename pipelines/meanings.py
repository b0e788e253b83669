"""What the fields of hooks and of the context mean: a sentence for each name, whatever hook it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["MEANINGS"]

MEANINGS: Mapping[str, str] = MappingProxyType({})
