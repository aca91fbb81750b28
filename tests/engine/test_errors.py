from __future__ import annotations

import re

from clipshelf import errors


def test_every_error_derives_from_the_base_and_stands_in_the_tree() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert errors.__doc__ is not None
    assert len(kinds) > 5
    for kind in kinds:
        assert issubclass(kind, errors.ClipshelfError)
        assert re.search(rf"\b{kind.__name__}\b", errors.__doc__)
        assert len(kind.__mro__) > 4 or kind is errors.ClipshelfError


def test_an_unknown_id_prints_its_message_not_its_repr() -> None:
    assert str(errors.UnknownIdError("id 'x'")) == "id 'x'"
