"""Write the tables of ``docs/configuration.md`` from the settings' definitions; a test compares the two.

Run: ``python tools/write_config_docs.py``. The text above the tables is written by hand.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from layer2.config import Layer2Config
from layer2.provider.settings import ProviderSettings

PAGE: Final = Path(__file__).parent.parent / "docs" / "configuration.md"
_MARKER: Final = "<!-- The rest is written by tools/write_config_docs.py. -->\n"
_PROGRAMS: Final = ((Layer2Config, "layer2.toml"), (ProviderSettings, "provider.toml"))
_SHARED: Final = ("[connection_pool]", "[journal]", "[bob]", "[rootstock]", "[lightning]")
"""Tables that both files share."""
_NOTES: Final = {
    "[rootstock]": "On regtest only. The keys are those of `[bob]`.",
    "[[prices]]": "Price and limits of one pair of layers; a key that is left out is as at the top of the file.",
}


def page(written: str) -> str:
    """The whole page.

    Args:
        written: the current page; its text above the marker is kept.
    """
    text, _, _ = written.partition(_MARKER)
    return text + _MARKER + "".join(_tables())


def _tables() -> Iterator[str]:
    known: dict[str, type[BaseModel]] = {}
    for program, file in _PROGRAMS:
        for heading, prefix, model in _sections(program):
            if known.setdefault(heading, model) is not model and heading in _SHARED:
                raise AssertionError(f"{heading} differs between the two files")
            if heading in _SHARED and program is ProviderSettings:
                continue
            title = f"`{heading}`" if heading in _SHARED else f"{file}: {heading}"
            yield "\n".join(["", f"## {title}", "", *([_NOTES[heading], ""] if heading in _NOTES else []), ""])
            yield "| key | default | environment | meaning |\n|---|---|---|---|\n"
            yield from _rows(heading, prefix, model)


def _sections(model: type[BaseModel]) -> Iterator[tuple[str, str, type[BaseModel]]]:
    """Heading, prefix of environment variables, and model, for the file itself and each of its tables."""
    yield "Top of the file", "LAYER2_", model
    for name, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            heading = f"[[{name}]]" if "tuple" in str(field.annotation) else f"[{name}]"
            yield heading, f"LAYER2_{name.upper()}__", inner


def _models_in(annotation: object) -> list[type[BaseModel]]:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return [each for each in candidates if inspect.isclass(each) and issubclass(each, BaseModel)]


def _rows(heading: str, prefix: str, model: type[BaseModel]) -> Iterator[str]:
    is_list = heading.startswith("[[")
    for name, field in model.model_fields.items():
        if _models_in(field.annotation) and not is_list:
            continue
        if not field.description:
            raise AssertionError(f"{model.__name__}.{name} has no description")
        variable = "" if is_list else f"`{prefix}{name.upper()}`"
        meaning = field.description.replace("|", "\\|")
        yield f"| `{name}` | {_default(field)} | {variable} | {meaning} |\n"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "none"
    # Format a bool as in TOML.
    return f"`{str(field.default).lower()}`" if isinstance(field.default, bool) else f"`{field.default}`"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
