"""Who asks, in tests of routes that have no entrance before them.

It knows FastAPI's overrides. Invariant: only the app that is given is changed.
"""

from fastapi import FastAPI

from service.access.principal import LOCAL, Principal
from service.api.gate import principal_of


def let_in(app: FastAPI, principal: Principal = LOCAL) -> None:
    """Every request is this principal's from now on."""
    app.dependency_overrides[principal_of] = lambda: principal
