"""The stand-in api's view of who asks, as the real api's proxy-addr has it."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from lab.api.standin.client_address import client_address

TRUSTED = [ipaddress.ip_network("10.0.0.0/8")]
OUTSIDE = st.ip_addresses(v=4).filter(lambda address: address not in TRUSTED[0]).map(str)
INSIDE = st.ip_addresses(v=4, network="10.0.0.0/8").map(str)


@given(peer=OUTSIDE, header=st.text(max_size=50))
def test_a_header_from_outside_is_worth_nothing(peer: str, header: str) -> None:
    assert client_address(peer, header, TRUSTED) == peer


@given(peer=INSIDE, forged=st.lists(st.one_of(OUTSIDE, INSIDE, st.just("nonsense")), max_size=3), client=OUTSIDE)
def test_the_rightmost_untrusted_address_counts(peer: str, forged: list[str], client: str) -> None:
    assert client_address(peer, ", ".join([*forged, client]), TRUSTED) == client


def test_only_proxies() -> None:
    assert client_address("10.0.0.1", "10.0.0.3, 10.0.0.2", TRUSTED) == "10.0.0.3"
    assert client_address("10.0.0.1", "", TRUSTED) == "10.0.0.1"
