from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Engine
from clipshelf.cli.main import main
from clipshelf.errors import InputError
from clipshelf.plan.queues import Cluster, simulate
from clipshelf.plan.rates import Rates, measure_rates
from clipshelf.plan.sizing import Demand, Machine, plan, search_seconds

RATES = Rates(
    threads=2,
    dim=512,
    picture=0.02,
    text=0.002,
    queries=(0.009, 0.010, 0.011),
    text_queries=(0.002, 0.003),
    scan=1e-4,
    scan_number=2e-11,
    jitter=(0.9, 1.0, 1.1),
)
DEMAND = Demand(products=1_000_000, dim=512, qps=200, p99=0.04)
MACHINE = Machine(cpus=16, memory=64e9)


def erlang_c(load: float, servers: int) -> float:
    """Probability that an arrival waits in a queue M/M/c."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**n / math.factorial(n) for n in range(servers)) + last)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (4, 2.8)])
def test_waits_are_those_of_queueing_theory(servers: int, load: float) -> None:
    """The mean wait of M/M/c: C(c, a) / (c mu - lambda)."""
    mean, service = 0.01, np.random.default_rng(7).exponential(0.01, 100_000)
    nothing = Cluster(servers, 1, 1, 1e-12, 0.0)
    waits = simulate(nothing, load / mean, service.tolist(), [1.0], queries=50_000)
    expected = mean + erlang_c(load, servers) * mean / (servers - load)
    assert waits.mean() == pytest.approx(expected, rel=0.1)


def test_a_fixed_service_waits_half_as_long() -> None:
    """Pollaczek-Khinchine: with one shard and one replica, M/D/1 waits rho / (2 (1 - rho)) services."""
    waits = simulate(Cluster(8, 1, 1, 0.01, 0.0), 60.0, [1e-12], [1.0], queries=50_000)
    assert waits.mean() == pytest.approx(0.01 + 0.01 * 0.6 / (2 * 0.4), rel=0.1)


def test_the_slowest_shard_decides() -> None:
    idle = simulate(Cluster(1000, 50, 1, 0.01, 0.002), 0.001, [0.005], [1.0, 2.0], queries=1_000)
    np.testing.assert_allclose(idle, 0.005 + 0.02 + 0.002)


def test_a_plan_answers_in_time_and_one_machine_fewer_does_not() -> None:
    found = plan(DEMAND, MACHINE, RATES)
    assert found.p99 <= DEMAND.p99
    assert found.machines == found.shards * found.replicas + found.embedders
    assert found.shard_memory <= MACHINE.memory
    with pytest.raises(InputError, match=r"p99: expected more than .*ms for one without a photo \(--photos 0\)$"):
        plan(replace(DEMAND, p99=0.010), MACHINE, RATES)
    with pytest.raises(InputError, match=r"p99: expected more than .* CPUs$"):
        plan(replace(DEMAND, p99=0.001, photos=0.0), MACHINE, RATES)


def test_the_arithmetic() -> None:
    found = plan(DEMAND, MACHINE, RATES)
    numbers = math.ceil(DEMAND.products / found.shards) * 1024
    assert found.search == pytest.approx(1e-4 + max(numbers * 2e-11 * 2 / 16, numbers / 100e9))
    assert found.embedding_cpu_seconds == pytest.approx(1_000_000 * 0.022)
    assert found.embedding_hours == pytest.approx(found.embedding_cpu_seconds / 3600 / (found.machines * 16))
    assert found.busy == pytest.approx(200 * found.search / found.replicas)


def test_queries_without_a_photo_are_embedded_sooner() -> None:
    texts, half = (plan(replace(DEMAND, photos=share), MACHINE, RATES) for share in (0.0, 0.5))
    fast = replace(DEMAND, photos=0.0, p99=0.012)
    assert plan(fast, MACHINE, RATES).p99 <= 0.012
    with pytest.raises(InputError, match=r"embedding a query takes 11\.0 ms of it on 2 CPUs"):
        plan(replace(fast, photos=0.5), MACHINE, RATES)
    assert texts.embedders <= half.embedders <= plan(DEMAND, MACHINE, RATES).embedders
    with pytest.raises(InputError, match=r"photos: expected a share from 0 to 1, found 1\.5"):
        plan(replace(DEMAND, photos=1.5), MACHINE, RATES)


def test_more_of_anything_needs_no_fewer_machines() -> None:
    base = plan(DEMAND, MACHINE, RATES).machines
    assert plan(replace(DEMAND, qps=400), MACHINE, RATES).machines > base
    assert plan(replace(DEMAND, products=4_000_000), MACHINE, RATES).machines > base
    assert plan(DEMAND, replace(MACHINE, cpus=8), RATES).machines >= base
    assert search_seconds(DEMAND, replace(MACHINE, bandwidth=1e9), RATES, 10) == pytest.approx(1e-4 + 0.1024)


@pytest.mark.parametrize(
    ("demand", "machine"),
    [
        (DEMAND, replace(MACHINE, memory=1000.0)),  # fewer bytes than a product has
        (replace(DEMAND, products=10**15), MACHINE),
        (replace(DEMAND, qps=1e12), MACHINE),
    ],
)
def test_a_demand_that_no_cluster_meets_says_how_large_it_is(demand: Demand, machine: Machine) -> None:
    size = f"{demand.products * 5668 / 1e9:,.0f} GB of memory"
    with pytest.raises(
        InputError, match=f"at most 100,000 machines, found that it needs more; all products take {size}"
    ):
        plan(demand, machine, RATES)


@pytest.mark.parametrize("change", [{"qps": 0}, {"products": 0}, {"p99": math.inf}, {"pictures": -1.0}])
def test_a_demand_that_is_none(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(change))}: expected a number above 0"):
        plan(replace(DEMAND, **change), MACHINE, RATES)  # type: ignore[arg-type]


def test_rates_of_a_machine(engine: Engine) -> None:
    rates = measure_rates(engine)
    assert rates.threads == engine.threads
    assert Rates.from_dict(json.loads(json.dumps({"rates": rates.to_dict()}))) == rates


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "expected what `clipshelf bench --rates --json` prints"),
        ({"rates": {}}, "found no threads"),
        ({**RATES.to_dict(), "scan": -1}, "scan: expected a number above 0, found -1"),
        ({**RATES.to_dict(), "jitter": []}, "jitter: expected a list of numbers"),
        ({**RATES.to_dict(), "threads": 0.5}, r"threads: expected a whole number, found 0\.5"),
        ({**RATES.to_dict(), "scan": 10**400}, "scan: expected a number above 0"),
    ],
)
def test_rates_that_are_none(data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Rates.from_dict(data)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rates.json"
    file.write_text(json.dumps({"rates": RATES.to_dict()}))
    command = ["plan", "--products", "1M", "--qps", "200", "--p99", "40ms", "--rates", str(file)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machines"] == plan(DEMAND, MACHINE, RATES).machines
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"{found['machines']} machines of 16 CPUs and 64 GB" in printed
    assert "assumed: 512 dims" in printed and "queries of a sentence and a photo;" in printed
    assert main([*command, "--photos", "0.25"]) == 0
    assert "queries of a sentence, 25% of them with a photo;" in capsys.readouterr().out
    assert main([*command[:-1], str(tmp_path)]) == 1
    file.write_text("{")
    assert main(command) == 1
    assert "expected JSON of `clipshelf bench --rates --json`" in capsys.readouterr().err


def test_half_a_product_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--products", "1.5", "--qps", "1", "--p99", "1s"])
    assert "--products: expected a whole number, found '1.5'" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "10x", "-3", "1e9", "ten"])
def test_quantities_that_are_none(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--products", value, "--qps", "1", "--p99", "1s"])
    assert "expected a number above 0 such as" in capsys.readouterr().err or value == "-3"
