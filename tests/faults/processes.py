"""Programs that fork or end at bad moments. Usage: processes.py PROGRAM ARTIFACT; prints "done" where all went well."""

from __future__ import annotations

import atexit
import csv
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, read_source
from clipshelf.rank.ranker import Ranker
from clipshelf.types import FloatArray

SECONDS = 30  # a child that takes longer hangs


class Service:
    """What a service does: embed, rank in every way there is, and recommend."""

    def __init__(self, artifact: str) -> None:
        rng = np.random.default_rng(0)
        self.engine = Engine.load(artifact, threads=2)
        large = rng.standard_normal((40_000, 512), np.float32)  # two parts, one for each thread
        self.rankers = [
            Ranker(large, threads=2),
            Ranker(large[:4096], threads=2),
            Ranker(large[:4096], "fp32", threads=2),
        ]
        self.queries = rng.standard_normal((65, 512), np.float32)  # two groups
        self.pictures = [rng.integers(0, 255, (12, 20, 3), np.uint8) for _ in range(20)]
        words = ["red", "green", "blue", "shoe", "shirt", "watch", "warm"]
        products = [{"id": f"p{number}", "text": " ".join(rng.choice(words, 4))} for number in range(1000)]
        self.wishes = [{"liked": [f"p{(7 * wish + n) % 1000}" for n in range(40)], "k": 50} for wish in range(20)]
        self.products = products[:200]
        self.recommender = Recommender(self.engine, Catalogue.build(self.engine, products))
        self.folder = Path(artifact).with_name(f"shop-{os.getpid()}")
        self.recommender.catalogue.save(self.folder)

    def reload(self) -> Recommender:
        """A recommender of the saved catalogue, of which nothing has been read yet."""
        return Recommender(self.engine, Catalogue.load(self.folder))

    def jobs(self) -> list[Callable[[], FloatArray]]:
        jobs: list[Callable[[], FloatArray]] = [
            lambda: self.engine.embed_texts(["red shoe", "blue " * 100]),
            lambda: self.engine.embed_images(self.pictures),
            lambda: np.array([item.score for item in self.recommender.recommend(text="red", k=5)], np.float32),
            lambda: np.array([answer[0].score for answer in self.recommender.recommend_batch(self.wishes)], np.float32),
            # statistics are computed on first use, which a fork may interrupt
            lambda: Catalogue.build(self.engine, self.products).statistics.means.astype(np.float32),
            lambda: np.array([item.score for item in self.reload().recommend(text="red", k=5)], np.float32),
        ]
        for ranker in self.rankers:
            jobs.append(lambda ranker=ranker: ranker.top_k(self.queries[:1], 5)[0])  # type: ignore[misc]
            jobs.append(lambda ranker=ranker: ranker.top_k(self.queries, 5)[0])  # type: ignore[misc]
        return jobs

    def answers(self) -> list[FloatArray]:
        return [job() for job in self.jobs()]

    def check(self, expected: list[FloatArray]) -> None:
        for found, wanted in zip(self.answers(), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def wait(child: int) -> None:
    """Wait for a child that ends well in time, and kill it otherwise."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            if status:
                raise SystemExit(f"expected a child that ends with 0, found {status}")
            return
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    raise SystemExit(f"expected a child that ends within {SECONDS} s, found one that hangs")


def child_that_works(service: Service) -> None:
    expected = service.answers()
    child = os.fork()
    if not child:
        service.check(expected)
        sys.exit(0)
    wait(child)
    service.check(expected)


def child_that_only_ends(service: Service) -> None:
    service.answers()
    child = os.fork()
    if not child:
        sys.exit(0)
    wait(child)


def grandchild(service: Service) -> None:
    expected = service.answers()
    child = os.fork()
    if not child:
        service.check(expected)
        child = os.fork()
        if not child:
            service.check(expected)
            sys.exit(0)
        wait(child)
        sys.exit(0)
    wait(child)


def busy_threads(service: Service) -> None:
    expected = service.answers()
    stop = threading.Event()

    def repeat(job: Callable[[], FloatArray]) -> None:
        while not stop.is_set():
            job()

    threads = [threading.Thread(target=repeat, args=[job]) for job in service.jobs()]
    for thread in threads:
        thread.start()
    try:
        for number in range(25):
            child = os.fork()
            if not child:
                stop.set()
                if number % 5 == 0:
                    service.check(expected)
                sys.exit(0)
            wait(child)
    finally:
        stop.set()
    for thread in threads:
        thread.join()
    service.check(expected)


_recommenders: list[Recommender] = []  # one: that of this process


def _keep(recommender: Recommender) -> None:
    _recommenders.append(recommender)


def _answer(number: int) -> float:
    return _recommenders[0].recommend(text="red", k=number)[0].score


def fork_pool(service: Service) -> None:
    service.answers()
    _recommenders.append(service.recommender)
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, context) as pool:
        assert list(pool.map(_answer, [3] * 8)) == [_answer(3)] * 8
    with context.Pool(2) as workers:
        assert workers.map(_answer, [3] * 8) == [_answer(3)] * 8
        workers.close()
        workers.join()


def spawn_pool(service: Service) -> None:
    _recommenders.append(service.recommender)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, initializer=_keep, initargs=(service.recommender,)) as pool:
        assert list(pool.map(_answer, [3] * 8)) == [_answer(3)] * 8


def reading_thread(service: Service) -> None:
    """Children of a process whose other threads read tables, which change the csv module's limit of a cell."""
    before = csv.field_size_limit()
    table = Path(sys.argv[2]) / "table.csv"
    table.write_text(
        "id,text\n" + "".join(f"p{number},red shoe\n" for number in range(20_000)) + "long," + 200_000 * "x"
    )
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            assert len(read_source(table, DEFAULT_FIELDS).records) == 20_001

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            time.sleep(0.02)
            child = os.fork()
            if not child:
                assert csv.field_size_limit() == before
                stop.set()
                assert len(read_source(table, DEFAULT_FIELDS).records) == 20_001
                sys.exit(0)
            wait(child)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert csv.field_size_limit() == before


def late_thread(service: Service) -> None:
    """A thread goes on after the main thread has ended."""

    def late() -> None:
        threading.main_thread().join()
        time.sleep(0.3)
        service.answers()
        print("late")

    threading.Thread(target=late).start()


def late_first_use(service: Service) -> None:
    """The same, by a service that no call has used before."""
    late_thread(service)


def late_thread_after_work(service: Service) -> None:
    service.answers()
    late_thread(service)


def exit_handler(service: Service) -> None:
    atexit.register(lambda: print("late", len(service.answers())))


def busy_daemons(service: Service) -> None:
    service.answers()

    def repeat(job: Callable[[], FloatArray]) -> None:
        while True:
            job()

    for job in service.jobs():
        threading.Thread(target=repeat, args=[job], daemon=True).start()
    time.sleep(0.3)


if __name__ == "__main__":
    globals()[sys.argv[1]](Service(sys.argv[2]))
    print("done")
