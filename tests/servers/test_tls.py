"""Certificates are checked, and the authorities to trust can be named."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from qwen_retrieval.errors import ServerError, SettingsError
from servers.clients import Client, Way, is_right
from servers.fault_server import FaultServer

ways = pytest.mark.parametrize("way", ["sync", "async"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[FaultServer]:
    """A server with a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FaultServer("vllm", tls=context) as running:
        yield running


@ways
def test_an_unknown_certificate_is_refused(server: FaultServer, way: Way) -> None:
    """By default; the error names the setting, and no request was sent."""
    client = Client(server, way=way, timeout=5)
    with pytest.raises(ServerError, match=r"certificate.*verify_tls"):
        client.use()
    client.close()
    assert server.requests == []


def test_an_address_in_capitals_is_checked_too(server: FaultServer) -> None:
    """The scheme means the same in either case."""
    client = Client(server, way="sync", base_url=server.url.replace("https", "HTTPS"), timeout=5)
    with pytest.raises(ServerError, match=r"certificate.*verify_tls"):
        client.use()
    client.close()
    assert server.requests == []


@ways
def test_an_authority_can_be_named(
    server: FaultServer,
    authority: trustme.CA,
    tmp_path: Path,
    way: Way,
) -> None:
    """The path of a file with its certificate makes the server's known."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    client = Client(server, way=way, verify_tls=str(path))
    assert is_right(client.use())
    client.close()


def test_the_authority_vouches_for_one_name_only(authority: trustme.CA, tmp_path: Path) -> None:
    """A certificate for another host is refused also where its authority is known."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.org").configure_cert(context)
    with FaultServer("vllm", tls=context) as elsewhere:
        client = Client(elsewhere, way="sync", verify_tls=str(path), timeout=5)
        with pytest.raises(ServerError, match="certificate"):
            client.use()
        client.close()
        assert elsewhere.requests == []


def test_a_missing_file_of_authorities_is_named(server: FaultServer, tmp_path: Path) -> None:
    """The error names the path."""
    client = Client(server, way="sync", verify_tls=str(tmp_path / "missing.pem"))
    with pytest.raises(SettingsError, match=r"verify_tls.*missing\.pem"):
        client.use()
    client.close()


@ways
def test_checking_can_be_turned_off(server: FaultServer, way: Way) -> None:
    """`verify_tls=False` takes any certificate."""
    client = Client(server, way=way, verify_tls=False)
    assert is_right(client.use())
    client.close()
