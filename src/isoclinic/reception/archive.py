"""Overlays for a DICOM archive: each is sent (C-STORE, PS3.4 annex B) until it has been stored."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydicom import uid

from .._optional import require
from ..errors import InputError
from .config import ReceptionConfig, host_and_port
from .deliveries import NotNowError, RefusedError
from .secondary_capture import secondary_capture
from .spool import Spool

_LOG = logging.getLogger("isoclinic.reception")
_SYNTAXES = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian]
# Statuses of a response (PS3.4 table B.2-1): stored, perhaps with a warning; out of resources.
_SUCCESS, _WARNINGS, _OUT_OF_RESOURCES = 0x0000, 0xB000, 0xA700


class Archive:
    """Sends the overlay of an image that is done.

    An object that is sent twice, because the answer was lost, is the same object, and archives keep it once.

    Args:
        spool: with the images and the results.
        config: where the archive is.

    Raises:
        UsageError: pynetdicom is not installed.
    """

    def __init__(self, spool: Spool, config: ReceptionConfig) -> None:
        assert config.send is not None
        pynetdicom = require("pynetdicom", extra="listen")
        self._spool = spool
        self._called = config.send_ae_title
        self._host, self._port = host_and_port(config.send)
        # Its own messages may quote what is sent; this class tells what matters.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        self._entity = entity = pynetdicom.AE(ae_title=config.ae_title)
        entity.acse_timeout = entity.dimse_timeout = config.timeout_s
        entity.network_timeout = entity.connection_timeout = config.timeout_s
        entity.add_requested_context(uid.SecondaryCaptureImageStorage, _SYNTAXES)

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Send the overlay that a line is about; it is stored when this returns. Failed images have none.

        Raises:
            NotNowError: the archive does not answer, or has no room.
            RefusedError: there is nothing that could be sent, or the archive does not take it.
        """
        if line["state"] != "done":
            return
        try:
            made = secondary_capture(line, self._spool.file_of(line), self._spool.identity)
        except InputError as error:
            raise RefusedError(
                f"it is not DICOM, has no StudyInstanceUID, or its overlay is gone [{error.code}]"
            ) from error
        association = self._associated()
        try:
            status = association.send_c_store(made).get("Status")
        finally:
            if association.is_established:
                association.release()
        self._judge(status, line)

    def _associated(self) -> Any:
        """An association in which overlays are taken.

        Raises:
            NotNowError: there is none.
        """
        try:
            association = self._entity.associate(self._host, self._port, ae_title=self._called)
        except OSError:  # the host has no address
            raise NotNowError("does not answer: its host is unknown") from None
        if association.is_established:
            return association
        if association.is_rejected:
            raise NotNowError(
                "rejects this program; compare --send-ae-title and --ae-title with its settings"
            )
        # pynetdicom gives up an association in which nothing of what was asked for is accepted.
        if association.rejected_contexts:
            raise NotNowError("does not take Secondary Capture images")
        raise NotNowError("does not answer")

    def _judge(self, status: int | None, line: Mapping[str, Any]) -> None:
        if status is None:
            raise NotNowError("has broken the connection")
        if status & 0xFF00 == _OUT_OF_RESOURCES:
            raise NotNowError(f"is out of resources (status 0x{status:04X})")
        warned = status & 0xF000 == _WARNINGS
        if status != _SUCCESS and not warned:
            raise RefusedError(f"status 0x{status:04X}")
        told = f", with warning 0x{status:04X}" if warned else ""
        _LOG.info("send: the overlay of image %d is stored%s", line["number"], told)
