"""A DICOM storage service: C-arms send X-rays to it (C-STORE, PS3.4 annex B; PS3.7 section 9.1.1)."""

from __future__ import annotations

import logging
import ssl
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom import uid

from .._optional import require
from ..errors import InputError
from ..volumes._grid import decoding
from .config import ReceptionConfig
from .spool import Spool

_LOG = logging.getLogger("isoclinic.reception")
XRAY_CLASSES = (
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.XRayAngiographicImageStorage,
    uid.EnhancedXAImageStorage,
    uid.XRayRadiofluoroscopicImageStorage,
    uid.EnhancedXRFImageStorage,
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.RTImageStorage,
)
_VERIFICATION = uid.UID("1.2.840.10008.1.1")
# What the readers decode.
_SYNTAXES = [
    *(uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian),
    *(uid.DeflatedExplicitVRLittleEndian, uid.RLELossless, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit),
    *(uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless),
    *(uid.JPEG2000Lossless, uid.JPEG2000),
]
# Status of a response (PS3.4 table B.2-1, PS3.7 annex C).
SUCCESS, OUT_OF_RESOURCES, CLASS_DIFFERS = 0x0000, 0xA700, 0xA900
NOT_UNDERSTOOD, CLASS_NOT_SUPPORTED = 0xC000, 0x0122
# Time within which a sender says what it wants [s]; until then it takes a place, even if it is gone already.
_GREETING_S = 5.0
# What a request has besides its data set, and what one PDU may have, with room to spare [bytes]: senders are
# told to send PDUs of 16 kB at most (PS3.8 annex D.1).
_OVERHEAD = 1_000_000


class StorageService:
    """Receives DICOM images into a spool; what is half sent leaves nothing.

    Args:
        spool: to store images in, each before its sender is told that it has arrived.
        config: where to listen, and to whom.

    Raises:
        UsageError: pynetdicom is not installed.
    """

    def __init__(self, spool: Spool, config: ReceptionConfig) -> None:
        pynetdicom = require("pynetdicom", extra="listen")
        self._evt = pynetdicom.evt
        self._spool = spool
        self._config = config
        # Bytes of each connection since its last image.
        self._received: dict[Any, int] = {}
        self._server: Any = None
        self._problem = ""
        # Its own messages may quote what was sent; this class tells what matters.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        self._entity = entity = pynetdicom.AE(ae_title=config.ae_title)
        entity.require_called_aet = True
        entity.require_calling_aet = list(config.allow)
        entity.maximum_associations = config.connections
        entity.dimse_timeout = entity.network_timeout = config.timeout_s
        entity.acse_timeout = min(config.timeout_s, _GREETING_S)
        entity.add_supported_context(_VERIFICATION)
        for each in XRAY_CLASSES:
            entity.add_supported_context(each, _SYNTAXES)

    @property
    def problem(self) -> str:
        """Why images are refused; empty where all is well."""
        return self._problem

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Receive from now on.

        Raises:
            InputError: the port is taken or not allowed, or a file for TLS cannot be used.
        """
        evt, config = self._evt, self._config
        handlers = [
            (evt.EVT_CONN_OPEN, self._limit),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_DATA_RECV, self._count),
            (evt.EVT_CONN_CLOSE, self._forget),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_ABORTED, self._aborted),
        ]
        context = _tls(config)
        try:
            self._server = self._entity.start_server(
                (config.host, config.port), block=False, evt_handlers=handlers, ssl_context=context
            )
        except OSError as error:
            raise InputError(
                f"`host` {config.host} and `port` {config.port} cannot be listened on: "
                f"{error.strerror or error}; choose another port (those below 1024 need a permission)",
                code="reception.cannot-listen",
            ) from error
        except OverflowError as error:
            raise InputError(str(error), code="reception.cannot-listen") from error

    def stop(self) -> None:
        """Receive no more; connections are cut, and what was acknowledged is in the spool."""
        if self._server is None:
            return
        self._server.shutdown()
        for association in self._entity.active_associations:
            # One not greeted yet cannot be aborted (PS3.8 table 9-10), and ends within `_GREETING_S`.
            if association.is_established:
                association.abort()

    def _store(self, event: Any) -> int:
        """The status with which a C-STORE request is answered."""
        self._received.pop(event.assoc, None)
        sender = _printable(event.assoc.requestor.ae_title)
        content = event.encoded_dataset()
        status, why = self._checked(event, content)
        if status == SUCCESS:
            try:
                digest, new = self._spool.store(content, source=f"dicom:{sender}")
            except InputError as error:
                self._problem = f"received images cannot be stored [{error.code}]: is the disk full?"
                status, why = OUT_OF_RESOURCES, "it cannot be stored; is the disk full?"
            else:
                self._problem = ""
                known = "" if new else ", known already"
                _LOG.info("dicom: %s has sent image %s%s", sender, digest[:12], known)
        if status != SUCCESS:
            _LOG.warning("dicom: an image of %s is refused with status 0x%04X: %s", sender, status, why)
        return status

    def _checked(self, event: Any, content: bytes) -> tuple[int, str]:
        """The status for what can be told before the image is stored, and why it is refused."""
        kind = event.request.AffectedSOPClassUID
        if kind not in XRAY_CLASSES or kind != event.context.abstract_syntax:
            return CLASS_NOT_SUPPORTED, "it is no X-ray image"
        if len(content) > self._config.largest_bytes:
            return OUT_OF_RESOURCES, "it is larger than --largest-mb"
        try:
            with decoding(Path("image")):
                header = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
                said = str(header.get("SOPClassUID", ""))
                whole = int(header.get("Rows") or 0) > 0 and int(header.get("Columns") or 0) > 0
        except InputError:
            return NOT_UNDERSTOOD, "its data set cannot be read"
        if said != kind:
            return CLASS_DIFFERS, "its data set is of another SOP class than the request"
        return (SUCCESS, "") if whole else (NOT_UNDERSTOOD, "its data set has no image")

    def _count(self, event: Any) -> None:
        """Cut off a sender before its image fills the memory."""
        count = self._received.get(event.assoc, 0) + len(event.data)
        self._received[event.assoc] = count
        if count > self._config.largest_bytes + _OVERHEAD:
            self._received[event.assoc] = 0
            sender = _printable(event.assoc.requestor.ae_title)
            _LOG.warning("dicom: %s is cut off: its image is larger than --largest-mb", sender)
            event.assoc.abort(block=False)

    def _limit(self, event: Any) -> None:
        """Let no read last longer than `timeout_s`, and none be of more than any honest sender sends at once.

        pynetdicom would wait for the rest of a PDU for ever, and keep up to 4 GB of it, as its length says.
        """
        transport = event.assoc.dul.socket
        transport.socket.settimeout(self._config.timeout_s)
        read = transport.recv

        def limited(count: int) -> Any:
            if count > _OVERHEAD:
                raise OSError("a PDU is longer than was agreed")
            return read(count)

        transport.recv = limited

    def _forget(self, event: Any) -> None:
        self._received.pop(event.assoc, None)

    def _rejected(self, event: Any) -> None:
        asking = event.assoc.requestor
        _LOG.warning(
            "dicom: %s at %s is rejected: it is not allowed, calls another AE title, or there are too many",
            _printable(asking.ae_title),
            asking.address,
        )

    def _aborted(self, event: Any) -> None:
        asking = event.assoc.requestor
        _LOG.warning("dicom: the connection of %s was cut", _printable(asking.ae_title) or asking.address)


def _printable(title: str) -> str:
    """An AE title for logs, whatever was sent."""
    return "".join(each if each.isascii() and each.isprintable() else "?" for each in title.strip())


class _LateHandshake(ssl.SSLContext):
    """TLS whose handshake is made when the connection is first read from, by the thread of its own.

    pynetdicom wraps sockets in the thread that accepts all connections: a handshake there would let one
    silent client keep everybody else out.
    """

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*arguments, **{**named, "do_handshake_on_connect": False})


def _tls(config: ReceptionConfig) -> ssl.SSLContext | None:
    """TLS 1.2 or newer with this program's certificate; None where none is given.

    Raises:
        InputError: a file cannot be used.
    """
    if config.tls_certificate is None or config.tls_key is None:
        return None
    context = _LateHandshake(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An encrypted key would ask the terminal for its password, where nobody may sit.
        context.load_cert_chain(config.tls_certificate, config.tls_key, password=lambda: "")
        if config.tls_ca is not None:
            context.load_verify_locations(config.tls_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InputError(
            "`tls_certificate`, `tls_key` or `tls_ca` cannot be used: each must be a PEM file, and the key "
            f"that of the certificate, without a password ({getattr(error, 'strerror', None) or error})",
            code="reception.cannot-listen",
        ) from error
    return context
