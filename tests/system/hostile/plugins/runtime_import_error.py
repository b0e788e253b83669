"""Raises at import."""

import no_such_package_anywhere  # noqa: F401  # the point
