"""Addresses with the chain id in the checksum: the test cases of EIP-1191 (ERC-1191)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer2.errors import FormatError
from layer2.formats.evm_address import parse_address, to_checksum, uses_chain_checksum

# Source: the test cases of EIP-1191, ethereum/EIPs@014ae509367862ee37a120bcd9868fa27d08a317. The later text in
# ethereum/ERCs has more of them, of which four contradict the algorithm beside them.
MAINNET = [
    "0x6549F4939460DE12611948B3F82B88C3C8975323",
    "0x27b1FdB04752BBc536007A920D24ACB045561c26",
    "0x3599689E6292B81B2D85451025146515070129Bb",
    "0x52908400098527886E0F7030069857D2E4169ee7",
    "0x5aaEB6053f3e94c9b9a09f33669435E7ef1bEAeD",
    "0x8617E340b3D01Fa5f11f306f4090fd50E238070D",
    "0xD1220A0Cf47c7B9BE7a2e6ba89F429762E7B9adB",
    "0xDBF03B407c01E7CD3cBea99509D93F8Dddc8C6FB",
    "0xDe709F2102306220921060314715629080e2FB77",
    "0xFb6916095cA1Df60bb79ce92cE3EA74c37c5d359",
]
TESTNET = [
    "0x42712D45473476B98452F434E72461577D686318",
    "0x27B1FdB04752BbC536007a920D24acB045561C26",
    "0x3599689e6292b81b2D85451025146515070129Bb",
    "0x52908400098527886E0F7030069857D2e4169EE7",
    "0x5aAeb6053F3e94c9b9A09F33669435E7EF1BEaEd",
    "0x66f9664F97F2b50f62d13eA064982F936DE76657",
    "0x8617e340b3D01fa5F11f306F4090Fd50e238070d",
    "0xDE709F2102306220921060314715629080e2Fb77",
    "0xFb6916095CA1dF60bb79CE92ce3Ea74C37c5D359",
    "0xd1220a0CF47c7B9Be7A2E6Ba89f429762E7b9adB",
    "0xdbF03B407C01E7cd3cbEa99509D93f8dDDc8C6fB",
]


@pytest.mark.parametrize(("chain_id", "text"), [(30, text) for text in MAINNET] + [(31, text) for text in TESTNET])
def test_the_vectors_are_read_and_written(chain_id: int, text: str) -> None:
    address = parse_address(text, chain_id)
    assert to_checksum(address, chain_id) == text
    assert parse_address(text.lower(), chain_id) == address


def test_an_address_of_another_network_is_refused() -> None:
    own = {text.lower(): text for text in TESTNET}
    both = [(text, own[text.lower()]) for text in MAINNET if text.lower() in own]
    assert len(both) == 9
    for mainnet, testnet in both:
        with pytest.raises(FormatError, match="EIP-1191 checksum for chain 31"):
            parse_address(mainnet, 31)
        with pytest.raises(FormatError, match="EIP-1191 checksum for chain 30"):
            parse_address(testnet, 30)
        with pytest.raises(FormatError, match="EIP-55"):
            parse_address(mainnet)


@given(st.binary(min_size=20, max_size=20), st.sampled_from([1, 60808, 808813]))
@settings(max_examples=50)
def test_other_chains_keep_the_checksum_of_eip_55(address: bytes, chain_id: int) -> None:
    assert not uses_chain_checksum(chain_id)
    assert to_checksum(address, chain_id) == to_checksum(address)
    assert parse_address(to_checksum(address), chain_id) == address


def test_the_three_networks_of_rootstock_use_it() -> None:
    assert [chain_id for chain_id in range(1000) if uses_chain_checksum(chain_id)] == [30, 31, 33]
