"""Read a recipe from a TOML file, and check all of it before anything runs."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from .recipe import Recipe

_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", Path: "a path, as a text"}


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; relative paths in it are taken from its folder.

    Raises:
        ValueError: for a file that is not there or not TOML, an unknown table or key (naming the nearest right one) and
            a value of another type or out of range; it names the file, the table and the key.
    """
    return recipe_of(_content(path), path)


def recipe_of(content: Mapping[str, Any], path: Path) -> Recipe:
    """Return the recipe that the content of a TOML file says; `path` names it and its folder."""
    tables = typing.get_type_hints(Recipe)
    settings = {}
    for name, table in content.items():
        if name not in tables:
            raise ValueError(f"{path}: there is no table [{name}]{_nearest(name, tables)}")
        if not isinstance(table, dict):
            raise ValueError(f"{path}: [{name}] is a table of settings, got {name} = {table!r}.")
        settings[name] = table
    built = {name: _table(name, kind, settings.get(name, {}), path) for name, kind in tables.items()}
    try:
        return Recipe(**built)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _content(path: Path) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib  # ty: ignore
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"The recipe {path} cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}.") from error


def _table(name: str, kind: type, given: Mapping[str, Any], path: Path) -> Any:
    hints = typing.get_type_hints(kind)
    names = [item.name for item in fields(kind)]
    for key in given:
        if key not in names:
            raise ValueError(f"{path}: [{name}] has no key {key}{_nearest(key, names, _tables_with(key))}")
    values = {key: _value(f"{path}: [{name}] {key}", hints[key], value, path.parent) for key, value in given.items()}
    defaults = {item.name: item.default for item in fields(kind)}
    values |= {key: path.parent / value for key, value in defaults.items() if key not in given and _is_path(value)}
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{path}: [{name}]: {error}") from error


def _is_path(value: Any) -> bool:
    return isinstance(value, Path)


def _value(what: str, kind: Any, value: Any, folder: Path) -> Any:
    """Return a value as a setting's type."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    (kind,) = (option for option in options if option is not type(None))
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        if not isinstance(value, list) or (inner[-1] is not ... and len(value) != len(inner)):
            length = "" if inner[-1] is ... else f" of {len(inner)}"
            raise ValueError(f"{what} is a list{length}, got {value!r}.")
        return tuple(_value(what, inner[0], item, folder) for item in value)
    if kind is Path and isinstance(value, str) and value:
        return folder / Path(value).expanduser()
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{what} is {_WORDS[kind]}, got {value!r}.")
    return value


def _tables_with(key: str) -> list[str]:
    return [name for name, kind in typing.get_type_hints(Recipe).items() if key in (item.name for item in fields(kind))]


def _nearest(name: str, known: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
    """Return the end of a sentence: what was meant, or what there is."""
    if places := list(elsewhere):
        return f"; {name} belongs under [{places[0]}]."
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f". There are {', '.join(known)}."
