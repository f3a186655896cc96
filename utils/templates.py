"""Templates of pages and texts, in which a name that is not given is an error."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def templates_in(*folders: Path, markup: bool) -> Environment:
    """The templates in some folders, the first of a name; `markup` escapes what is put into HTML."""
    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=markup,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
