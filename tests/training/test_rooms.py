"""Random rooms on disk."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba, of the extra for training, is not installed")
from exo2ego.takes.random_rooms.take import RandomRoom, TakeSize
from exo2ego.training.data.rooms import shards_in, write_rooms

SIZE = TakeSize(n_frames=1, exo_width=56, exo_height=32, ego_size=32)


def test_workers_share_the_shards_and_what_is_there_stays(tmp_path):
    write_rooms(tmp_path, 2, SIZE, per_shard=2, worker=1, n_workers=2)
    (second,) = shards_in(tmp_path)
    assert second.name == "rooms_00001.npz"
    before = second.read_bytes(), second.stat().st_mtime_ns
    done = []
    write_rooms(tmp_path, 2, SIZE, per_shard=2, progress=lambda *step: done.append(step))
    assert (second.read_bytes(), second.stat().st_mtime_ns) == before
    assert done == [(1, 2), (2, 2)]
    assert [path.name for path in shards_in(tmp_path)] == ["rooms_00000.npz", "rooms_00001.npz"]


def test_a_shard_holds_the_takes_of_its_numbers(tmp_path):
    write_rooms(tmp_path, 2, SIZE, per_shard=2, worker=1, n_workers=2)
    room = RandomRoom(3, SIZE)
    take = room.take()
    with np.load(shards_in(tmp_path)[0]) as shard:
        assert shard["exo"].shape == (2, 1, 32, 56, 3)
        assert np.abs(shard["exo"][1] / 255 - take.exo.numpy()).max() < 1 / 255
        assert np.abs(shard["truth"][1] / 255 - take.ego_truth.numpy()).max() < 1 / 255
        assert np.allclose(shard["ego_pose"][1], take.ego_camera.world_to_camera, atol=1e-6)
        assert np.array_equal(shard["arms"][1], room.visible_arms())
        assert shard["arms"].any(axis=(1, 2, 3)).all()
        assert np.allclose(shard["depth"][1], take.depth.metric(), rtol=1e-3)
