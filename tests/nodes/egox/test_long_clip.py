"""The pocket model on a clip of several windows: one video, without seams where windows meet."""

from __future__ import annotations

import av
import pytest
import torch

from exo2ego.commands.comfyui.blocking import ComfyClient
from exo2ego.common.windows import Windows
from support.graphs import api_graph, node_id, only_outputs, with_inputs

FRAMES, WINDOW, OVERLAP = 33, 17, 8


@pytest.fixture(scope="module")
def videos(comfy_server, tmp_path_factory):
    """The ego video by length of the window: in one, and in several; [F, H, W, 3]."""
    folder, found = tmp_path_factory.mktemp("videos"), {}
    with ComfyClient(comfy_server.url) as client:
        for length in (FRAMES, WINDOW):
            graph = with_inputs(api_graph("1_pocket"), "Take", max_frames=FRAMES)
            graph = with_inputs(graph, "Sampler", steps=1)
            graph = with_inputs(graph, "Long clip", frames=length, overlap=OVERLAP)
            graph = only_outputs(graph, "Save ego video")
            (file,) = client.run(graph).files(node_id(graph, "Save ego video"))
            path = folder / f"{length}.mp4"
            path.write_bytes(client.fetch(file))
            with av.open(str(path)) as container:
                frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
            found[length] = torch.stack(frames).float() / 255
    return found


def test_all_frames_are_there_and_the_picture_is_the_same(videos):
    assert len(videos[WINDOW]) == len(videos[FRAMES]) == FRAMES
    error = (videos[WINDOW] - videos[FRAMES]).square().mean()
    assert error > 0  # it did see windows
    assert -10 * error.log10() > 22  # dB


def test_no_seam_where_windows_meet(videos):
    """From frame to frame the video in windows jumps nowhere more than the video in one piece does somewhere."""
    jumps = {length: video.diff(dim=0).abs().mean(dim=(1, 2, 3)) for length, video in videos.items()}
    latent = Windows(1 + (WINDOW - 1) // 4, OVERLAP // 4).over(1 + (FRAMES - 1) // 4)
    assert len(latent) > 2
    for window in latent[1:]:
        first = 4 * window.start  # the first frame that a new window has a part in
        assert jumps[WINDOW][first - 2 : first + 2].max() <= 1.2 * jumps[FRAMES].max()
