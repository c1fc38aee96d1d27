"""How X-rays are received and results sent out: options only, importable without any array library."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UsageError

_MEGABYTE = 1_000_000
# DICOM PS3.5 section 6.2: an AE has at most 16 characters, no backslash and no control characters.
_AE_TITLE_LENGTH = 16
# Of OpenIGTLink's 20 bytes, one ends the name, and nine are for the longest of what is added to it.
_IGTL_NAME_LENGTH = 10


@dataclass(frozen=True, kw_only=True)
class ReceptionConfig:
    """Where X-rays come from, and where results go besides the output folder.

    Attributes:
        port: TCP port on which DICOM images are received (C-STORE); usual are 104 and 11112. Without it none
            are received in this way.
        host: address of this computer on which they are received. The default can be reached from this
            computer only; "0.0.0.0" is every network, and then needs `allow`.
        ae_title: the AE title of this program, by which senders must call it.
        allow: AE titles that may send; by default all may.
        tls_certificate: PEM file of this program's certificate: DICOM is then received over TLS only.
        tls_key: PEM file of the certificate's private key.
        tls_ca: PEM file of the authority that has signed the certificates of senders: whoever has none is
            refused.
        watch: folder in which X-rays appear, with its subfolders; they stay there.
        poll_s: time between two looks into that folder [s].
        settle_s: time for which a file there must not change before it is read [s].
        patience_s: time after which a file that rests, but cannot be read, is no longer waited for [s].
        largest_mb: larger images are refused [MB].
        connections: senders at a time, at most.
        timeout_s: time after which a sender that says nothing is cut off [s].
        webhook: http or https address to which the result of each image is sent, as one line of JSON.
        webhook_timeout_s: time to wait for its answer [s].
        igtl: TCP port at which OpenIGTLink clients, such as 3D Slicer, get the pose of each image; their
            usual one is 18944. By default there is none.
        igtl_host: address of this computer for them. The default can be reached from this computer only.
        igtl_name: name of the transform that they get.
        send: HOST:PORT of a DICOM archive to which the overlay of each image is sent (C-STORE).
        send_ae_title: the AE title of the archive, by which this program calls it.
        health_port: port of this computer at which /healthz tells how the program is; none by default.
        attempts: how often an image is begun, if the program ends each time while it is being registered.
        retry_s: time to wait before going on where the disk is full [s].
    """

    port: int | None = None
    host: str = "127.0.0.1"
    ae_title: str = "ISOCLINIC"
    allow: tuple[str, ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    watch: Path | None = None
    poll_s: float = 0.5
    settle_s: float = 1.0
    patience_s: float = 30.0
    largest_mb: float = 500.0
    connections: int = 16
    timeout_s: float = 30.0
    webhook: str | None = None
    webhook_timeout_s: float = 5.0
    igtl: int | None = None
    igtl_host: str = "127.0.0.1"
    igtl_name: str = "isoclinic"
    send: str | None = None
    send_ae_title: str = "ANY-SCP"
    health_port: int | None = None
    attempts: int = 3
    retry_s: float = 10.0

    def __post_init__(self) -> None:
        self._check_numbers()
        for title in (self.ae_title, self.send_ae_title, *self.allow):
            if not _is_ae_title(title):
                raise UsageError(
                    f"{title!r} in `ae_title`, `send_ae_title` or `allow` is no AE title: it has 1 to "
                    f"{_AE_TITLE_LENGTH} letters, digits and the like, and no backslash",
                    code="reception.invalid-value",
                )
        if not re.fullmatch(f"[A-Za-z0-9_-]{{1,{_IGTL_NAME_LENGTH}}}", self.igtl_name):
            raise UsageError(
                f"`igtl_name` must have 1 to {_IGTL_NAME_LENGTH} letters, digits, - or _, not "
                f"{self.igtl_name!r}",
                code="reception.invalid-value",
            )
        if self.send is not None:
            host_and_port(self.send)
        if self.webhook is not None and not _is_web_address(self.webhook):
            raise UsageError(
                "`webhook` must be an address that begins with http:// or https:// and names a host",
                code="reception.invalid-value",
            )
        self._check_safety()

    @property
    def largest_bytes(self) -> int:
        """`largest_mb` in bytes."""
        return int(self.largest_mb * _MEGABYTE)

    def _check_numbers(self) -> None:
        for name in ("port", "health_port", "igtl"):
            port = getattr(self, name)
            if port is not None and not 0 < port < 65536:
                raise UsageError(
                    f"`{name}` must be from 1 to 65535, not {port}", code="reception.invalid-value"
                )
        positive = ("poll_s", "timeout_s", "webhook_timeout_s", "retry_s", "largest_mb")
        for name in (*positive, "settle_s", "patience_s"):
            value = getattr(self, name)
            # Negated, so that what is not a number is refused.
            if not (0 <= value < float("inf")) or (name in positive and value == 0):
                raise UsageError(
                    f"`{name}` must be {'positive' if name in positive else '0 or more'} and finite, "
                    f"not {value}",
                    code="reception.invalid-value",
                )
        if self.attempts < 1 or self.connections < 1:
            raise UsageError("`attempts` and `connections` must be 1 or more", code="reception.invalid-value")

    def _check_safety(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise UsageError(
                "`tls_certificate` and `tls_key` need each other; give both", code="options.incomplete"
            )
        if self.tls_ca is not None and self.tls_certificate is None:
            raise UsageError("`tls_ca` needs `tls_certificate` and `tls_key`", code="options.incomplete")
        if self.port is not None and not _is_this_computer(self.host) and not self.allow:
            raise UsageError(
                f"on `host` {self.host}, other computers can reach `port` {self.port}: say with `allow` "
                "which AE titles may send",
                code="options.incomplete",
            )


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of `ReceptionConfig.send`: "HOST:PORT", or "[HOST]:PORT" for an address of IPv6.

    Raises:
        UsageError: it has other parts.
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:\[\]/@]+)):([0-9]{1,5})", address)
    if found is None or not 0 < int(found[3]) < 65536:
        raise UsageError(
            f"`send` must be HOST:PORT, such as archive:104, not {address!r}", code="reception.invalid-value"
        )
    return found[1] or found[2], int(found[3])


def _is_ae_title(text: str) -> bool:
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return plain and bool(text.strip()) and len(text) <= _AE_TITLE_LENGTH


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _is_this_computer(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
