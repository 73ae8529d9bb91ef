"""What the pages of results/ share: a made part between two marks, pictures, percentages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Sequence

from alexnet.files import write_text


def fill(page: Path, mark: str, lines: Sequence[str], title: str = "") -> None:
    """Writes `lines` between `<!-- mark -->` and `<!-- /mark -->` (of `claim C8`: `<!-- /claim -->`), and leaves
    what people wrote around them. A page that does not exist yet begins with its title."""
    end = f"<!-- /{mark.split()[0]} -->"
    text = page.read_text("utf-8") if page.exists() else f"# {title}\n\n<!-- {mark} -->\n{end}\n"
    write_text(page, re.sub(rf"(<!-- {mark} -->\n).*?({end})",
                            lambda match: match[1] + "".join(f"{line}\n" for line in lines) + match[2], text, flags=re.S))


def picture(folder: Path, name: str) -> list[str]:
    """The Markdown of a picture in the folder, if it was drawn; `name` may lead into a folder below."""
    return [f"![{Path(name).stem}]({name})", ""] if (folder / name).exists() else []


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}%"
