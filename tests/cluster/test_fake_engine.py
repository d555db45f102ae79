"""The lab's engine answers as the one did of which the fake engine's answers were recorded."""

import docker
import pytest
from engine_exchanges import ask_all, recorded

from openbalena.lab import Endpoint

pytestmark = pytest.mark.cluster


def test_an_engine_answers_as_it_did_when_its_answers_were_recorded(lab: Endpoint) -> None:
    client = docker.APIClient(base_url=lab.host, version="auto")
    try:
        assert ask_all(client) == recorded()
    finally:
        client.close()
