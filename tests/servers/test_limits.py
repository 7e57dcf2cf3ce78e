"""What a server says that it takes holds under whatever name its model is asked for."""

from __future__ import annotations

from servers.clients import open_client
from servers.fault_server import FaultServer


def test_an_alias_of_the_only_model_has_its_limits() -> None:
    """One that the server does not list, as behind a gateway."""
    with FaultServer("vllm", max_length=77) as server:
        client = open_client(server, served_model="an-alias")
        found = client.served()
        client.close()
    assert (found.model, found.context) == ("an-alias", 77)
