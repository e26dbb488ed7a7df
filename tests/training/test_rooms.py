"""Random rooms on disk."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba, of the extra for training, is not installed")
from exo2ego.takes.random_rooms.take import RandomRoom, TakeSize
from exo2ego.training.data.rooms import rooms_made, shards_in, write_rooms

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


def test_rooms_of_another_version_are_refused_and_their_clips_made_again(tmp_path):
    """As if the kitchens had been changed since: nothing else would notice, and a training would see both."""
    write_rooms(tmp_path, 1, SIZE, per_shard=2)
    write_rooms(tmp_path, 1, SIZE, per_shard=2)
    (shard,) = shards_in(tmp_path)
    with np.load(shard) as file:
        arrays = {name: file[name] for name in file.files}
    before = rooms_made(shard)
    np.savez_compressed(shard, **arrays)
    assert rooms_made(shard) == before
    np.savez_compressed(shard, **arrays | {"truth": arrays["truth"][::-1]})
    assert rooms_made(shard) != before
    with pytest.raises(ValueError, match=r"rooms_00000\.npz was rendered by another version .*truth differs by \d+"):
        write_rooms(tmp_path, 2, SIZE, per_shard=2)
    np.savez_compressed(shard, **arrays)
    with pytest.raises(ValueError, match="exo is 1 x 32 x 56 x 3, now 5 x 32 x 56 x 3"):
        write_rooms(tmp_path, 2, replace(SIZE, n_frames=5), per_shard=2)
    assert shards_in(tmp_path) == [shard]
