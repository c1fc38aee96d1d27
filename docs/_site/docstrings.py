"""How docstrings and exports become the reference: a griffe extension."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

# "[N, 3] [mm]" is a shape and a unit, but in Markdown a link.
_UNIT_AFTER_SHAPE = re.compile(r"\]\s+\[")


class Docstrings(griffe.Extension):  # type: ignore[misc]
    """Shapes and units stay text, and a package's function is not hidden by the module of its name."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Keep units after shapes from becoming links, and let exports win over submodules of their name."""
        for each in list(_objects(pkg)):
            if each.docstring is not None:
                each.docstring.value = _UNIT_AFTER_SHAPE.sub("]&nbsp;[", each.docstring.value)
        for package in (module for module in pkg.modules.values() if module.exports):
            for name in {str(export) for export in package.exports or ()} & set(package.modules):
                function = package.modules[name].members.get(name)
                if function is not None:
                    package.set_member(name, griffe.Alias(name, function, parent=package))


def _objects(above: griffe.Object) -> Iterator[griffe.Object]:
    """The object and all that is defined in it."""
    yield above
    for member in above.members.values():
        if not member.is_alias:
            yield from _objects(member)
