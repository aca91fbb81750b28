"""What errors of Ray say to a user."""

from __future__ import annotations

import pytest
from clipshelf.errors import InputError
from clipshelf.scale.ray_runtime import cause_of, says_lost

exceptions = pytest.importorskip("ray.exceptions", reason="needs Ray: pip install 'clipshelf[scale]'")


def test_the_error_of_a_task_is_named_without_the_text_of_ray() -> None:
    error = exceptions.RayTaskError("open", "Traceback ...", InputError("expected a folder, found none"))
    assert cause_of(error) == "expected a folder, found none"


def test_an_actor_that_nobody_needs_hints_at_the_token() -> None:
    removed = exceptions.RayError("The actor is dead because all references to the actor were removed.")
    killed = exceptions.RayError("The actor is dead because its worker process has died.")
    assert "RAY_AUTH_MODE must be the same" in cause_of(removed)
    assert "RAY_AUTH_MODE" not in cause_of(killed)


def test_errors_say_whether_a_process_or_node_was_lost() -> None:
    node = exceptions.NodeDiedError("a node died")
    assert says_lost(node) and says_lost(exceptions.RayTaskError("embed", "Traceback ...", node))
    assert says_lost(exceptions.ActorDiedError())
    assert not says_lost(
        exceptions.ActorDiedError(exceptions.RayTaskError("__init__", "Traceback ...", OSError("gone")))
    )
    assert not says_lost(exceptions.RayTaskError("read", "Traceback ...", InputError("expected a folder, found none")))
    assert not says_lost(ValueError("lost"))
