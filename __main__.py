"""`python -m ComfyUI-Exo2Ego COMMAND`, in ComfyUI's custom_nodes folder; `python FOLDER COMMAND` from a checkout."""

from __future__ import annotations

import sys

if __package__:
    from .commands.main import main
else:  # `python FOLDER` knows no package, and puts the folder on the path, where its `nodes` would hide ComfyUI's
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    sys.path.pop(0)
    _folder = Path(__file__).absolute().parent
    _spec = spec_from_file_location("exo2ego", _folder / "__init__.py", submodule_search_locations=[str(_folder)])
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules["exo2ego"] = _pack = module_from_spec(_spec)
    _spec.loader.exec_module(_pack)

    from exo2ego.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
