"""Pages that are complete in themselves: what comes from outside is escaped, every picture is inside.

The pieces are `markupsafe.Markup`, made by the templates beside this module: Jinja escapes whatever is not.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from .. import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
# Of zlib: pictures a twentieth larger than the tightest, in a fifth of the time.
_COMPRESSION = 6


@cache
def environment(package: str = "isoclinic.viewer", folder: str = "report_template") -> Environment:
    """The templates of a package; they escape all that is not `Markup`, and accept no name without a value.

    They may include the templates of the report.

    Args:
        package: the package that has them.
        folder: their folder in the package.
    """
    loaders = [(package, folder), ("isoclinic.viewer", "report_template")]
    return Environment(
        loader=ChoiceLoader([PackageLoader(*each) for each in loaders]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def resource(name: str) -> str:
    """Text of a file beside the report's templates, as it is."""
    return _source(environment(), name)


def fill(template: str, /, **values: Any) -> Markup:
    """A template of the report with values, which are escaped unless they are `Markup`.

    Raises:
        jinja2.UndefinedError: a name without a value.
    """
    return Markup(environment().get_template(template).render(**values))


def summary(package: str, *, title: str, status: str, **values: Any) -> str:
    """A whole page on many results: `body.html` and `page.css` of a package's own templates.

    Args:
        package: the package that has them, in its folder `page_template`.
        title: title of the page and of the window.
        status: status by which the style sheet selects.
        values: of `body.html`.
    """
    templates = environment(package, "page_template")
    body = Markup(templates.get_template("body.html").render(title=title, **values))
    return document(title=title, script="", body=body, style=_source(templates, "page.css"), status=status)


def document(*, title: str, script: str, body: Markup, style: str = "", status: str = "") -> str:
    """A whole page around a body, which may load nothing and run no script but this one.

    Args:
        title: title of the window.
        style: CSS besides the report's.
        script: JavaScript, run where the page ends.
        body: HTML.
        status: status by which the style sheet selects.
    """
    return fill(
        "document.html",
        title=title,
        version=__version__,
        style=Markup(resource("style.css") + style),
        script=Markup(script),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        body=body,
        status=status,
    )


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """Grey [H, W] or RGBA [H, W, 4] as a PNG within a data URI."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="png", compress_level=_COMPRESSION)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def card(title: str, body: Markup) -> Markup:
    """A section under a heading."""
    return _macro("card", title, body)


def folded(title: str, body: Markup, note: str = "") -> Markup:
    """A section that shows its heading, with a note beside it, until it is opened."""
    return _macro("folded", title, body, note)


def bullets(lines: Sequence[str]) -> Markup:
    """A list of texts."""
    return _macro("bullets", lines)


def table(header: Sequence[Markup], rows: Sequence[Sequence[Markup]], kind: str = "") -> Markup:
    """A table of cells; the first of every row names it."""
    return _macro("table", header, rows, kind)


def column(text: str, kind: str = "") -> Markup:
    """Name of a column."""
    return _macro("column", text, kind)


def heading(text: str, note: str = "") -> Markup:
    """First cell of a row."""
    return _macro("heading", text, note)


def cell(text: str, kind: str = "", note: str = "") -> Markup:
    """Any other cell of a row."""
    return _macro("cell", text, kind, note)


def figure_svg(draw: Callable[[], Figure], label: str) -> Markup:
    """A figure as an SVG element in the colours and the font of the page around it.

    Args:
        draw: makes the figure, in the page's style.
        label: text for readers who cannot see it.
    """
    import matplotlib as mpl  # it takes long to import, and few pages need it

    file = StringIO()
    with mpl.rc_context(_PAGE_STYLE):
        figure = draw()
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
            if axis.get_scale() == "log":
                axis.set_major_formatter(_plain_log_formatter())
                axis.set_minor_formatter(_plain_log_formatter())
        figure.savefig(file, format="svg", metadata=_NO_METADATA)
    svg = file.getvalue()
    svg = re.sub(r"<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    attributes = Markup('<svg role="img" aria-label="{}" ').format(label)
    return Markup(svg.replace(_INK, "currentColor").replace("<svg ", attributes, 1))


def _plain_log_formatter() -> Any:
    """Labels of the usual ticks as plain numbers: with `text.parse_math` off, powers would be TeX source."""
    from matplotlib.ticker import LogFormatter

    class PlainLogFormatter(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    return PlainLogFormatter()


def _macro(name: str, *values: Any) -> Markup:
    made: Markup = getattr(environment().get_template("macros.html").module, name)(*values)
    return made


def _source(templates: Environment, name: str) -> str:
    assert templates.loader is not None
    return templates.loader.get_source(templates, name)[0]
