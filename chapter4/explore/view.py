"""One interactive figure that stands alone: a still picture, controls, data and the
script that moves it.
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
body {{ font-family: system-ui, sans-serif; line-height: 1.5; margin: 1rem auto; max-width: 52rem; padding: 0 0.5rem; }}
</style>
</head>
<body>
<main>
{figure}
</main>
</body>
</html>
"""

# JupyterLab takes arrow keys and letters for its own commands, except inside an element marked so.
_FIGURE = """<figure class="explorer" data-script="{script}" role="group" aria-label="{title}" \
data-lm-suppress-shortcuts="true">
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
<p class="explorer-off" data-part="off">This is a still picture: its controls appear where scripts may run.</p>
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
class Slider:
    """A range with a few named positions. The script gets the position, 0 to n - 1.

    name: for the script. label: what stands before it. values: the words of each
    position. start: the position of the still picture.
    """

    name: str
    label: str
    values: Sequence[str]
    start: int = 0

    def html(self) -> str:
        """The labelled control, with what is chosen beside it."""
        words = [str(value) for value in self.values]
        # The output is outside the label, whose words are the control's name, and is not spoken: the slider's own
        # value text is.
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


@dataclass(frozen=True)
class Choice:
    """A list to choose one from; fields as in `Slider`. The script gets the position."""

    name: str
    label: str
    values: Sequence[str]
    start: int = 0

    def html(self) -> str:
        """The labelled list."""
        options = "".join(
            "<option"
            f' value="{i}"{" selected" if i == self.start else ""}>{html.escape(str(value))}</option>'
            for i, value in enumerate(self.values)
        )
        return (
            f'<label class="explorer-control"><span>{html.escape(self.label)}</span>'
            f' <select data-control="{html.escape(self.name)}"'
            f' autocomplete="off">{options}</select></label>'
        )


@dataclass(frozen=True)
class Explorer:
    """An interactive figure. A notebook shows it when it is a cell's last value, the
    book shows it where the cell stands, and `.save(path)` writes a page of its own.

    It asks nothing of any network and needs no server; where scripts are off it is the
    still picture of the first setting with its caption. Two on one page do not meet.

    title: what it is, the group's name for a screen reader. controls: in their order.
    stage: HTML of the pictures at the first setting; whoever makes it escapes what came
    from outside. said: the words that go with it, plain text, spoken when they change.
    caption: plain text. data: anything that JSON holds. script: a file of this package,
    `NAME.js`, which calls `explore(prepare)`; explore.js says how.
    """

    title: str
    controls: Sequence[Slider | Choice]
    stage: str
    said: str
    caption: str
    data: Mapping[str, Any] = field(repr=False)
    script: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a page with this figure alone to `path` and return that path."""
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
        code = (_file("explore.js") + _file(self.script)).replace(
            "SCRIPT_NAME", json.dumps(self.script)
        )
        return _FIGURE.format(
            script=html.escape(self.script),
            title=html.escape(self.title),
            css=_file("explore.css"),
            controls="\n".join(control.html() for control in self.controls),
            stage=self.stage,
            said=html.escape(self.said),
            caption=html.escape(self.caption),
            data=as_json(self.data),
            code=code,
        )


def as_json(data: Any) -> str:
    """JSON that can stand inside a script element: no "<", so nothing in it ends the
    element. ValueError for NaN and infinite numbers, which JSON does not have.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
