"""Addresses of Azure storage services: account names, URLs, connection strings, emulators."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from airflow_azureml.runtime.exceptions import UserErrorException

PUBLIC_SUFFIX = "core.windows.net"
_SERVICES = ("blob", "file", "dfs", "queue", "table")
_EMULATOR_ACCOUNT = "devstoreaccount1"
# Printed in Azurite's documentation and the same everywhere: it protects nothing.
_EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one service of an account is.

    :param url: its URL without a slash at its end.
    :param account: the account's name.
    :param suffix: domain of the cloud, such as ``core.windows.net``.
    """

    url: str
    account: str
    suffix: str = PUBLIC_SUFFIX


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """What the connection string of a storage account says."""

    account: str | None
    account_key: str | None = field(repr=False)
    sas_token: str | None = field(repr=False)
    protocol: str
    suffix: str
    endpoints: dict[str, str]

    def endpoint(self, service: str) -> Endpoint:
        """Return where a service is."""
        given = self.endpoints.get(service)
        if given is None and service == "dfs":
            given = self.endpoints.get("blob")
        if given is not None:
            url = given.rstrip("/")
            return Endpoint(url, account_of(url, self.account), self.suffix)
        if self.account is None:
            # A SAS comes with endpoints, maybe of another service of the same account.
            return service_endpoint(next(iter(self.endpoints.values())), None, service)
        url = f"{self.protocol}://{self.account}.{service}.{self.suffix}"
        return Endpoint(url, self.account, self.suffix)


def service_endpoint(address: str, suffix: str | None, service: str) -> Endpoint:
    """Return where a service of an account is.

    :param address: name of the account, host name or URL of any of its services, or URL of an emulator.
    :param suffix: domain of the cloud for a bare name; None for the public one.
    :param service: ``blob``, ``file`` or ``dfs``.
    """
    text = address.strip().rstrip("/")
    if "://" not in text:
        text = (
            f"https://{text}"
            if "." in text or ":" in text
            else f"https://{text}.{service}.{suffix or PUBLIC_SUFFIX}"
        )
    parts = urlsplit(text)
    host = parts.hostname or ""
    labels = host.split(".")
    if _is_path_style(host) or len(labels) < 3 or labels[1] not in _SERVICES:
        return Endpoint(text, account_of(text, None), suffix or PUBLIC_SUFFIX)
    moved = ".".join([labels[0], service, *labels[2:]])
    port = f":{parts.port}" if parts.port else ""
    return Endpoint(f"{parts.scheme}://{moved}{port}", labels[0], ".".join(labels[2:]))


def account_of(url: str, known: str | None) -> str:
    """Return the account that a service's URL belongs to: of an emulator its path, else what is known or the host's first part.

    :param known: a name, or a URL, that a connection gives.
    """
    parts = urlsplit(url)
    if _is_path_style(parts.hostname or ""):
        folder = parts.path.strip("/").partition("/")[0]
        return folder or known or _EMULATOR_ACCOUNT
    if known and "://" not in known and "." not in known:
        return known
    return (parts.hostname or "").partition(".")[0]


def connection_string(text: str, where: str) -> ConnectionString:
    """Read the connection string of a storage account.

    :param where: what to call it in messages.
    :raises UserErrorException: it lacks the account, its endpoints, or a key and a SAS.
    """
    pairs = dict(_pair(part) for part in text.split(";") if part.strip())
    if pairs.get("usedevelopmentstorage", "").lower() == "true":
        base = "http://127.0.0.1:10000"
        return ConnectionString(
            _EMULATOR_ACCOUNT,
            _EMULATOR_KEY,
            None,
            "http",
            PUBLIC_SUFFIX,
            {"blob": f"{base}/{_EMULATOR_ACCOUNT}"},
        )
    endpoints = {name: pairs[f"{name}endpoint"] for name in _SERVICES if pairs.get(f"{name}endpoint")}
    account = pairs.get("accountname")
    if account is None and not endpoints:
        raise UserErrorException(
            f"{where} has neither AccountName nor an endpoint; copy it whole from the portal"
        )
    key, sas = pairs.get("accountkey"), pairs.get("sharedaccesssignature")
    if not key and not sas:
        raise UserErrorException(f"{where} has neither AccountKey nor SharedAccessSignature; copy it whole")
    return ConnectionString(
        account=account,
        account_key=key,
        sas_token=sas,
        protocol=pairs.get("defaultendpointsprotocol", "https"),
        suffix=pairs.get("endpointsuffix", PUBLIC_SUFFIX),
        endpoints=endpoints,
    )


def _pair(part: str) -> tuple[str, str]:
    # Keys are Base64 and SAS are queries: only the first '=' separates.
    name, _, value = part.strip().partition("=")
    return name.strip().lower(), value.strip()


def _is_path_style(host: str) -> bool:
    """Tell whether a host names no account, so that the account is the first part of the path."""
    if host == "localhost" or "." not in host:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
