"""Nobody gets in but the page itself: by token, host, origin and size."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from .conftest import Served, serving


@pytest.fixture(scope="module")
def served(files, tmp_path_factory) -> Iterator[Served]:
    """One page for all of these."""
    with serving(tmp_path_factory.mktemp("guarded")) as serve:
        yield serve(files.ct, files.xray, "--init", files.init)


def test_the_page_and_its_parts_are_there(served: Served):
    page = served.ask("")
    assert page.status == 200 and b"isoclinic view" in page.content
    for name in ("style.css", "main.js", "pose.js"):
        assert served.ask(f"page/{name}").status == 200
    assert served.state["ready"] is True


def test_only_this_computer_can_connect(served: Served):
    """The port is bound to the loopback address; another address of this computer does not answer."""
    port = int(served.host.partition(":")[2])
    assert served.host.startswith("127.0.0.1:")
    with socket.socket() as other:
        other.bind(("127.0.0.2", port))  # which fails if the server had bound all addresses


@pytest.mark.parametrize("token", ["", "x", "wrong" * 8, "%2e%2e"])
def test_without_the_token_nothing_is_told(served: Served, token: str):
    for path in ("state", "", "page/main.js", "results/1/pose.json"):
        answer = served.ask(f"/{token}/{path}" if token else f"/{path}", whole=True)
        assert answer.status == 403
        assert b"phantom" not in answer.content and served.path.encode() not in answer.content


def test_a_token_that_begins_right_is_wrong(served: Served):
    right = served.path.strip("/")
    assert len(right) >= 43  # 256 bits
    for token in (right[:-1], right + "A", right.swapcase()):
        assert served.ask(f"/{token}/state", whole=True).status == 403
    assert served.ask(f"/{right}/state", whole=True).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}"]
)
def test_another_host_name_is_refused(served: Served, host: str):
    """A page whose name was pointed to this computer after it was loaded sends that name."""
    port = served.host.partition(":")[2]
    assert served.ask("state", headers={"Host": host.format(port=port)}).status == 403
    assert served.ask("state", headers={"Host": f"localhost:{port}"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_requests_of_other_pages_are_refused(served: Served, headers: dict[str, str]):
    body = {"do": "goto", "revision": served.state["revision"], "step": 0}
    assert served.ask("change", body, headers=headers).status == 403
    own = {"Origin": f"http://{served.host}", "Sec-Fetch-Site": "same-origin"}
    assert served.ask("change", body, headers=own).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("page/../server.py", "page/..%2fserver.py", "page/server.py", "page/index.html"),
        *(
            "results/1/../../workspace.sqlite",
            "results/1/workspace.sqlite",
            "results/1/..%2f..%2fworkspace.sqlite",
        ),
        *("results/0/pose.json", "results/1/pose.json", "out/workspace.sqlite", "..%2fstate", "/etc/passwd"),
    ],
)
def test_no_path_leads_out(served: Served, path: str):
    assert served.ask(path).status in (403, 404)


def test_answers_forbid_what_the_page_does_not_need(served: Served):
    for path in ("", "state", "page/main.js"):
        headers = served.ask(path).headers
        policy = headers["content-security-policy"]
        assert (
            "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        )
        assert headers["referrer-policy"] == "no-referrer" and headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff" and "server" not in headers


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"null", b"\xff", b'{"do": 3}', b'{"do": "pose"}', b"[" * 100_000]
)
def test_what_no_page_sends_is_refused(served: Served, content: bytes):
    before = served.state
    answer = served.ask("change", content, method="POST")
    assert (answer.status, answer.document["code"]) in ((422, "view.invalid-request"), (409, "view.conflict"))
    assert served.state == before


def test_too_much_at_once_is_refused(served: Served):
    answer = served.ask("change", b"x" * 5_000_000)
    assert (answer.status, answer.document["code"]) == (413, "view.too-large")
    assert served.state["ready"] is True


def test_answers_are_sent_at_once(served: Served):
    """Not after the acknowledgement of their first half, for which a client may take 40 ms."""
    connection = HTTPConnection(served.host, timeout=10)
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        connection.request("GET", served.path + "page/pose.js")
        connection.getresponse().read()
        taken.append(time.perf_counter() - began)
    connection.close()
    assert min(taken[1:]) < 0.03
