"""Descriptions of HR systems, read from YAML: a file of an administrator's own, or one of those that come with Doorlist."""

from pathlib import Path
from typing import Final

import yaml

from app.intake.description_parts import description
from app.intake.description_types import SHIPPED, Description
from app.intake.yaml_nodes import DescriptionError, Node

LONGEST: Final = 100_000


def shipped() -> list[str]:
    """The names of the descriptions that come with Doorlist."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def text_of(file_or_name: str) -> str:
    """A description by file, or by the name of one that is shipped. Raises OSError."""
    known = SHIPPED / f"{file_or_name}.yaml"
    return (known if file_or_name in shipped() else Path(file_or_name)).read_text(encoding="utf-8")


def read(text: str) -> Description:
    """Read a description whole. Raises DescriptionError at the first thing that is wrong; nothing is guessed."""
    if len(text) > LONGEST:
        raise DescriptionError(f"the file has {len(text)} characters; at most {LONGEST}", field="", line=1)
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                raise DescriptionError("the file is empty; it starts with 'vendor:'", field="", line=1)
            return description(Node(loader, root, ""))
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise DescriptionError(f"this is not YAML: {problem}", field="", line=mark.line + 1 if mark else 1) from error
    except RecursionError as error:
        raise DescriptionError("this is not YAML that we read: it is nested too deeply", field="", line=1) from error
