"""What mkdocs is given beside its plugins: formulas as MathML, and the project's own files as pages.

Pages link to files outside ``docs/`` (recipes, examples, the changelog), as readers on GitHub need. Here a recipe's
file leads to its section in the reference, and any other file to a page that shows it. Formulas become MathML while the
site is built, which every current browser draws: no script, no font, nothing to fetch.
"""

from __future__ import annotations

import ast
import html
import posixpath
import re
import sys
from pathlib import Path
from typing import Any, Final

import yaml
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
LINK: Final = re.compile(r"(\]\()((?!\w+:|#)[^)\s]+)(\))")
FENCE: Final = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
FORMULA: Final = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
ERRORS: Final = "reference/every_error.md"
"""The page of every error, which is written while the site is built: its messages change with the sources."""
SHOWN: Final = "files"
"""The folder of the pages that show files."""
LANGUAGES: Final = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".md": "markdown", ".ipynb": "json"}


def page_of_file(path: str) -> str:
    """The page on which a file of the project stands; ``path`` from the root.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if (folder := ROOT / path).is_dir():
        return f"{SHOWN}/{path}/index.md"
    if not folder.is_file():
        raise FileNotFoundError(path)
    if posixpath.dirname(path) == "recipes" and path.endswith(".yaml"):
        text = yaml.safe_load(folder.read_text(encoding="utf-8"))
        family = text["family"].replace(",", "").replace(" ", "_")
        return f"reference/recipes/{family}.md#{folder.stem}"
    return f"{SHOWN}/{path.removesuffix('.md')}.md"


def outward(text: str, base: str) -> dict[str, str]:
    """Links that leave ``docs/``, with the file of the project that each means; ``base`` is the text's folder."""
    found = {}
    for _, target, _ in LINK.findall(FENCE.sub("", text)):
        full = posixpath.normpath(posixpath.join(base, target.partition("#")[0]))
        if not full.startswith(("docs/", "..")):
            found[target] = full
    return found


def content_of(path: str) -> str:
    """The page that shows a file: text of Markdown as it is, a folder as a list, all else as code."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(one.name for one in file.iterdir() if one.is_file() and not one.name.startswith((".", "_")))
        return f"# {path}\n\n" + "\n".join(f"- [{name}]({name})" for name in names)
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return text
    return f"# {path}\n\n````{LANGUAGES.get(file.suffix, 'text')}\n{text}````\n"


def every_error() -> str:
    """The page of every error that the sources raise, by room: what it says, what stands in braces being filled in."""
    package = ROOT / "src" / "leanthink"
    names = {
        node.name
        for file in ("core/errors.py", "verify/service.py")
        for node in ast.parse((package / file).read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    }
    rooms: dict[str, list[str]] = {}
    for path in sorted({*package.rglob("*.py"), *(ROOT / "rewards").glob("*.py"), *(ROOT / "algorithms").glob("*.py")}):
        inner = path.relative_to(package if path.is_relative_to(package) else ROOT)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            raised = node.exc if isinstance(node, ast.Raise) else None
            if not (isinstance(raised, ast.Call) and isinstance(raised.func, ast.Name) and raised.func.id in names):
                continue
            if raised.args and (said := message(raised.args[0])):
                told = f"- **{raised.func.id}** (`{inner}`): ``{said}``"
                rooms.setdefault(inner.parts[0].removesuffix(".py"), []).append(told)
    count = sum(map(len, rooms.values()))
    lines = [
        "# Every error",
        "",
        f"The {count} errors that are raised with words of their own; the search finds them.",
        "",
    ]
    for room, told in sorted(rooms.items()):
        lines += [f"## {room}", "", *told, ""]
    return "\n".join(lines)


def message(node: ast.expr) -> str:
    """What an error says, with the names of what is filled in between braces; empty where it is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.split())
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            parts.append("{" + ast.unparse(part.value).replace("`", "'") + "}")
        elif isinstance(part, ast.Constant):
            parts.append(str(part.value).replace("`", "'"))
    return " ".join("".join(parts).split())


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the page of every error, and a page for each file that a page links to, and for those that these link to."""
    files.append(File.generated(config, ERRORS, content=every_error()))
    todo = [(f"docs/{one.src_uri}", one.content_string) for one in files.documentation_pages()]
    while todo:
        page, text = todo.pop()
        for path in outward(text, posixpath.dirname(page)).values():
            try:
                name = page_of_file(path).partition("#")[0]
            except FileNotFoundError:
                continue  # mkdocs tells of it, with the page
            if name.startswith(f"{SHOWN}/") and files.get_file_from_path(name) is None:
                content = content_of(path)
                files.append(File.generated(config, name, content=content, inclusion=InclusionLevel.NOT_IN_NAV))
                todo.append((name.removeprefix(f"{SHOWN}/"), content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links that leave ``docs/`` to the pages of their files."""
    source = page.file.src_uri
    here = posixpath.dirname(source)
    shown = source.startswith(f"{SHOWN}/")  # whose links are read from where the file lies
    base = posixpath.dirname(source.removeprefix(f"{SHOWN}/")) if shown else posixpath.join("docs", here)

    def lead(match: re.Match[str]) -> str:
        opened, target, closed = match.groups()
        path, _, anchor = target.partition("#")
        full = posixpath.normpath(posixpath.join(base, path))
        if full.startswith(".."):
            return match[0]
        if full.startswith("docs/"):
            new = full.removeprefix("docs/")
        else:
            try:
                new = page_of_file(full)
            except FileNotFoundError:
                return match[0]
        new, _, own = new.partition("#")
        anchor = own or anchor
        return f"{opened}{posixpath.relpath(new, here or '.')}{'#' + anchor if anchor else ''}{closed}"

    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [LINK.sub(lead, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(lead, markdown[end:])])


def on_page_content(html_text: str, page: Page, **more: Any) -> str:
    """Makes formulas MathML."""

    def drawn(match: re.Match[str]) -> str:
        text = html.unescape(match[2]).strip()
        inner = text.removeprefix("\\(").removesuffix("\\)").removeprefix("\\[").removesuffix("\\]").strip()
        try:
            return convert(inner, display="block" if match[1] == "div" else "inline")
        except Exception as error:  # what the converter raises is of no one kind
            print(f"{page.file.src_uri}: formula {inner!r}: {error}", file=sys.stderr)
            raise

    return FORMULA.sub(drawn, html_text)


def on_post_build(config: MkDocsConfig) -> None:
    """Puts the search index into a script, too, from which the theme reads it where the site lies on a disk."""
    folder = Path(config.site_dir) / "search"
    index = (folder / "search_index.json").read_text(encoding="utf-8")
    (folder / "search_index.js").write_text(f"var __index = {index}", encoding="utf-8")
