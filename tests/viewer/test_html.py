"""The pieces that pages are made of."""

from __future__ import annotations

import re

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup
from matplotlib.figure import Figure

from isoclinic.viewer.html import bullets, card, cell, figure_svg, fill, folded, heading, table


def test_text_is_escaped_and_markup_is_not():
    assert card("<b>", Markup("<i>x</i>")) == '<section class="card"><h2>&lt;b&gt;</h2><i>x</i></section>'
    assert cell("<b>", "number", "<i>") == '<td class="number">&lt;b&gt;<small>&lt;i&gt;</small></td>'
    assert heading("a & b") == '<th scope="row">a &amp; b</th>'
    assert bullets(["<b>"]) == "<ul><li>&lt;b&gt;</li></ul>"
    assert "<td" in table([heading("a")], [[cell("b")]]) and "&lt;td" not in table([], [[cell("b")]])


def test_a_folded_section_opens_on_demand():
    section = folded("Checks", Markup("<p>x</p>"), "3 of them")
    assert re.search(r"<details><summary><h2>Checks</h2><span[^>]*>3 of them</span></summary><p>x", section)


def test_a_template_that_lacks_a_value_is_not_filled():
    with pytest.raises(UndefinedError):
        fill("sides.html", pose="start", letters=[("left", "R")])


def test_logarithmic_axes_have_plain_numbers():
    """And names with dollar signs stay what they are."""

    def draw() -> Figure:
        figure = Figure()
        axes = figure.subplots()
        axes.plot([1, 2, 3], [30.0, 3.0, 0.4], label="$x$")
        axes.set_yscale("log")
        axes.legend()
        return figure

    texts = re.findall(r">([^<]+)<", figure_svg(draw, "a & b"))
    assert {"1", "10", "$x$"} <= {text.strip() for text in texts}
    assert not any("mathdefault" in text for text in texts)
    assert 'aria-label="a &amp; b"' in figure_svg(draw, "a & b")
