"""How an input of a node says that it names a file below ComfyUI's input folder.

The node puts a mark into the input's options. ComfyUI passes these on to `/object_info`, where the batch command reads
it and so knows which values are paths of its own machine, to be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

# Key of an input's options. Other packs may mark their inputs too.
FILE_MARK = "exo2ego_file"


class FileKind(str, Enum):
    """What lies behind a name.

    Attributes:
        FILE: one file; `FILE#NAME` for one of several things in it.
        TAKE: a folder in EgoX's layout; `FOLDER#NAME` for one take of a dataset.
        EGO_EXO4D: `FOLDER#TAKE`, one take of a folder in Ego-Exo4D's layout.
        KEYPOINTS: a JSON file, or a folder with one a frame.
        CLIP: a video, a picture, a folder of pictures, or a pattern of their names.
        DEPTH: an array, a picture or a video of depth, a folder with one file a frame, or a pattern of their names.
    """

    FILE = "file"
    TAKE = "take"
    EGO_EXO4D = "ego-exo4d"
    KEYPOINTS = "keypoints"
    CLIP = "clip"
    DEPTH = "depth"


@dataclass(frozen=True)
class FileInput:
    """What the mark of an input says.

    Attributes:
        kind: what lies behind a name.
        built_in: the value that is no file, where there is one.
    """

    kind: FileKind
    built_in: str | None = None

    def as_options(self) -> dict[str, Any]:
        """Return the mark, to be added to an input's options."""
        return {FILE_MARK: {"kind": self.kind.value, "built_in": self.built_in}}

    @classmethod
    def from_options(cls, options: Any) -> FileInput | None:
        """Read the mark from an input's options; `None` where there is none, or one of a kind not known here."""
        mark = options.get(FILE_MARK) if isinstance(options, dict) else None
        if not isinstance(mark, dict) or mark.get("kind") not in {kind.value for kind in FileKind}:
            return None
        built_in = mark.get("built_in")
        return cls(FileKind(mark["kind"]), built_in if isinstance(built_in, str) else None)
