"""A built page's text as Markdown that plain Jupyter shows.

It has no directive, no role, and no link that leads nowhere. It is read from the HTML
and not from the source, because the HTML already has every number of a figure or
formula, every citation and every part of a problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import markdownify
from bs4 import BeautifulSoup, Tag

# Any, because its stubs leave out the methods that the class below builds on.
Converter: Any = markdownify.MarkdownConverter

# Characters that no text has. One marks the place of a code cell, one each heading.
CELL, SECTION = "\ue000", "\ue001"

# Plain Markdown has nothing like these. They are on the page only.
LEFT_OUT = "a.headerlink, p.page-facts, p.column-name, script, style, noscript, svg"
INTERACTIVE = "iframe, form, canvas, .playground"
INSTEAD = "The page has an interactive part here, which runs in the browser alone."

Links = Callable[[str], str | None]


def pieces(body: str, link: Links, pictures: Mapping[str, str]) -> list[str | None]:
    """The texts of a page in their order, as Markdown.

    Args:
        body: The page's HTML.
        link: Turns a reference inside the book, such as ``gradcam.html#cam``, into an
            address. For None, only the words of the link stay.
        pictures: The ``src`` of a picture -> its name in a notebook. Any other picture
            is replaced by its alt text.

    Returns:
        The texts; None is the place of a code cell.
    """
    soup = BeautifulSoup(body, "html.parser")
    for part in soup.select(LEFT_OUT):
        part.decompose()
    for part in soup.select(INTERACTIVE):
        if not part.decomposed and not part.find_parent(class_="cell"):
            part.replace_with(
                BeautifulSoup(f"<p><em>{INSTEAD}</em></p>", "html.parser")
            )
    for image in soup.select("figure img"):
        after = image.next_sibling
        if after is not None and str(after).isspace():
            after.extract()
    text = _Markdown(link, pictures).convert_soup(soup)
    found: list[str | None] = []
    for run in re.split(f"({CELL}|{SECTION})", text):
        if run == CELL:
            found.append(None)
        elif run.strip(f"{SECTION}\n "):
            found.append(_tidy(run))
    return found


def _tidy(text: str) -> str:
    """The text without blanks at the ends of lines."""
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")


class _Markdown(Converter):
    """Adds what markdownify does not know: cells, formulas, captions and boxes.

    It also handles folded parts and diagrams. Its methods are called by tag:
    ``convert_TAG(element, text inside, tags around)``.
    """

    def __init__(self, link: Links, pictures: Mapping[str, str]) -> None:
        super().__init__(
            heading_style=markdownify.ATX, bullets="-", escape_underscores=True
        )
        self.link, self.pictures = link, pictures

    def convert_div(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Cells become marks, formulas stay formulas, boxes become quotations."""
        kind = set(el.get("class") or ())
        if "cell" in kind:
            captions = (self.convert_soup(c) for c in el.select("figcaption"))
            return f"\n\n{CELL}\n\n" + "\n\n".join(captions) + "\n\n"
        if "math" in kind:
            return f"\n\n{_formula(el)}\n\n"
        if "code-block-caption" in kind:
            return f"\n\n{_caption(text)}\n\n"
        if "admonition" in kind and CELL not in text:
            quoted = re.sub("^", "> ", text.strip(), flags=re.MULTILINE)
            return "\n\n" + quoted.replace("> \n", ">\n") + "\n\n"
        return str(super().convert_div(el, text, parent_tags))

    def convert_span(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Formulas in a line of text."""
        if "math" not in (el.get("class") or ()):
            return text
        source = el.get_text().removeprefix(r"\(").removesuffix(r"\)").strip()
        if parent_tags & {"td", "th"}:
            source = _without_bars(source)
        return f"${source}$"

    def convert_p(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """The titles of boxes become bold."""
        if "admonition-title" in (el.get("class") or ()):
            text = f"**{' '.join(text.split())}**"
        return str(super().convert_p(el, text, parent_tags))

    def convert_hN(  # noqa: N802  # markdownify's name
        self, n: int, el: Tag, text: str, parent_tags: set[str]
    ) -> str:
        """Each heading begins a cell of its own."""
        heading = str(super().convert_hN(n, el, text, parent_tags))
        return heading if "_inline" in parent_tags else f"\n\n{SECTION}{heading}"

    def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Links to other sites stay; links inside the book change or become words."""
        href = str(el.get("href") or "")
        if "://" not in href and not href.startswith("mailto:"):
            address = self.link(href)
            if address is None:
                # A page's title takes the place of the link to it.
                return f"*{text}*" if el.select_one("span.doc") else text
            el["href"] = address
        el.attrs.pop("title", None)
        return str(super().convert_a(el, text, parent_tags))

    def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Pictures that the notebook carries; the others become their alt text."""
        alt = str(el.get("alt") or "").replace("[", "(").replace("]", ")")
        name = self.pictures.get(str(el.get("src")))
        return f"![{alt}](attachment:{name})" if name else f"({alt})"

    def convert_figcaption(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Captions of pictures."""
        return f"\n\n{_caption(text)}\n\n"

    def convert_caption(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Captions of tables."""
        return f"{_caption(text)}\n\n"

    def convert_td(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A table's cell is one line, and a bar would end it."""
        return str(super().convert_td(el, text.replace("|", r"\|"), parent_tags))

    def convert_pre(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Listings with their language; diagrams, which JupyterLab draws."""
        if "mermaid" in (el.get("class") or ()):
            return f"\n\n```mermaid\n{el.get_text().strip()}\n```\n\n"
        around = el.find_parent("div", class_=re.compile("^highlight-"))
        names = " ".join(around.get("class") or ()) if around else ""
        python = re.search(r"highlight-(?:python|ipython3|default)\b", names)
        other = re.search(r"highlight-(sh|bash|console|powershell|md|json)\b", names)
        language = "python" if python else other[1] if other else ""
        code = el.get_text().strip("\n")
        fence = "`" * max(3, 1 + _longest_run(code))
        return f"\n\n{fence}{language}\n{code}\n{fence}\n\n"

    def convert_details(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """Jupyter folds what HTML folds, if empty lines separate Markdown from tags."""
        return f"\n\n<details>\n{text.strip()}\n\n</details>\n\n"

    def convert_summary(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """The line that is still visible when a part is folded."""
        return f"\n<summary>{' '.join(text.split())}</summary>\n\n"


def _formula(el: Tag) -> str:
    """A formula on a line of its own, with the number that the page gives it."""
    number = el.select_one("span.eqno")
    label = number.extract().get_text().strip() if number else ""
    tag = rf" \tag{{{label.strip('()')}}}" if label else ""
    source = el.get_text().strip().removeprefix(r"\[").removesuffix(r"\]").strip()
    return f"$$\n{source}{tag}\n$$"


def _without_bars(source: str) -> str:
    """A formula for a table's cell, where a bar would begin the next one."""
    return source.replace(r"\|", r"\Vert ").replace("|", r"\vert ").strip()


def _caption(text: str) -> str:
    """``Figure 3 Words`` -> ``**Figure 3.** Words``."""
    words = " ".join(text.split())
    return re.sub(r"^((?:Figure|Table|Listing) [\d.]*\d)\s*", r"**\1.** ", words)


def _longest_run(code: str) -> int:
    return max((len(run) for run in re.findall("`+", code)), default=0)


def quoted(lines: list[str]) -> str:
    """Paragraphs as one Markdown quotation."""
    return "\n>\n".join(f"> {line}" for line in lines)
