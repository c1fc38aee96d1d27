"""Who may ask: a browser of this computer that was given the address, and no page of another site.

The address has a token that nobody can guess. Other sites can make a browser send requests here, but they do
not know it; that the names in `Host` and `Origin` are this computer's keeps out pages whose name was pointed
here after they were loaded (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from secrets import compare_digest, token_urlsafe
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_NAMES = ("127.0.0.1", "localhost")
# Of a request that is no upload [bytes].
_LARGEST_BODY = 4_000_000
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)


def new_token() -> str:
    """A token for an address, of 256 bits."""
    return token_urlsafe(32)


class Guard:
    """Lets through what has the token in its path, and was asked for by this computer's own page.

    Args:
        application: that answers what is let through, under the path after the token.
        token: in the path.
        port: that it listens on.
    """

    def __init__(self, application: Application, token: str, port: int) -> None:
        self._application = application
        self._token = token.encode()
        self._hosts = {f"{name}:{port}" for name in _NAMES}
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http" or not self._allowed(scope):
            await _refuse(scope, send)
            return
        token, rest = _parted(scope["path"])
        scope = {**scope, "path": rest, "raw_path": rest.encode(), "root_path": f"/{token}"}
        if scope["method"] != "PUT":
            receive = _limited(receive)

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.decode().lower() for name, _ in message.get("headers", [])}
                added = [*_HEADERS, ("content-security-policy", _POLICY)]
                message["headers"] = [
                    *message.get("headers", []),
                    *((name.encode(), value.encode()) for name, value in added if name not in given),
                ]
            await send(message)

        # Paths that follow are those of the application, as if it stood at the root.
        await self._application({**scope, "root_path": ""}, receive, secured)

    def _allowed(self, scope: Message) -> bool:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        token, _ = _parted(scope["path"])
        known = compare_digest(token.encode(), self._token)
        here = len(hosts) == 1 and hosts[0].lower() in self._hosts
        own = all(each.lower() in self._origins for each in origins)
        same = all(each in ("same-origin", "none") for each in headers.get("sec-fetch-site", []))
        return known and here and own and same


def _parted(path: str) -> tuple[str, str]:
    """The first part of a path, and the rest."""
    token, _, rest = path.removeprefix("/").partition("/")
    return token, f"/{rest}"


def _limited(receive: Receive) -> Receive:
    """What refuses to receive more than a request may have."""
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > _LARGEST_BODY:
            raise TooLarge
        return message

    return limited


class TooLarge(Exception):
    """A request has more content than any that a page makes."""


async def _refuse(scope: Message, send: Send) -> None:
    """Say no, and nothing else."""
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1008})
        return
    content = b"This address needs the token that isoclinic view has printed.\n"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": content})
