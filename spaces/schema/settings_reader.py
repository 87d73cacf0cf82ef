"""Reads the settings of a space file and says what is wrong in them, key by key."""

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import ValidationError

from spaces.schema.samplers import Sampler
from spaces.schema.schedulers import Scheduler, Section
from spaces.schema.settings import Reference, Settings
from spaces.schema.trainables import TRAINABLES
from spaces.yaml_file.document import Document
from spaces.yaml_file.rules import one_of, rule_of

PARAMETER_KEYS = ("parameters", "forbid")  # read separately, because their rules come from the trainable


def _variants(union: Any) -> dict[str, type[Section]]:
    """The sections of an annotated union by their names."""
    sections: tuple[type[Section], ...] = get_args(get_args(union)[0])
    return {name: section for section in sections for name in get_args(section.model_fields["name"].annotation)}


LISTED: dict[str, type[Section]] = {"references": Reference}  # sections of which there may be several
VARIANTS = {"sampler": _variants(Sampler), "scheduler": _variants(Scheduler)}


def read_settings(document: Document) -> tuple[Settings, set[str]]:
    """Return the settings of a document and the names of invalid sections, which get their defaults.

    Problems are added to the document. A key without a value counts as missing.
    """
    given = {key: value for key, value in document.tree.items() if value is not None and key not in PARAMETER_KEYS}
    try:
        return Settings.model_validate(given), set()
    except ValidationError as error:
        for problem in error.errors():
            _add_problem(document, problem)
        invalid = {str(problem["loc"][0]) for problem in error.errors()}
    valid = {key: value for key, value in given.items() if key not in invalid}
    return Settings.model_validate({"name": "unnamed", **valid}), invalid


def _add_problem(document: Document, problem: Any) -> None:
    section, *rest = problem["loc"]
    variant = rest.pop(0) if section in VARIANTS and rest else None  # pydantic adds the name of the union's member
    path = [step for step in (section, *rest) if step != "[key]"]  # pydantic adds it where a name is wrong, not a value
    if problem["type"] == "extra_forbidden":
        document.add_problem(path, _unknown_key(path, variant))
    elif problem["type"] == "union_tag_invalid":
        bare = not isinstance(problem["input"], dict) or isinstance(document.tree[section], str)
        tag = problem["ctx"]["tag"]
        document.add_problem(path if bare else [*path, "name"], one_of(tag, VARIANTS[section], section))
    elif problem["type"] == "union_tag_not_found":
        document.add_problem([*path, "name"], f"is required: {', '.join(VARIANTS[section])}")
    elif problem["type"] == "model_attributes_type":
        document.add_problem(path, f"must be a name or a mapping with a name: {', '.join(VARIANTS[section])}")
    else:
        document.add_problem(path, rule_of(problem))


def _unknown_key(path: Sequence[Any], variant: str | None) -> str:
    section = path[0]
    if len(path) == 1 and any(section in kind.config.model_fields for kind in TRAINABLES.values()):
        return f"unknown key. Did you mean 'parameters.{section}'?"
    if len(path) == 1:
        return one_of(section, [*Settings.model_fields, *PARAMETER_KEYS], "key")
    if variant:
        return one_of(path[-1], VARIANTS[section][variant].model_fields, f"key of {section} {variant}")
    model: Any = LISTED.get(section, Settings.model_fields[section].annotation)
    return one_of(path[-1], model.model_fields, f"key of {section}")
