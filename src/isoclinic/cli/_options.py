"""Options of a command, generated from its dataclass; a TOML file may give any of them."""

from __future__ import annotations

import dataclasses
import inspect
import keyword
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

import tyro
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from typeguard import CollectionCheckStrategy, TypeCheckError, check_type
from tyro.conf import Suppress

from .._files import read_text
from ..errors import InputError, UsageError
from ..registration import PartialConfig, RegistrationConfig, Stage, StructuresConfig
from ..rendering.config import Backend
from ..volumes import PreprocessConfig

# Marks a group whose options carry no prefix.
FLAT = tyro.conf.arg(name="")

_HELP, _FULL_HELP = "--help", "--help-all"
# Options of any command that say where to write.
_OUTPUTS = frozenset({"output", "save", "save_ct", "grid"})
# That TOML has.
_INTEGERS = range(-(2**63), 2**63)


class Options(Protocol):
    """Options of a command: a frozen dataclass with this field."""

    @property
    def config(self) -> Path | None:
        """TOML file with further options."""
        ...


OptionsT = TypeVar("OptionsT", bound=Options)
SettingsT = TypeVar("SettingsT")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegistrationOptions(RegistrationConfig):
    """`RegistrationConfig` whose stages are set in a TOML file only: as options they would fill pages."""

    stages: Suppress[tuple[Stage, ...]] = RegistrationConfig.stages
    partial: Suppress[PartialConfig] = dataclasses.field(default_factory=PartialConfig)


# Other defaults of the options of commands that register, by the value of --preset.
REGISTRATION_PRESETS: dict[str, dict[str, RegistrationOptions]] = {
    "isoclinic": {},
    "paper": {"registration": RegistrationOptions(**vars(RegistrationConfig.paper()))},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StructuresOptions(StructuresConfig):
    """How structures are registered one by one.

    `StructuresConfig` without what the CT's registration says already; stages in a TOML file.
    """

    stages: Suppress[tuple[Stage, ...]] = StructuresConfig.stages
    preprocess: Suppress[PreprocessConfig] = dataclasses.field(default_factory=PreprocessConfig)
    backend: Suppress[Backend] = StructuresConfig.backend
    same_patient: Suppress[bool] = StructuresConfig.same_patient


def parse_options(
    kind: type[OptionsT],
    command: str,
    arguments: Sequence[str],
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> OptionsT:
    """Options from their defaults, the file given by `--config`, and the command line, later ones winning.

    Keys of the file are the options' names; those with dots lie in tables, those with numbers in arrays of
    tables, which replace the default as a whole:

        sdd-mm = 1020
        [preprocess.masks]
        find-metal = false
        [[stages]]
        pixels = 64

    `--help` explains the options without a prefix and names the groups of the others, which `--help-all`
    explains as well.

    Args:
        kind: dataclass of the command's options.
        command: its name.
        arguments: the words of the command line.
        presets: by the value of the option `preset`, other defaults of some fields.

    Raises:
        InputError: the file cannot be read or is not TOML.
        UsageError: a key of the file that is no option, a value that does not suit it, or an output in the
            place of an input.
        SystemExit: options on the command line that do not exist or cannot be read (code 2), or help (0).
    """
    default: Any = kind(**dict.fromkeys(_required(kind), tyro.MISSING))
    file = _value_of("--config", arguments)
    values = {} if file is None else _read_toml("--config", file)
    if presets is not None:
        preset = _value_of("--preset", arguments) or values.get("preset", default.preset)
        default = dataclasses.replace(default, **presets.get(str(preset), {}))
    if file is not None:
        default = _Table(values, f"--config {file}").applied_to(default)
    if _HELP in arguments or "-h" in arguments:
        _show_help(default, command)
    if _FULL_HELP in arguments:
        arguments = [_HELP]
    options = _parsed(default, command, arguments)
    _check_apart(options)
    return options


def read_settings(default: SettingsT, option: str, file: str) -> SettingsT:
    """A configuration with what a TOML file says.

    Args:
        default: values of the keys that the file leaves out.
        option: the option that names the file, for messages.
        file: its path.

    Raises:
        InputError: the file cannot be read or is not TOML.
        UsageError: a key of the file that is no setting, or a value that does not suit it.
    """
    settings: SettingsT = _Table(_read_toml(option, file), f"{option} {file}").applied_to(default)
    return settings


def _parsed(default: OptionsT, command: str, arguments: Sequence[str]) -> OptionsT:
    return tyro.cli(
        type(default),
        prog=f"isoclinic {command}",
        args=arguments,
        default=default,
        config=(tyro.conf.DisallowNone,),
    )


def _check_apart(options: Any) -> None:
    """Raises UsageError for an output in the place of an input, or within the folder of a DICOM CT."""
    files = list(_files(options))
    outputs = [(name, path) for name, path in files if name in _OUTPUTS]
    inputs = [(name, path) for name, path in files if name not in _OUTPUTS]
    for output, path in outputs:
        option, place = f"--{output.replace('_', '-')} {path}", Path(os.path.realpath(path))
        for name, file in inputs:
            source = Path(os.path.realpath(file))
            if place == source:
                raise UsageError(
                    f"{option} is an input of this command too; choose another place",
                    code="output.is-an-input",
                )
            if name == "volume" and source in place.parents:
                raise UsageError(
                    f"{option} lies in the folder of the CT, {file}; choose another place",
                    code="output.is-an-input",
                )


def _files(options: Any) -> Iterator[tuple[str, Path]]:
    """Paths among a command's options, groups included, each with its option's name."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from _files(value)
        else:
            yield from ((field.name, each) for each in _leaves(value) if isinstance(each, Path))


def _show_help(default: Any, command: str) -> None:
    """Explain the options without a prefix, say which others there are, and exit."""
    groups: dict[str, str] = {}
    brief = _without_groups(default, groups)
    try:
        _parsed(brief, command, [_HELP])
    finally:
        if groups:
            table = Table.grid(padding=(0, 2))
            for name, what in groups.items():
                table.add_row(f"{name}.*", what)
            title = f"more options: isoclinic {command} {_FULL_HELP}"
            Console(highlight=False).print(Panel(table, title=title, title_align="left"))


def _without_groups(default: Any, groups: dict[str, str]) -> Any:
    """The same options, those of groups hidden; these are added to `groups` with what they are about."""
    kind = type(default)
    changed: list[tuple[str, Any]] = []
    hidden: Any = Suppress
    values = {field.name: getattr(default, field.name) for field in dataclasses.fields(default)}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        markers, value = getattr(hint, "__metadata__", ()), values[name]
        member = value[0] if isinstance(value, tuple) and value else value
        if FLAT in markers:
            values[name] = _without_groups(value, groups)
            changed.append((name, Annotated[type(values[name]), FLAT]))
        elif dataclasses.is_dataclass(member) and Suppress not in markers:
            groups[f"--{name.replace('_', '-')}"] = (inspect.getdoc(type(member)) or "").partition("\n")[0]
            changed.append((name, hidden[hint]))
    brief = dataclasses.make_dataclass(
        kind.__name__, changed, bases=(kind,), namespace={"__doc__": kind.__doc__}, frozen=True, kw_only=True
    )
    return brief(**values)


def _required(kind: Any) -> set[str]:
    """Fields of a dataclass without a default."""
    return {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
    """What follows an option, or its "=", the last time it is given."""
    value = None
    for index, argument in enumerate(arguments):
        if argument == option and index + 1 < len(arguments):
            value = arguments[index + 1]
        elif argument.startswith(f"{option}="):
            value = argument.removeprefix(f"{option}=")
    return value


def _read_toml(option: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(Path(file)))
    except OSError as error:
        raise InputError(
            f"{option} {file} cannot be read: {error.strerror}", code="config-file.unreadable"
        ) from error
    except RecursionError as error:
        raise InputError(
            f"{option} {file} cannot be read: its values are nested too deeply", code="config-file.unreadable"
        ) from error
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise InputError(f"{option} {file} is not TOML: {error}", code="config-file.invalid") from error


class _Table:
    """A TOML table whose every complaint names the file and the key."""

    def __init__(self, values: Mapping[str, Any], source: str, path: str = "") -> None:
        self._source = source
        self._path = path
        self._values: dict[str, Any] = {}
        keys: dict[str, str] = {}
        for key, value in values.items():
            name = _field_name(key)
            if name in keys:
                raise UsageError(
                    f"{self._label(keys[name])} and {key} are the same option; keep one of them",
                    code="config-file.invalid",
                )
            keys[name], self._values[name] = key, value

    def applied_to(self, default: Any) -> Any:
        """A copy of a dataclass instance with the table's values."""
        hints = get_type_hints(type(default), include_extras=True)
        flat = [name for name, hint in hints.items() if FLAT in getattr(hint, "__metadata__", ())]
        changes: dict[str, Any] = {}
        for group in flat:
            # Options of the command itself take the place of those of a group.
            of_group = {field.name for field in dataclasses.fields(getattr(default, group))} - hints.keys()
            mine = {name: self._values.pop(name) for name in of_group & self._values.keys()}
            if mine:
                changes[group] = _Table(mine, self._source, self._path).applied_to(getattr(default, group))
        for name, value in self._values.items():
            if name not in hints or name in flat:
                raise UsageError(
                    f"{self._label(name)} is no option{self._meant(name, default)}",
                    code="config-file.unknown-key",
                )
            changes[name] = self._converted(name, value, get_type_hints(type(default))[name], default)
        return dataclasses.replace(default, **changes)

    def _converted(self, name: str, value: Any, hint: Any, default: Any) -> Any:
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, dict):
                raise UsageError(f"{self._label(name)} must be a table", code="config-file.invalid")
            return _Table(value, self._source, f"{self._path}{name}.").applied_to(getattr(default, name))
        optional = [each for each in get_args(hint) if dataclasses.is_dataclass(each)]
        if isinstance(value, dict) and optional and isinstance(optional[0], type):
            before = getattr(default, name) or optional[0]()
            return _Table(value, self._source, f"{self._path}{name}.").applied_to(before)
        if get_origin(hint) is tuple and dataclasses.is_dataclass(get_args(hint)[0]):
            if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
                raise UsageError(
                    f"{self._label(name)} must be an array of tables, [[{self._path}{name}]]",
                    code="config-file.invalid",
                )
            return tuple(self._item(name, index, item, get_args(hint)[0]) for index, item in enumerate(value))
        return self._leaf(name, value, hint)

    def _item(self, name: str, index: int, values: Mapping[str, Any], kind: Any) -> Any:
        """A dataclass instance from an element of an array of tables."""
        table, hints = _Table(values, self._source, f"{self._path}{name}.{index}."), get_type_hints(kind)
        for missing in _required(kind) - table._values.keys():
            raise UsageError(f"{table._label(missing)} is missing", code="config-file.invalid")
        given = {key: table._leaf(key, table._values[key], hints[key]) for key in _required(kind)}
        return table.applied_to(kind(**given))

    def _leaf(self, name: str, value: Any, hint: Any) -> Any:
        value = _tuples(value)
        if isinstance(value, str) and Path in (hint, *get_args(hint)):
            if "\0" in value:
                raise UsageError(
                    f"{self._label(name)} is no path: it holds a NUL character", code="config-file.invalid"
                )
            value = Path(value)
        try:
            checked = check_type(value, hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
        except TypeCheckError as error:
            raise UsageError(
                f"{self._label(name)} is {value!r}, but must be {_text(hint)}", code="config-file.invalid"
            ) from error
        for number in (each for each in _leaves(value) if isinstance(each, int)):
            # Python takes true for 1.
            if isinstance(number, bool) and bool not in _leaves((hint, get_args(hint))):
                raise UsageError(
                    f"{self._label(name)} is {value!r}, but must be {_text(hint)}", code="config-file.invalid"
                )
            if number not in _INTEGERS:
                raise UsageError(
                    f"{self._label(name)} is {number}, but TOML's integers end at 2^63",
                    code="config-file.invalid",
                )
        return checked

    def _meant(self, name: str, default: Any) -> str:
        """A question after the option that is most like an unknown one, if one is."""
        known: list[str] = []
        for each, hint in get_type_hints(type(default), include_extras=True).items():
            group = FLAT in getattr(hint, "__metadata__", ())
            known += get_type_hints(type(getattr(default, each))) if group else [each]
        return "".join(f"; did you mean {each}?" for each in get_close_matches(name, known, n=1))

    def _label(self, name: str) -> str:
        return f"{self._source}: {self._path}{name}"


def _field_name(option: str) -> str:
    """The field of an option: `from` cannot be one, so it is `from_`."""
    name = option.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _leaves(value: Any) -> Iterator[Any]:
    """What nested tuples hold."""
    if isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _text(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
