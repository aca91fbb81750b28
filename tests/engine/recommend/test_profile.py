from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from clipshelf import Interaction, Profile
from clipshelf.errors import InputError

NOW = 1_800_000_000.0
HISTORY = [("b", "bought", NOW), ("a", "viewed", NOW - 5), ("c", "rated", NOW, 4)]


def profile() -> Profile:
    return Profile(texts=["warm"], images=["p.jpg"], liked=["a", ("b", 2)], disliked={"c": 0.5}, history=HISTORY)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    profile().save(tmp_path / "p.json")
    loaded = Profile.load(tmp_path / "p.json")
    assert loaded == profile()
    assert loaded.history[0] == Interaction("a", "viewed", NOW - 5)
    assert dict(loaded.liked) == {"a": 1.0, "b": 2.0}
    assert Profile.from_dict(profile().to_dict(), allow_paths=True) == profile()


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", "\xff", "[" * 100_000),
        '{"format": 2}',
        *(
            f'{{"format": 1, {field}}}'
            for field in (
                *('"likes": []', '"liked": [null]', '"liked": 5', f'"liked": {{"a": {"9" * 400}}}'),
                *('"texts": 5', '"texts": [5]', '"texts": [" "]', '"images": [5]'),
                *('"history": 5', '"history": [["a", ["b"], 0]]', f'"history": [["a", "viewed", {"9" * 400}]]'),
            )
        ),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"p\.json: "):
        Profile.load(path)


def test_update_and_merge_give_another_one() -> None:
    old = profile()
    new = old.update(liked=["c", ("a", 3)], history=[("d", "added to basket", NOW), *HISTORY], texts=["warm", "red"])
    assert dict(new.liked) == {"a": 3.0, "b": 2.0, "c": 1.0} and dict(new.disliked) == {}
    assert len(new.history) == 4 and new.texts == ("warm", "red")
    assert new.history[-1].kind == "added_to_basket" or "added_to_basket" in {event.kind for event in new.history}
    assert old == profile()
    assert new.update(disliked=["b"]).liked == {"a": 3.0, "c": 1.0}
    assert old.merge(old) == old
    assert old.merge(Profile()) == old == Profile().merge(old)


def test_the_same_event_twice_is_one() -> None:
    assert Profile(history=[*HISTORY, *HISTORY]) == Profile(history=HISTORY)


def test_it_can_be_copied_and_pickled() -> None:
    assert copy.deepcopy(profile()) == pickle.loads(pickle.dumps(profile())) == profile()


def test_only_known_products_stay() -> None:
    kept = profile().only(lambda id_: id_ != "b")
    assert kept.ids == {"a", "c"} and kept.texts == ("warm",)


@pytest.mark.parametrize("time", [NOW, "2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00", "2027-01-15T08:00:00"])
def test_times_are_read(time: Any) -> None:
    assert Interaction.of(("a", "viewed", time)).time == NOW
    assert Interaction.of(("a", "viewed", datetime.fromtimestamp(NOW, UTC))).time == NOW


def test_an_interaction_says_less_as_time_goes_by() -> None:
    event = Interaction.of(("a", "bought", NOW))
    assert event.faded(NOW, 10) == 1 and event.faded(NOW + 10, 10) == 0.5 and event.faded(NOW - 10, 10) == 1
    assert [Interaction.of(("a", "rated", 0, stars)).strength for stars in (1, 3, 5)] == [-1, 0, 1]
    kinds = [Interaction.of(("a", kind, 0)).strength for kind in ("viewed", "added to basket", "bought")]
    assert kinds == sorted(kinds) and kinds[0] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": "warm"}, "texts: expected a sequence, found one str"),
        ({"history": [("a", "viewed")]}, r"history: expected \(id, kind, time\)"),
        ({"history": [("a", 1, NOW)]}, "history: expected a kind"),
        ({"history": [("a", "viewed", NOW, 4)]}, "expected 1 to 5 stars for a product that was rated"),
        ({"history": [("a", "viewed", float("nan"))]}, "time: expected seconds"),
        ({"history": [(None, "viewed", NOW)]}, "history: expected a product id, found NoneType None"),
        ({"liked": [("a", float("inf"))]}, "liked: expected a strength above 0"),
        ({"liked": [("a", 1, 2)]}, r"liked: expected an id or \(id, strength\)"),
    ],
)
def test_misuse_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Profile(**arguments)
