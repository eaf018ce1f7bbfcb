"""An S3 in memory, moto's server: one per test session, a fresh bucket per test."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class S3Bucket:
    """A bucket, and how to reach it."""

    endpoint: str
    bucket: str

    def connection(self) -> str:
        """An Airflow connection as JSON, for an ``AIRFLOW_CONN_…`` variable."""
        fields: dict[str, Any] = {"conn_type": "aws", "login": "key", "password": "not-a-real-secret"}
        return json.dumps({**fields, "extra": {"endpoint_url": self.endpoint, "region_name": "us-east-1"}})

    def client(self) -> Any:
        """Amazon's own client."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="not-a-real-secret",
        )


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of the server of this test session."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_endpoint: str) -> S3Bucket:
    """A fresh bucket."""
    bucket = S3Bucket(s3_endpoint, f"test-{secrets.token_hex(8)}")
    bucket.client().create_bucket(Bucket=bucket.bucket)
    return bucket


@pytest.fixture
def s3_connection(s3_bucket: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an Airflow connection to the server of ``s3_bucket``."""
    monkeypatch.setenv("AIRFLOW_CONN_S3", s3_bucket.connection())
    return "s3"
