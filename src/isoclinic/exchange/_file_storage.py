"""What OpenCV's `cv2.FileStorage` writes in YAML and XML, as the JSON that it writes under another name.

Read are matrices and numbers at the top level, which is all that a camera and its pose consist of; see
"XML/YAML/JSON Persistence", https://docs.opencv.org/4.x/d4/da4/group__core__xml.html. The YAML of ROS's
camera calibration has the same matrices.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

# An entry at the top level: its name, what follows on the line, and the lines that are further in.
_ENTRY = re.compile(r"^([\w-]+)[ ]*:[ ]*(.*)\n((?:[ \t]+.*\n|[ \t]*\n)*)", re.MULTILINE)
_FIELD = re.compile(r"^[ \t]+(rows|cols)[ ]*:[ ]*(\d{1,9})[ ]*$", re.MULTILINE)
_DATA = re.compile(r"^[ \t]+data[ ]*:[ ]*\[(.*?)\]", re.MULTILINE | re.DOTALL)


def from_text(text: str) -> dict[str, Any] | None:
    """Entries by name: numbers, and matrices as {"rows", "cols", "data"}; None for other text.

    What is neither is left out, and what should be a matrix but is not lacks "data".
    """
    if re.match(r"\s*(<\?xml[^>]*\?>)?\s*<opencv_storage\b", text):
        return _from_xml(text)
    if text.startswith("%YAML") or re.search(r"^camera_matrix[ ]*:", text, re.MULTILINE):
        return _from_yaml(text)
    return None


def _from_yaml(text: str) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value, block in _ENTRY.findall(f"{text}\n"):
        fields: dict[str, Any] = {key: int(number) for key, number in _FIELD.findall(block)}
        if data := _DATA.search(block):
            fields["data"] = _numbers(data[1].replace(",", " "))
        number = _numbers(value)
        if fields:
            document[name] = fields
        elif len(number) == 1:
            document[name] = number[0]
    return document


def _from_xml(text: str) -> dict[str, Any] | None:
    if "<!" in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL):  # OpenCV writes no declarations
        return None
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    document: dict[str, Any] = {}
    for element in root:
        fields: dict[str, Any] = {}
        for part in element:
            numbers = _numbers(part.text or "")
            if part.tag == "data":
                fields["data"] = numbers
            elif part.tag in ("rows", "cols") and len(numbers) == 1:
                fields[part.tag] = numbers[0]
        number = _numbers(element.text or "")
        if fields:
            document[element.tag] = fields
        elif len(number) == 1:
            document[element.tag] = number[0]
    return document


def _numbers(text: str) -> list[float]:
    """The numbers in a text, OpenCV's .Nan and .Inf among them; empty if something in it is no number."""
    try:
        return [float(re.sub(r"^([+-]?)\.(?=[NnIi])", r"\1", word)) for word in text.split()]
    except ValueError:
        return []
