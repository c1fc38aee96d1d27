"""Tensors and plain values in one file that runs no code when it is read.

Tensors as safetensors (https://github.com/huggingface/safetensors), the rest as JSON in its header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .._files import atomic, reading
from ..errors import InputError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: dict[str, Any]) -> None:
    """Write the file; an existing one is replaced once the new one is complete.

    Args:
        path: of the file.
        tensors: by name, on any device.
        header: plain values; "format" names what the file is.

    Raises:
        InputError: it cannot be written.
    """
    # It takes a while to load, and few need it.
    from safetensors.torch import save

    # Each tensor on its own memory, as the format wants it.
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {header["format"]: json.dumps(header)}
    content = save(stored, metadata=metadata)
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def read_tensors(path: Path, kind: str, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file.

    Args:
        path: of the file.
        kind: the "format" of the header that is wanted.
        name: of such files, for messages: "an isoclinic model".

    Raises:
        InputError: the file is missing, damaged, or something else.
    """
    from safetensors import SafetensorError, safe_open

    foreign = f"{path} is not {name}, as isoclinic train writes it"
    with reading(str(path), code="model.unreadable"):
        try:
            with safe_open(str(path), framework="pt") as stored:
                text = (stored.metadata() or {}).get(kind)
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"{path} is damaged or not {name}: {error}", code="model.unreadable") from error
    if text is None:
        raise InputError(foreign, code="model.wrong-kind")
    try:
        header = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise InputError(f"{foreign} ({error})", code="model.wrong-kind") from error
    if not isinstance(header, dict) or header.get("format") != kind:
        raise InputError(foreign, code="model.wrong-kind")
    return header, tensors
