"""Pages of one file that load nothing from elsewhere: templates with one head, one style and one script."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.templates import templates_in

FOLDER = Path(__file__).parent
NUMERIC = set("0123456789.,+-±%∞†to \u00a0—")  # of which cells of numbers and intervals are made


def render(template: Path, **values: Any) -> str:
    """Fill in a template that extends base.html; tables that the template shows can be sorted."""
    environment = templates_in(template.parent, FOLDER, markup=True)
    environment.filters["numeric"] = numeric_columns
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # Only this very script runs, whatever the data hold.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = environment.get_template(template.name).render(style=style, script=script, script_digest=digest, **values)
    # Bytes of a file name that are no UTF-8 would stop the page from being written.
    return page.lstrip().encode("utf-8", "replace").decode("utf-8")


def embedded(figure: Path) -> str:
    """The bytes of a PNG as the macro `chart` takes them."""
    return base64.b64encode(figure.read_bytes()).decode("ascii")


def numeric_columns(grid: Sequence[Sequence[str]]) -> list[bool]:
    """Tell which columns of a table hold numbers, by which they are sorted; the first is the heading of its row."""
    return [
        k > 0 and all(set(str(row[k])) <= NUMERIC for row in grid[1:]) and any(row[k] for row in grid[1:])
        for k in range(len(grid[0]) if grid else 0)
    ]
