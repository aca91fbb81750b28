"""How much energy this device takes, by its own sensors.

Three kinds of sensor are known, in this order; the first kind that can be read is used:

- RAPL (https://docs.kernel.org/power/powercap/powercap.html): counters of energy of each CPU package, in microjoules,
  which start again from 0 at a stated maximum. Since CVE-2020-8694 root alone may read them.
- hwmon counters of energy, `energy*_input`, in microjoules (https://docs.kernel.org/hwmon/sysfs-interface.html).
- hwmon power, `power*_input` in microwatts, or a voltage `in*_input` in millivolts times the current `curr*_input` of
  the same number in milliamperes, as on Jetson boards. It is read ten times a second and added up.

What a sensor covers differs: RAPL has the CPU and sometimes its memory, a board's sensor may have the whole board.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

Read: TypeAlias = Callable[[], float]

SYSTEM = Path("/sys")
# Labels of sensors that have a whole board. The others of that board measure parts of it, and are left out.
_WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")
_INTERVAL = 0.1  # seconds between two readings of power
_MICRO, _MILLI = 1e-6, 1e-3


@dataclass(frozen=True)
class Counter:
    """A sensor that counts energy: joules from an unknown start on, from 0 again after `wraps_at` joules if it does."""

    name: str
    read: Read
    wraps_at: float | None = None


@dataclass(frozen=True)
class Gauge:
    """A sensor that tells the power of the moment, in watts."""

    name: str
    read: Read


def find_sensors(system: Path = SYSTEM) -> tuple[Sequence[Counter | Gauge], list[str]]:
    """The sensors of the first kind that can be read, and what is wrong with those that cannot.

    - `system`: where sysfs is mounted.
    """
    problems: list[str] = []
    for find in (_rapl, _energy_counters, _power_gauges):
        sensors = []
        for sensor in find(system):
            try:
                sensor.read()
            except (OSError, ValueError) as error:
                problems.append(f"{sensor.name}: {getattr(error, 'strerror', None) or error}")
            else:
                sensors.append(sensor)
        if sensors:
            return sensors, problems
    return [], problems


@dataclass(frozen=True)
class Energy:
    """The energy of one answer.

    - `sensors`: names of the sensors that were read; without any, `problems` says why.
    - `joules`: of one answer, what the idle device takes in that time included.
    - `joules_above_idle`: the same without that.
    - `idle_watts`: power of the idle device.
    - `problems`: sensors that cannot be read, and why.
    """

    sensors: tuple[str, ...]
    problems: tuple[str, ...]
    joules: float | None = None
    joules_above_idle: float | None = None
    idle_watts: float | None = None

    def __str__(self) -> str:
        """A line for a terminal."""
        if self.joules is None:
            found = "; ".join(self.problems) or "none"
            return f"energy: expected a sensor, RAPL or hwmon, that can be read, found: {found}"
        return (
            f"energy: {self.joules:.3g} J an answer, {self.joules_above_idle:.3g} J of it above the idle device's "
            f"{self.idle_watts:.3g} W, by {', '.join(self.sensors)}"
        )


class EnergyBench:
    """Measures the energy of answers: the idle device when it is made, then what runs in the block of `answers`.

    - `system`: where sysfs is mounted.
    - `idle_seconds`: how long the idle device is measured.
    """

    def __init__(self, system: Path = SYSTEM, *, idle_seconds: float = 2.0) -> None:
        self._sensors, self._problems = find_sensors(system)
        self._idle = Meter(self._sensors)
        if self._sensors:
            with self._idle:
                time.sleep(idle_seconds)
        self.answers = Meter(self._sensors)

    def result(self, count: int) -> Energy:
        """The energy of each of `count` answers that were given in the block of `answers`."""
        names = tuple(sensor.name for sensor in self._sensors)
        problems = tuple(self._problems)
        if not names:
            return Energy(names, problems)
        watts = self._idle.joules / self._idle.seconds
        joules = self.answers.joules / count
        above = (self.answers.joules - watts * self.answers.seconds) / count
        return Energy(names, problems, joules, above, watts)


class Meter:
    """Adds up the energy that all sensors tell while its block runs: `joules` afterwards, over `seconds`."""

    def __init__(self, sensors: Sequence[Counter | Gauge]) -> None:
        self._counters = [sensor for sensor in sensors if isinstance(sensor, Counter)]
        self._gauges = [sensor for sensor in sensors if isinstance(sensor, Gauge)]
        self._stop = threading.Event()
        self.joules = self.seconds = 0.0

    def __enter__(self) -> Meter:
        self._starts = [counter.read() for counter in self._counters]
        self._begin = time.perf_counter()
        if self._gauges:
            self._thread = threading.Thread(target=self._integrate, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._begin
        if self._gauges:
            self._stop.set()
            self._thread.join()
        for counter, start in zip(self._counters, self._starts, strict=True):
            used = counter.read() - start
            self.joules += used + counter.wraps_at if used < 0 and counter.wraps_at else max(used, 0.0)

    def _integrate(self) -> None:
        last = self._begin
        stopped = False
        while not stopped:
            stopped = self._stop.wait(_INTERVAL)
            watts, now = sum(gauge.read() for gauge in self._gauges), time.perf_counter()
            self.joules += watts * (now - last)
            last = now


def _rapl(system: Path) -> list[Counter]:
    """One counter for each package; what lies within a package is counted there."""
    counters = []
    for zone in sorted(system.glob("class/powercap/intel-rapl:*")):
        name = _text(zone / "name")
        if name.startswith("package"):
            most = _text(zone / "max_energy_range_uj")
            wraps_at = int(most) * _MICRO if most.isdecimal() else None
            counters.append(Counter(f"RAPL {name}", _reader(zone / "energy_uj", _MICRO), wraps_at))
    return counters


def _energy_counters(system: Path) -> list[Counter]:
    files = sorted(system.glob("class/hwmon/hwmon*/energy*_input"))
    return [Counter(_title(file), _reader(file, _MICRO)) for file in files]


def _power_gauges(system: Path) -> list[Gauge]:
    files = sorted(system.glob("class/hwmon/hwmon*/power*_input"))
    gauges = [Gauge(_title(file), _reader(file, _MICRO)) for file in files]
    for current in sorted(system.glob("class/hwmon/hwmon*/curr*_input")):
        voltage = current.with_name(current.name.replace("curr", "in"))
        if voltage.is_file():
            gauges.append(Gauge(_title(voltage), _product(_reader(voltage, _MILLI), _reader(current, _MILLI))))
    whole = [gauge for gauge in gauges if gauge.name.endswith(_WHOLE_BOARD)]
    return whole or gauges


def _reader(file: Path, unit: float) -> Read:
    return lambda: int(file.read_text()) * unit


def _product(first: Read, second: Read) -> Read:
    return lambda: first() * second()


def _title(file: Path) -> str:
    """The name of the chip and the label of one of its sensors."""
    label = _text(file.with_name(file.name.replace("_input", "_label"))) or file.name.removesuffix("_input")
    return f"{_text(file.with_name('name')) or file.parent.name} {label}"


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
