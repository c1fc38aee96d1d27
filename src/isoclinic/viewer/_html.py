"""Pieces of a self-contained page: everything from outside is escaped, every picture is inside."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from io import BytesIO, StringIO
from string import Template
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray
from PIL import Image

from .. import __version__
from .convergence import ConvergenceStage, convergence_figure

# Stands in a figure for the colour of the page's text, which is not known before the page is seen.
_INK = "#010203"
_PAGE_STYLE: Any = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "legend.facecolor"), "none"),
    "svg.fonttype": "none",
    "svg.hashsalt": "isoclinic",  # the same ids every time
    "text.parse_math": False,
}
_NO_METADATA: dict[str, None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def resource(name: str) -> str:
    """Text of a file of the report's template."""
    return (files(__package__) / "report_template" / name).read_text(encoding="utf-8")


def fill(file: str, /, **values: str) -> str:
    """A file of the template with its $names replaced by HTML.

    Raises:
        KeyError: a name without a value.
    """
    return Template(resource(file)).substitute(values)


def document(*, title: str, script: str, body: str, style: str = "", status: str = "") -> str:
    """A whole page around a body, which may load nothing and run no script but this one.

    Args:
        title: of the window.
        style: CSS besides the report's.
        script: JavaScript, run where the page ends.
        body: HTML.
        status: for the style to select by.
    """
    return fill(
        "document.html",
        title=escape(title),
        version=escape(__version__),
        style=resource("style.css") + style,
        script=script,
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        body=body,
        status=status,
    )


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """Grey [H, W] or RGBA [H, W, 4] as a PNG within a data URI."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def card(title: str, body: str) -> str:
    """A section under a heading."""
    return f'<section class="card"><h2>{escape(title)}</h2>{body}</section>'


def bullets(lines: Sequence[str]) -> str:
    """A list of texts."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table of cells; the first of every row names it."""
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    head = "".join(header)
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def column(text: str, kind: str = "") -> str:
    """Name of a column."""
    return f'<th scope="col" class="{kind}">{escape(text)}</th>'


def heading(text: str, note: str = "") -> str:
    """First cell of a row."""
    small = f"<small>{escape(note)}</small>" if note else ""
    return f'<th scope="row">{escape(text)}{small}</th>'


def cell(text: str, kind: str = "") -> str:
    """Any other cell of a row."""
    return f'<td class="{kind}">{escape(text)}</td>'


def convergence_svg(stages: Sequence[ConvergenceStage]) -> str:
    """`convergence_figure` as an SVG element."""
    return figure_svg(lambda: convergence_figure(stages), "Cost against iteration, one curve a stage")


def figure_svg(draw: Callable[[], Figure], label: str) -> str:
    """A figure as an SVG element in the colours and the font of the page around it.

    Args:
        draw: makes the figure, in the page's style.
        label: for those who cannot see it.
    """
    file = StringIO()
    with mpl.rc_context(_PAGE_STYLE):
        figure = draw()
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
            if axis.get_scale() == "log":
                axis.set_major_formatter(_PlainLogFormatter())
                axis.set_minor_formatter(_PlainLogFormatter())
        figure.savefig(file, format="svg", metadata=_NO_METADATA)
    svg = file.getvalue()
    svg = re.sub(r"<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    attributes = f'<svg role="img" aria-label="{escape(label)}" '
    return svg.replace(_INK, "currentColor").replace("<svg ", attributes, 1)


class _PlainLogFormatter(LogFormatter):
    """Labels of the usual ticks as plain numbers: with `text.parse_math` off, powers would be TeX source."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""
