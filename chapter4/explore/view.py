"""One interactive figure that needs nothing else: a still picture, controls and data.

It also carries the script that moves the picture.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; }}
body {{ font-family: system-ui, sans-serif; line-height: 1.5; margin: 1rem auto; \
max-width: 52rem; padding: 0 0.5rem; }}
</style>
</head>
<body>
<main>
{figure}
</main>
</body>
</html>
"""

# JupyterLab uses arrow keys and letters for its own commands, except inside an element
# with the attribute data-lm-suppress-shortcuts.
_FIGURE = """<figure class="explorer" data-script="{script}" role="group" \
aria-label="{title}" data-lm-suppress-shortcuts="true">
<style>
{css}
</style>
<div class="explorer-controls" data-part="controls" hidden>
{controls}
</div>
<div class="explorer-stage" data-part="stage">
{stage}
</div>
<p class="explorer-said" data-part="said" role="status">{said}</p>
<p class="explorer-off" data-part="off">This is a still picture: its controls appear \
where scripts may run.</p>
<figcaption>{caption}</figcaption>
<script type="application/json" data-part="data">{data}</script>
<script>
(() => {{
"use strict";
{code}
}})();
</script>
</figure>
"""


@dataclass(frozen=True)
class _Control:
    """The fields of a slider and of a list, which explain them."""

    name: str
    label: str
    values: Sequence[str]
    start: int = 0


class Slider(_Control):
    """A range with a few named positions.

    The script gets the position, from 0 to n - 1.

    Attributes:
        name: The name that the script uses.
        label: The words before the slider.
        values: The words for each position.
        start: The position of the still picture.
    """

    def html(self) -> str:
        """The labelled control, with the chosen value beside it."""
        words = [str(value) for value in self.values]
        # The words of the label are the control's name, so that the output is outside
        # it. The output is not spoken: the slider's own value text is.
        return (
            "<div"
            f' class="explorer-control"><label><span>{html.escape(self.label)}</span>'
            f' <input type="range" min="0" max="{len(words) - 1}" step="1"'
            f' value="{self.start}" autocomplete="off"'
            f' data-control="{html.escape(self.name)}"'
            f' data-values="{html.escape(json.dumps(words))}"'
            f' aria-valuetext="{html.escape(words[self.start])}"></label> <output'
            f' aria-live="off">{html.escape(words[self.start])}</output></div>'
        )


class Choice(_Control):
    """A list to choose one entry from.

    The script gets the position, from 0 to n - 1.

    Attributes:
        name: The name that the script uses.
        label: The words before the list.
        values: The words for each position.
        start: The position of the still picture.
    """

    def html(self) -> str:
        """The labelled list."""
        options = "".join(
            f'<option value="{i}"{" selected" if i == self.start else ""}>'
            f"{html.escape(str(value))}</option>"
            for i, value in enumerate(self.values)
        )
        return (
            f'<label class="explorer-control"><span>{html.escape(self.label)}</span>'
            f' <select data-control="{html.escape(self.name)}"'
            f' autocomplete="off">{options}</select></label>'
        )


@dataclass(frozen=True)
class Explorer:
    """An interactive figure for a notebook, the book or a page of its own.

    A notebook shows it when it is the last value of a cell, and the book shows it in
    the place of that cell. ``.save(path)`` writes a page of its own.

    The figure needs no network and no server. Where scripts are off it is the still
    picture of the first setting with its caption. Two figures on one page do not affect
    each other.

    Attributes:
        title: What the figure is; a screen reader reads it as the name of the group.
        controls: The controls in their order.
        stage: HTML of the pictures at the first setting. Whoever makes it escapes any
            text that comes from outside.
        said: The words that go with the pictures, as plain text. A screen reader speaks
            them when they change.
        caption: The caption as plain text.
        data: Anything that JSON can hold.
        script: The name of a file of this package, ``NAME.js``, which calls
            ``explore(prepare)``. explore.js says how.
    """

    title: str
    controls: Sequence[Slider | Choice]
    stage: str
    said: str
    caption: str
    data: Mapping[str, Any] = field(repr=False)
    script: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a page that holds only this figure.

        Args:
            path: Where to write the page; an existing file is replaced.

        Returns:
            The path of the page.
        """
        path = Path(path)
        page = _PAGE.format(title=html.escape(self.title), figure=self._repr_html_())
        path.write_text(page, encoding="utf-8")
        return path

    def __repr__(self) -> str:
        size = len(self._repr_html_())
        return (
            f"Explorer({self.title!r}, {size:,} characters; .save('explorer.html')"
            " writes a page for any browser)"
        )

    def _repr_html_(self) -> str:
        code = file_text("explore.js") + file_text(self.script)
        code = code.replace("SCRIPT_NAME", json.dumps(self.script))
        return _FIGURE.format(
            script=html.escape(self.script),
            title=html.escape(self.title),
            css=file_text("explore.css"),
            controls="\n".join(control.html() for control in self.controls),
            stage=self.stage,
            said=html.escape(self.said),
            caption=html.escape(self.caption),
            data=as_json(self.data),
            code=code,
        )


def as_json(data: Any) -> str:
    """Data as JSON that is safe inside a script element.

    It contains no "<", so that nothing in it can end the element.

    Args:
        data: Anything that JSON can hold.

    Raises:
        ValueError: For NaN and infinite numbers, which JSON does not have.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028")


def file_text(name: str) -> str:
    """A script or style sheet of this folder."""
    return (HERE / name).read_text(encoding="utf-8")
