"""v1's ways to log in to Azure. Nobody has to log in here; scripts construct these and pass them on."""

from __future__ import annotations

from typing import Any


class _Authentication:
    """Accepts whatever v1's class accepted, and keeps nothing of it: it may be a secret."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


class InteractiveLoginAuthentication(_Authentication):
    """Stands for a login in a browser."""


class ServicePrincipalAuthentication(_Authentication):
    """Stands for a service principal."""


class MsiAuthentication(_Authentication):
    """Stands for a managed identity."""


class AzureCliAuthentication(_Authentication):
    """Stands for the Azure command line's login."""
