"""Are the models there that the shipped workflows load, are they whole, and are they the right ones?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...common.messages import few
from ...common.paths import is_folder
from ...networks.pretrained_files import ALL, PEOPLE, fits, missing_files, weights_files
from ...networks.weights.headers import DamagedFileError, read_header
from ...networks.weights.wan_kinds import WAN21_I2V, WHAT_TO_LOAD_21, WHAT_TO_LOAD_22, is_high_noise
from ..comfyui.state import Server
from .findings import Finding, Severity
from .library import Library, expected_kind
from .workflows import Wanted, Workflows

_CHECK = "models"
# Kinds of models that are folders with several files, and what does in the place of a model, by the loader's input.
_FOLDERS = tuple(dict.fromkeys(source.kind for source in ALL))
_INSTEAD = {
    "weights": " Or do without: bring depth of another pack in through the node Depth, write the prompt by hand.",
    "pose": " Or bring POSE_KEYPOINT of another pack.",
    "masks": " Or set the input 'masks' to none.",
}
_HIGH_NOISE = "Wan 2.2's high-noise expert, by its name"


def used_workflows(workflows: Workflows, is_here: Callable[[Wanted], bool]) -> list[str]:
    """Return the workflows that somebody has begun to set up; where that is none, those that everybody can.

    A file that only this pack loads shows it: Wan's own files lie here for other reasons too. A workflow that loads a
    further LoRA is another's variant, and is set up where that is here as well. Everybody can set up what loads public
    files alone; what finds people in a clip is an addition to that.
    """
    begun = {name for wanted in workflows.wanted if wanted.is_ours and is_here(wanted) for name in wanted.workflows}
    for wanted in workflows.wanted:
        if wanted.is_stock_lora and not is_here(wanted):
            begun.difference_update(wanted.workflows)
    complete = {name for name in workflows.names if not workflows.of(name)}
    if begun:
        return [name for name in workflows.names if name in begun | complete]
    return [
        name
        for name in workflows.names
        if all(wanted.known.is_public and not _is_of_an_addition(wanted) for wanted in workflows.of(name))
    ]


def _is_of_an_addition(wanted: Wanted) -> bool:
    return wanted.is_stock_lora or (PEOPLE in wanted.folders and not wanted.known.optional)


def unused_note(workflows: Workflows, used: Sequence[str]) -> list[Finding]:
    """Return a note about the workflows that nobody has set up."""
    unused = [name for name in workflows.names if name not in used]
    if not unused:
        return []
    return [
        Finding(
            _CHECK,
            Severity.NOTE,
            f"not set up, so not checked: {', '.join(unused)}",
            "the models of the workflows that you use",
            f"{_not_public(workflows, unused)}See what one needs with --workflow {unused[0]}; otherwise nothing is to "
            "be done.",
        )
    ]


def _not_public(workflows: Workflows, names: Sequence[str]) -> str:
    closed = [name for name in names if not all(wanted.known.is_public for wanted in workflows.of(name))]
    return f"Parts of {' and '.join(closed)} have not been published: a training run makes them. " if closed else ""


def is_here(library: Library, wanted: Wanted) -> bool:
    """Whether a model, or one that can stand for it, or a piece of it lies here."""
    if _is_folder_of_files(wanted):
        return is_folder(_own_folder(library, wanted))
    candidates = library.candidates(wanted)
    if wanted.file in candidates or wanted.file in library.unfinished(wanted):
        return True
    return any(library.suits(wanted, path) for path in candidates.values())


def check_models(library: Library, wanted: Sequence[Wanted]) -> tuple[list[Finding], dict[Wanted, Path]]:
    """Check the models of the workflows that are used.

    Returns:
        What is wrong, and the sound file for each model: the one that the workflows name, or one that can stand for it.
    """
    findings: list[Finding] = []
    chosen: dict[Wanted, Path] = {}
    for model in wanted:
        found, path = _check_folder(library, model) if _is_folder_of_files(model) else _check(library, model)
        findings += found
        if path is not None:
            chosen[model] = path
    looked_at = {library.files(model)[model.file] for model in wanted if model.file in library.files(model)}
    return findings + _other_damage(library, wanted, looked_at), chosen


def check_listed(server: Server, wanted: Sequence[Wanted]) -> list[Finding]:
    """Check that a server's loaders list the models; what is in the files cannot be seen from afar."""
    findings = []
    for model in wanted:
        choices = server.choices(model.node, model.name)
        if choices is not None and model.file not in choices:
            there = [name for name in choices if name != "none"]
            shown = f"; it lists {few(there)}" if there else ""
            findings.append(_missing(model, f"{server.url} does not list it{shown}", _put(model, _folder(model))))
    return findings


def _check(library: Library, model: Wanted) -> tuple[list[Finding], Path | None]:
    path = library.candidates(model).get(model.file)
    if path is None:
        return _check_missing(library, model)
    where = f"{model.file} in {path.parent}"
    try:
        kind = library.kind(path)
    except DamagedFileError as error:
        return [_finding(model, f"{where}: {error.found}", expected_kind(model), error.remedy)], None
    if kind is None:
        unknown = f"{where} is of a kind that the doctor does not know"
        return [_finding(model, unknown, expected_kind(model), _what_to_load(model), Severity.WARNING)], path
    if kind != expected_kind(model):
        return [_finding(model, f"{where} is {kind}", expected_kind(model), _what_to_load(model))], None
    if model.needs_low_noise and is_high_noise(path.name):
        return [_finding(model, f"{where} is {_HIGH_NOISE}", "the low-noise expert", _what_to_load(model))], None
    return [], path


def _check_missing(library: Library, model: Wanted) -> tuple[list[Finding], Path | None]:
    candidates = library.candidates(model)
    place = library.installation.place(model.folders[0])
    for name, path in candidates.items():
        if library.suits(model, path):
            return [_stand_in(model, name)], path
    if half := library.unfinished(model).get(model.file):
        remedy = f"Let the download end, or delete {half.name} and begin anew."
        return [_missing(model, f"only its unfinished download is there: {half}", remedy)], None
    wrong = [f"{name} ({kind})" for name, path in candidates.items() if (kind := _wrong_kind(library, model, path))]
    there = f"it is not in {place}"
    shown = f"{there}; what is there is of another kind: {few(wrong)}" if wrong else there
    return [_missing(model, shown, _put(model, str(place)))], None


def _stand_in(model: Wanted, name: str) -> Finding:
    loader = (
        "use Unet Loader (GGUF) of ComfyUI-GGUF in the place of Load Diffusion Model and choose it there"
        if name.lower().endswith(".gguf")
        else f"choose it in the node {model.title!r}"
    )
    return Finding(
        _CHECK,
        Severity.NOTE,
        f"{model.file} is missing, but {name} is {expected_kind(model)}, too",
        f"the file that {_workflows(model)} names, or one of the same kind",
        f"In {_workflows(model)}, {loader}.",
    )


def _wrong_kind(library: Library, model: Wanted, path: Path) -> str | None:
    try:
        kind = library.kind(path)
    except DamagedFileError as error:
        return error.found
    return _HIGH_NOISE if model.needs_low_noise and is_high_noise(path.name) and kind == expected_kind(model) else kind


def _other_damage(library: Library, wanted: Sequence[Wanted], looked_at: set[Path]) -> list[Finding]:
    """Return warnings about torn files that no shipped workflow names."""
    others = {
        path: name
        for model in wanted
        if not _is_folder_of_files(model)
        for name, path in library.candidates(model).items()
        if path not in looked_at
    }
    findings = []
    for path, name in others.items():
        try:
            library.header(path)
        except DamagedFileError as error:
            findings.append(
                Finding(
                    _CHECK, Severity.WARNING, f"{name} in {path.parent}: {error.found}", "a whole file", error.remedy
                )
            )
    return findings


def _is_folder_of_files(model: Wanted) -> bool:
    """Whether a model is a folder in Hugging Face's layout."""
    return model.folders[0] in _FOLDERS


def _check_folder(library: Library, model: Wanted) -> tuple[list[Finding], Path | None]:
    """Check a folder in Hugging Face's layout: that it is there, of that network, and its files are whole."""
    folder = _own_folder(library, model)
    of_this_kind = [one for one in ALL if one.kind == model.folders[0]]
    source = next((one for one in of_this_kind if one.default == model.file), of_this_kind[0])
    put = f"Put {', '.join(source.files)} of {source.repository} into {folder}.{_INSTEAD.get(model.name, '')}"
    if not is_folder(folder):
        return [_missing(model, f"there is no folder {folder}", put)], None
    if missing := missing_files(folder, source):
        return [_missing(model, f"{folder} lacks {', '.join(missing)}", put)], None
    if not fits(source, folder):
        return [_finding(model, f"{folder} holds another network", source.name, put)], None
    for path in weights_files(folder):
        try:
            read_header(path)
        except DamagedFileError as error:
            return [_missing(model, f"{path}: {error.found}", error.remedy)], None
    return [], weights_files(folder)[0]


def _own_folder(library: Library, model: Wanted) -> Path:
    """Return the first of the folders that is there; where none is, the place where it belongs."""
    places = [folder / model.file for folder in library.installation.folders[model.folders[0]]]
    return next((place for place in places if is_folder(place)), places[-1])


def _missing(model: Wanted, found: str, remedy: str) -> Finding:
    return _finding(
        model,
        f"{model.file} is missing: {found}",
        f"{model.known.gigabytes:g} GB in {_folder(model)}, for {_workflows(model)}",
        remedy,
    )


def _finding(model: Wanted, found: str, expected: str, remedy: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(_CHECK, Severity.WARNING if model.known.optional else severity, found, expected, remedy)


def _put(model: Wanted, place: str) -> str:
    same = ", or a bf16, fp16 or GGUF file of the same model" if model.base is not None else ""
    return f"Put {model.file}{same} into {place}: {_source(model)}. Then press R in the editor."


def _what_to_load(model: Wanted) -> str:
    if model.base is not None:
        return WHAT_TO_LOAD_21 if model.base == WAN21_I2V else WHAT_TO_LOAD_22
    return f"Put the right file in its place: {_source(model)}."


def _source(model: Wanted) -> str:
    return f"{model.known.source} ({model.known.license})" if model.known.license else model.known.source


def _folder(model: Wanted) -> str:
    return f"models/{model.folders[0]}"


def _workflows(model: Wanted) -> str:
    return few(list(model.workflows))
