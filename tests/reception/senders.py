"""A C-arm that sends to this computer."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

import pydicom
import pytest

pynetdicom = pytest.importorskip("pynetdicom")
VERIFICATION = "1.2.840.10008.1.1"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def associated(
    port: int,
    contexts: Sequence[tuple[str, Sequence[str]]],
    *,
    title: str = "ARM",
    called: str = "ISOCLINIC",
    tls: ssl.SSLContext | None = None,
):
    """An association with these SOP classes, each with its transfer syntaxes; it may be rejected."""
    entity = pynetdicom.AE(ae_title=title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    for kind, syntaxes in contexts:
        entity.add_requested_context(kind, list(syntaxes))
    return entity.associate(
        "127.0.0.1", port, ae_title=called, tls_args=None if tls is None else (tls, "localhost")
    )


def context_of(dataset: pydicom.Dataset) -> tuple[str, list[str]]:
    return dataset.SOPClassUID, [dataset.file_meta.TransferSyntaxUID]


def sent(port: int, *datasets: pydicom.Dataset, **named: object) -> list[int | None]:
    """Statuses of images that are sent in one association; None where there was no answer."""
    association = associated(
        port, list({context_of(each)[0]: context_of(each) for each in datasets}.values()), **named
    )
    assert association.is_established
    try:
        return [association.send_c_store(each).get("Status") for each in datasets]
    finally:
        association.release()
