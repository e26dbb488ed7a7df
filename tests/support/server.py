"""One real ComfyUI for the whole test session: tiny models, stand-in loaders, this pack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

# Seconds until a server that has to start is given up; no test may fail because a machine is slow.
PATIENCE = 3600


@pytest.fixture(scope="session")
def comfy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A running `Headless`; `.base` holds its input, output and models folders.

    The models folder has the tiny models of `tiny_models.FILES` and a tiny file of every Exo2EgoSyn component.
    """
    import environment

    from exo2ego.commands.comfyui import headless

    from .egosyn_api import write_tiny_components
    from .tiny_models import write_tiny_models, write_wrong_bases

    base = tmp_path_factory.mktemp("comfyui")
    write_tiny_models(base / "models")
    write_wrong_bases(base / "models")
    write_tiny_components(base / "models")
    standins = Path(__file__).parent / "standin_nodes"
    arguments = environment.device_arguments()
    with headless.running(
        environment.prepare().comfyui, base, arguments, custom_nodes=[standins], timeout=PATIENCE
    ) as server:
        yield server


@pytest.fixture(scope="session")
def newest_server(comfy_server: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A second server with the newest frontend; models and input folder are those of the session's server."""
    import environment

    from exo2ego.commands.comfyui import headless

    base = tmp_path_factory.mktemp("newest")
    for name in ("models", "input"):
        (base / name).symlink_to(comfy_server.base / name, target_is_directory=True)
    standins = Path(__file__).parent / "standin_nodes"
    arguments = [*environment.device_arguments(), "--front-end-root", str(environment.newest_frontend())]
    with headless.running(
        environment.prepare().comfyui, base, arguments, custom_nodes=[standins], timeout=PATIENCE
    ) as server:
        yield server


@pytest.fixture(scope="module", params=["named", "newest"])
def frontend_server(request: pytest.FixtureRequest) -> object:
    """The server of the frontend that ComfyUI's requirements name, then that of the newest."""
    return request.getfixturevalue({"named": "comfy_server", "newest": "newest_server"}[request.param])


@pytest.fixture
def comfy_client(comfy_server: object) -> Iterator[object]:
    """A `ComfyClient` of the session's server."""
    from exo2ego.commands.comfyui.blocking import ComfyClient

    with ComfyClient(comfy_server.url) as client:
        yield client
