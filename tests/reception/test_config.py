"""Settings of the reception that make no sense are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclinic.errors import UsageError
from isoclinic.reception import ReceptionConfig


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"port": 0}, "port"),
        ({"port": 65536}, "port"),
        ({"health_port": -1}, "health_port"),
        ({"poll_s": 0.0}, "poll_s"),
        ({"settle_s": -1.0}, "settle_s"),
        ({"settle_s": float("nan")}, "settle_s"),
        ({"timeout_s": float("inf")}, "timeout_s"),
        ({"largest_mb": 0.0}, "largest_mb"),
        ({"attempts": 0}, "attempts"),
        ({"connections": 0}, "connections"),
        ({"ae_title": "A" * 17}, "ae_title"),
        ({"ae_title": "  "}, "ae_title"),
        ({"allow": ("ARM\\1",)}, "allow"),
        ({"webhook": "ftp://host/x"}, "webhook"),
        ({"webhook": "http://[bad"}, "webhook"),
        ({"webhook": "https:///nowhere"}, "webhook"),
        ({"igtl": 0}, "igtl"),
        ({"igtl_name": "a b"}, "igtl_name"),
        ({"igtl_name": "elevenchars"}, "igtl_name"),
        ({"igtl_name": ""}, "igtl_name"),
        ({"send": "archive"}, "send"),
        ({"send": "archive:0"}, "send"),
        ({"send": "archive:65536"}, "send"),
        ({"send": "http://archive:104"}, "send"),
        ({"send": "::1:104"}, "send"),
        ({"send": "PACS@archive:104"}, "send"),
        ({"send_ae_title": "A" * 17}, "send_ae_title"),
        ({"tls_certificate": Path("c.pem")}, "tls_key"),
        ({"tls_ca": Path("ca.pem")}, "tls_certificate"),
        ({"port": 11112, "host": "0.0.0.0"}, "allow"),
    ],
)
def test_a_wrong_value_is_named(wrong, named):
    with pytest.raises(UsageError) as raised:
        ReceptionConfig(**wrong)
    assert named in raised.value.parameters


@pytest.mark.parametrize(
    "right",
    [
        {"port": 1, "health_port": 65535},
        {"settle_s": 0.0, "patience_s": 0.0},
        {"ae_title": "A" * 16, "allow": ("C-ARM 1",)},
        {"webhook": "https://user:secret@host:8443/x?y"},
        {"port": 11112, "host": "0.0.0.0", "allow": ("ARM",)},
        {"port": 11112, "host": "::1"},
        {"port": 11112, "host": "localhost"},
        {"host": "0.0.0.0"},
        {"igtl": 18944, "igtl_name": "tencharsXX", "igtl_host": "0.0.0.0"},
        {"send": "archive:104", "send_ae_title": "PACS"},
        {"send": "[::1]:104"},
        {"send": "10.0.0.7:11112"},
    ],
)
def test_what_makes_sense_is_taken(right):
    assert ReceptionConfig(**right)
