"""The tables of Project Aria's machine perception services: public sample rows, and files that are torn or foreign."""

import json
import math

import pytest
import torch

from exo2ego.takes.ego_exo4d.aria import read_clock, read_colour_camera, read_device_poses, read_static_cameras

CALIBS_HEADER = (
    "cam_uid,graph_uid,tx_world_cam,ty_world_cam,tz_world_cam,qx_world_cam,qy_world_cam,qz_world_cam,qw_world_cam,"
    "image_width,image_height,intrinsics_type,intrinsics_0,intrinsics_1,intrinsics_2,intrinsics_3,intrinsics_4,"
    "intrinsics_5,intrinsics_6,intrinsics_7,start_frame_idx,end_frame_idx,quality"
)
CALIBS_ROW = (
    "cam01,graph,1.5,0.5,-0.1,0,0,{half},{half},3840,2160,KANNALABRANDTK3,1761.27,1761.27,1919.5,1079.5,"
    "0.036902,0.057131,-0.057154,0.018458,-1,-1,1"
).replace("{half}", str(math.sqrt(0.5)))


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


# gopro_calibs.csv ---------------------------------------------------------------------------------------------------


def test_a_static_camera(tmp_path):
    """A quarter turn about z: the camera's x axis is the world's y axis."""
    camera = read_static_cameras(write(tmp_path / "calibs.csv", CALIBS_HEADER, CALIBS_ROW))["cam01"]
    assert torch.allclose(camera.centers[0], torch.tensor([1.5, 0.5, -0.1], dtype=torch.float64))
    assert torch.allclose(camera.rotations[0, 0], torch.tensor([0.0, 1, 0], dtype=torch.float64), atol=1e-12)
    assert (camera.width, camera.height) == (3840, 2160)
    assert camera.lens.focal == pytest.approx(1761.27)
    assert (camera.lens.cx, camera.lens.cy) == (1920, 1080)  # the centre of the first pixel is at 0.5
    assert camera.lens.radial == (0.036902, 0.057131, -0.057154, 0.018458, 0, 0)


def test_the_lens_is_opencv_s_fisheye(tmp_path):
    """theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8), as OpenCV documents `cv::fisheye`."""
    lens = read_static_cameras(write(tmp_path / "calibs.csv", CALIBS_HEADER, CALIBS_ROW))["cam01"].lens
    x, y, z = 0.7, -0.4, 1.1
    r = math.hypot(x / z, y / z)
    theta = math.atan(r)
    k = (0.036902, 0.057131, -0.057154, 0.018458)
    bent = theta * (1 + sum(value * theta ** (2 * order) for order, value in enumerate(k, start=1)))
    pixel, _ = lens.project(torch.tensor([x, y, z], dtype=torch.float64))
    expected = [1761.27 * bent / r * x / z + 1919.5 + 0.5, 1761.27 * bent / r * y / z + 1079.5 + 0.5]
    assert torch.allclose(pixel, torch.tensor(expected, dtype=torch.float64))


def test_cameras_that_were_not_localised_are_left_out(tmp_path):
    rows = [CALIBS_ROW, CALIBS_ROW.replace("cam01", " cam02"), CALIBS_ROW.replace("cam01", "cam03")[:-1] + "0"]
    assert list(read_static_cameras(write(tmp_path / "calibs.csv", CALIBS_HEADER, *rows))) == ["cam01", "cam02"]


def test_a_table_without_the_quality(tmp_path):
    path = write(tmp_path / "calibs.csv", CALIBS_HEADER.removesuffix(",quality"), CALIBS_ROW[:-2])
    assert list(read_static_cameras(path)) == ["cam01"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("KANNALABRANDTK3", "LINEAR", "lens model 'LINEAR'"),
        ("1761.27,1761.27", "1761.27,1800", "two focal lengths"),
        ("1761.27,1761.27", "wide,1761.27", "could not convert"),
        ("1761.27,1761.27", "0,0", "calibs.csv cannot be used"),
        ("0.5,-0.1", "nan,-0.1", "translation and a quaternion"),
        (f"{math.sqrt(0.5)},{math.sqrt(0.5)}", "0,0", "translation and a quaternion"),
        (",-1,-1,1", "", "cam01"),
        ("3840", "inf", "calibs.csv cannot be used"),
    ],
)
def test_a_row_that_is_no_camera(tmp_path, old, new, message):
    assert old in CALIBS_ROW
    path = write(tmp_path / "calibs.csv", CALIBS_HEADER, CALIBS_ROW.replace(old, new))
    if message == "cam01":  # cut after the lens: nothing that counts is missing
        assert list(read_static_cameras(path)) == ["cam01"]
        return
    with pytest.raises(ValueError, match=message):
        read_static_cameras(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n", b"PK\x03\x04", b'"' + b"x" * 200_000])
def test_files_that_are_no_such_table(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    for read in (
        read_static_cameras,
        lambda file: read_device_poses(file, [1]),
        lambda file: read_clock(file, "aria01", [1]),
        read_colour_camera,
    ):
        with pytest.raises(ValueError, match=r"table\.csv cannot be used; expected"):
            read(path)


# online_calibration.jsonl -------------------------------------------------------------------------------------------

RADIAL, TANGENTIAL, PRISM = (0.41, -0.48, 0.13, 1.14, -1.66, 0.63), (0.0008, -0.0003), (-0.001, 0.0001, 0.0005, -0.0001)
PARAMS = [1220.0, 1451.5, 1431.5, *RADIAL, *TANGENTIAL, *PRISM]


def calibration(params=PARAMS, label="camera-rgb", quaternion=(0.5, [0.5, 0.5, 0.5])):
    place = {"Translation": [0.01, 0.02, 0.03], "UnitQuaternion": list(quaternion)}
    return {"CameraCalibrations": [{"Label": label, "Projection": {"Params": params}, "T_Device_Camera": place}]}


def test_the_colour_camera(tmp_path):
    camera = read_colour_camera(write(tmp_path / "online.jsonl", json.dumps(calibration()), "torn"))
    lens = camera.lens
    assert (lens.focal, lens.cx, lens.cy) == (610, (1452 - 32) / 2, (1432 - 32) / 2)
    assert (lens.radial, lens.tangential, lens.thin_prism) == (RADIAL, TANGENTIAL, PRISM)
    # Quaternion w first: a third of a turn about the diagonal sends x to y, y to z, z to x.
    expected = [[0, 0, 1, 0.01], [1, 0, 0, 0.02], [0, 1, 0, 0.03], [0, 0, 0, 1]]
    assert torch.allclose(camera.to_device, torch.tensor(expected, dtype=torch.float64))


def test_a_colour_camera_at_half_resolution(tmp_path):
    params = [610.0, 709.5, 699.5, *PARAMS[3:]]
    lens = read_colour_camera(write(tmp_path / "online.jsonl", json.dumps(calibration(params)))).lens
    assert (lens.focal, lens.cx, lens.cy) == (610, 710, 700)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (calibration(label="camera-slam-left"), "it lacks 'camera-rgb'"),
        (calibration(PARAMS[:11]), "thin_prism coefficients, got 0"),
        (calibration([*PARAMS[:1], 320.0, *PARAMS[2:]]), "column 320"),
        (calibration(quaternion=(1.0, 2.0)), "cannot be used"),
        (calibration(quaternion=(0.0, [0, 0, 0])), "translation and a quaternion"),
        ({}, "it lacks 'CameraCalibrations'"),
        ([], "cannot be used"),
    ],
)
def test_a_line_that_is_no_colour_camera(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_colour_camera(write(tmp_path / "online.jsonl", json.dumps(content)))


# closed_loop_trajectory.csv, timesync.csv ---------------------------------------------------------------------------

TRAJECTORY_HEADER = "graph_uid,tracking_timestamp_us," + ",".join(
    f"{key}_world_device" for key in ("tx", "ty", "tz", "qx", "qy", "qz", "qw")
)


def trajectory(tmp_path, times):
    rows = [f"graph,{time},{number},0,0,0,0,0,1" for number, time in enumerate(times)]
    return write(tmp_path / "trajectory.csv", TRAJECTORY_HEADER, *rows)


def test_the_nearest_pose_in_time(tmp_path):
    path = trajectory(tmp_path, [1_000, 2_000, 3_000, 50_000, 51_000])
    poses = read_device_poses(path, [1_400, 1_600, 52_000])
    assert poses[:, 0, 3].tolist() == [0, 1, 4]


@pytest.mark.parametrize("time", [10_000, 60_000])
def test_a_gap_in_the_trajectory(tmp_path, time):
    path = trajectory(tmp_path, [1_000, 2_000, 3_000, 50_000])
    with pytest.raises(ValueError, match=f"no pose within 5 ms of {time} us"):
        read_device_poses(path, [2_000, time])


def test_the_clock(tmp_path):
    path = write(tmp_path / "timesync.csv", "cam01_pts,aria01_ns", "0,100", "1,", "2,166000000001", "3,200.0")
    assert read_clock(path, "aria01_ns", [0, 2, 3]) == [100, 166_000_000_001, 200]
    with pytest.raises(ValueError, match="row 1 has no time for aria01_ns"):
        read_clock(path, "aria01_ns", [0, 1])
    with pytest.raises(ValueError, match="has no row 4"):
        read_clock(path, "aria01_ns", [3, 4])
    with pytest.raises(ValueError, match=r"lacks the columns \['aria02_ns'\]"):
        read_clock(path, "aria02_ns", [0])
