"""Run a developer's tool: the demo, the pocket model, templates' twins, translations, or a benchmark by its name.

    python tools/run.py demo [--frames N] ...
    python tools/run.py gga --step

Without a name it lists them; NAME --help tells more.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
_PACKAGES = ("demo", "limits", "locales", "pocket", "reuse", "templates")


def tools() -> dict[str, Path]:
    """Return the file of each tool by its name; a benchmark that others only import has no main part."""
    benchmarks = sorted((TOOLS / "benchmarks").glob("*.py"))
    packages = {name: TOOLS / name / "run.py" for name in _PACKAGES}
    return packages | {
        path.stem: path for path in benchmarks if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
    }


def main() -> None:
    """Run the tool that the command line names."""
    found = tools()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in found:
        raise SystemExit(f"{f'There is no tool {name}. ' if name else ''}The tools are {', '.join(found)}.")
    sys.argv = [f"{sys.argv[0]} {name}", *sys.argv[2:]]
    if name not in _PACKAGES:
        sys.path.insert(0, str(found[name].parent))  # benchmarks import each other by name
    import_module(f"{name}.run" if name in _PACKAGES else name).main()


if __name__ == "__main__":
    main()
