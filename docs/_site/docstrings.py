"""How docstrings and exports become the reference: a griffe extension."""

from __future__ import annotations

import re
from typing import Any

import griffe

# "[N, 3] [mm]" is a shape and a unit, but in Markdown a link.
_UNIT_AFTER_SHAPE = re.compile(r"\]\s+\[")


class Docstrings(griffe.Extension):
    """Shapes and units stay text, and a package's function is not hidden by the module of its name."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Keep units after shapes from becoming links."""
        if obj.docstring is not None:
            obj.docstring.value = _UNIT_AFTER_SHAPE.sub("]&nbsp;[", obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Let exports win over submodules of the same name, as `from .register import register` does."""
        for package in (module for module in pkg.modules.values() if module.exports):
            exported = {str(name) for name in package.exports or ()}
            for name in exported & set(package.modules):
                function = package.modules[name].members.get(name)
                if function is not None:
                    package.set_member(name, griffe.Alias(name, function, parent=package))
