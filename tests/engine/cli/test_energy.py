"""Sensors of energy, in copies of the folders that Linux has for them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from clipshelf import Engine
from clipshelf.cli.device_bench import measure
from clipshelf.cli.energy import Counter, EnergyBench, Gauge, Meter, find_sensors
from clipshelf.cli.main import main


def write(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return folder


RAPL = {
    "class/powercap/intel-rapl:0/name": "package-0",
    "class/powercap/intel-rapl:0/energy_uj": 5_000_000,
    "class/powercap/intel-rapl:0/max_energy_range_uj": 262_143_000_000,
    "class/powercap/intel-rapl:0:0/name": "core",
    "class/powercap/intel-rapl:0:0/energy_uj": 3_000_000,
    "class/powercap/intel-rapl:1/name": "psys",
    "class/powercap/intel-rapl:1/energy_uj": 9_000_000,
}


def test_rapl_counts_each_package_once(tmp_path: Path) -> None:
    sensors, problems = find_sensors(write(tmp_path, RAPL))
    assert [sensor.name for sensor in sensors] == ["RAPL package-0"] and problems == []
    assert sensors[0].read() == 5 and isinstance(sensors[0], Counter) and sensors[0].wraps_at == 262_143


def test_a_board_is_read_by_the_sensor_of_the_whole(tmp_path: Path) -> None:
    board = {
        "class/hwmon/hwmon1/name": "ina3221",
        "class/hwmon/hwmon1/in1_label": "VDD_IN",
        "class/hwmon/hwmon1/in1_input": 5_000,
        "class/hwmon/hwmon1/curr1_input": 1_200,
        "class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU",
        "class/hwmon/hwmon1/in2_input": 5_000,
        "class/hwmon/hwmon1/curr2_input": 400,
    }
    sensors, _ = find_sensors(write(tmp_path, board))
    assert [sensor.name for sensor in sensors] == ["ina3221 VDD_IN"] and sensors[0].read() == pytest.approx(6.0)


def test_energy_counters_of_a_chip_come_before_its_power(tmp_path: Path) -> None:
    chip = {
        "class/hwmon/hwmon0/name": "amd_energy",
        "class/hwmon/hwmon0/energy1_input": 7_000_000,
        "class/hwmon/hwmon0/power1_input": 3_000_000,
    }
    sensors, _ = find_sensors(write(tmp_path, chip))
    assert [(sensor.name, sensor.read()) for sensor in sensors] == [("amd_energy energy1", 7.0)]


def test_a_counter_that_starts_again_is_followed() -> None:
    values = iter([95.0, 5.0])
    with Meter([Counter("x", lambda: next(values), wraps_at=100.0)]) as meter:
        pass
    assert meter.joules == 10


def test_power_is_added_up_over_the_time() -> None:
    with Meter([Gauge("x", lambda: 8.0), Gauge("y", lambda: 2.0)]) as meter:
        time.sleep(0.25)
    assert meter.joules == pytest.approx(10 * meter.seconds, rel=0.2)


def test_the_idle_device_is_told_apart(tmp_path: Path) -> None:
    counter = write(tmp_path, RAPL) / "class/powercap/intel-rapl:0/energy_uj"
    bench = EnergyBench(tmp_path, idle_seconds=0.05)
    with bench.answers:
        counter.write_text("9000000")
    energy = bench.result(4)
    assert energy.joules == 1 and energy.joules_above_idle == 1 and energy.idle_watts == 0
    assert str(energy).startswith("energy: 1 J an answer")


def test_a_device_without_sensors_says_so(engine: Engine, tmp_path: Path) -> None:
    report = measure(engine, products=20, runs=2, energy=EnergyBench(tmp_path))
    assert report.energy is not None and report.energy.joules is None
    assert str(report).endswith("expected a sensor, RAPL or hwmon, that can be read, found: none")
    assert report.to_dict()["energy"]["sensors"] == ()


def test_a_sensor_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, {**RAPL, "class/powercap/intel-rapl:0/energy_uj": "not a number"})
    energy = EnergyBench(folder).result(1)
    assert energy.sensors == () and "RAPL package-0: invalid literal" in str(energy)


def test_the_command_line_has_it(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(engine.artifact.path)
    assert main(["bench", "--artifact", artifact, "--products", "20", "--runs", "2", "--energy"]) == 0
    assert "energy: " in capsys.readouterr().out.splitlines()[-1]
