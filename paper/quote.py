"""Puts the code that paper/code.md and its Chinese page explain where their markers stand, as it is now.

    python paper/quote.py

A marker names a file and what to quote, and may cut a part out of it by what its first and last line begin
with:

    <!-- quote alexnet/model.py LocalResponseNorm.plain -->
    <!-- quote alexnet/model.py AlexNet.__init__ | with torch.device | self.fc8 -->
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "paper/code.md", ROOT / "paper/code.zh-CN.md")
MARKER = re.compile(r"(<!-- quote (\S+) ([^|]+?)(?: \| (.+?) \| (.+?))? -->\n"
                    r"```python\n).*?(```\n)", re.DOTALL)


def quoted(file: str, name: str, first: str | None = None, last: str | None = None) -> str:
    """The source of a class, function or value, by its name in a file; ValueError if it is not there."""
    text = (ROOT / file).read_text("utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        node = next((one for one in getattr(node, "body", []) if part in names(one)), None)
        if node is None:
            raise ValueError(f"{file} has no {name}")
    begin = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
    lines = text.splitlines()[begin - 1:node.end_lineno]
    for mark in filter(None, (first, last)):
        if not any(line.strip().startswith(mark) for line in lines):
            raise ValueError(f"{file}: no line of {name} begins with {mark}")
    if first and last:
        starts = [line.strip() for line in lines]
        where = next(number for number, line in enumerate(starts) if line.startswith(first))
        end = next(number for number, line in enumerate(starts) if number >= where and line.startswith(last))
        lines = lines[where:end + 1]
    return textwrap.dedent("\n".join(lines)) + "\n"


def names(node: ast.AST) -> list[str]:
    """What a statement defines."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [target.id for target in targets if isinstance(target, ast.Name)]
    return [getattr(node, "name", "")]


def filled(page: str) -> str:
    """A page with its quotations as the code is now."""
    return MARKER.sub(lambda found: found[1] + quoted(*found.group(2, 3, 4, 5)) + found[6], page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text("utf-8")), "utf-8")
