"""What several files of browser tests begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.browser import Editor, editor
from support.camera_editor import CLASSIC, CameraEditor


@pytest.fixture(scope="module")
def opened(comfy_server: object) -> Iterator[Editor]:
    """The frontend that ComfyUI's requirements name; a page of it may read and write the clipboard."""
    with editor(comfy_server.url) as page:
        page.page.set_viewport_size({"width": 1600, "height": 1080})
        page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield page


@pytest.fixture
def camera_editor(request: pytest.FixtureRequest, opened: Editor) -> CameraEditor:
    """The editor in a renderer: the classic one, or what the test names."""
    return CameraEditor(opened, getattr(request, "param", CLASSIC))


@pytest.fixture
def fresh(camera_editor: CameraEditor) -> Iterator[CameraEditor]:
    """A graph with an empty trajectory that ran once."""
    camera_editor.load()
    camera_editor.run()
    camera_editor.opened.errors.clear()
    yield camera_editor
    ours = [error for error in camera_editor.opened.errors if "camera_editor" in error or "exo2ego" in error.lower()]
    assert [error for error in ours if "Content Security Policy" not in error] == []
