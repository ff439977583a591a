"""What of Ray is needed in several places: its errors, and a named actor.

Imports Ray when it is used, as all of this room does, for it is an extra. Invariant: whoever catches `failures()` has
caught all that a call to an actor can end in.
"""

from typing import Any

NAMESPACE = "longtake"


def failures() -> tuple[type[Exception], ...]:
    """The actor or its node is gone, or does not answer."""
    from ray.exceptions import RayError

    return (RayError, TimeoutError)


def is_passing(error: Exception) -> bool:
    """It may answer again: it is being started, or the way to it is interrupted."""
    from ray.exceptions import ActorUnavailableError

    return isinstance(error, ActorUnavailableError | TimeoutError)


def named_actor(name: str) -> Any | None:
    """Its handle; None where there is none."""
    import ray

    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None


def actor_names() -> list[str]:
    """Of all that are there in this service's namespace."""
    import ray

    found = ray.util.list_named_actors(all_namespaces=True)
    return [str(actor["name"]) for actor in found if actor["namespace"] == NAMESPACE]
