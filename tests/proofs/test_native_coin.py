"""Terms whose asset is a chain's own coin: bitcoin on Rootstock, and nothing of the kind on BOB."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from layer2.config import BobSection, Layer2Config, RootstockSection
from layer2.contracts.htlc import HTLC_ADDRESS, NATIVE_COIN
from layer2.errors import ProofRefused
from layer2.formats.evm_address import to_checksum
from layer2.legs.evm import EvmLeg
from layer2.legs.shown import EvidencePolicy, OpenPoint, Owed
from layer2.legs.views import Side
from layer2.manager.verification import configured_policy
from layer2.proofs.policy import OFFLINE
from proofs import made_proofs as made

OWED = Owed(Side.PAYER, made.AMOUNT, b"\x01" * 32, b"\x02" * 32, issued_at=1_800_000_000)
ANY, LISTED = EvidencePolicy(tokens=None), EvidencePolicy(tokens={60808: {made.evm_leg().token: 8}})
ELSEWHERE = b"\x0c" * 20


def coin_leg(leg: EvmLeg, decimals: int = 18) -> EvmLeg:
    amount = OWED.amount * 10 ** (decimals - 8)
    return replace(leg, token=NATIVE_COIN, token_decimals=decimals, amount=amount, contract=HTLC_ADDRESS)


@pytest.mark.parametrize("policy", [ANY, LISTED], ids=["no tokens", "tokens of another chain"])
def test_rootstocks_own_coin_needs_no_list(policy: EvidencePolicy) -> None:
    leg = coin_leg(made.rootstock_leg())
    assert leg.check_owed(OWED, policy) == ()
    with pytest.raises(ProofRefused, match="amount"):
        replace(leg, amount=leg.amount + 1).check_owed(OWED, policy)


def test_rootstocks_own_coin_has_eighteen_decimals() -> None:
    # With eight, the lock would hold a ten-billionth of what the terms owe.
    with pytest.raises(ProofRefused, match="the coin has 18 decimals"):
        coin_leg(made.rootstock_leg(), decimals=8).check_owed(OWED, ANY)


def test_the_coin_of_bob_is_not_bitcoin() -> None:
    leg = coin_leg(made.evm_leg())
    assert [matter.point for matter in leg.check_owed(OWED, ANY)] == [OpenPoint.ASSET]
    with pytest.raises(ProofRefused, match="does not list the token"):
        leg.check_owed(OWED, LISTED)


def test_a_token_on_rootstock_is_accepted_only_if_it_is_listed() -> None:
    leg = replace(coin_leg(made.rootstock_leg()), token=b"\x0d" * 20)
    assert [matter.point for matter in leg.check_owed(OWED, ANY)] == [OpenPoint.ASSET]
    with pytest.raises(ProofRefused, match="does not list the token"):
        leg.check_owed(OWED, LISTED)


def test_a_configuration_accepts_its_own_contract_and_token_and_no_coin_as_a_token() -> None:
    key = SecretStr("ab" * 32)
    config = Layer2Config(
        network="regtest",
        bob=BobSection(
            network="regtest", rpc_url="http://127.0.0.1:1", token_address="0x" + "0d" * 20, token_decimals=8, key=key
        ),
        rootstock=RootstockSection(
            network="regtest",
            rpc_url="http://127.0.0.1:2",
            chain_id=33,
            contract_address=to_checksum(ELSEWHERE, 33),
            key=key,
        ),
    )
    policy = configured_policy(config, OFFLINE)
    assert policy.tokens == {60808: {b"\x0d" * 20: 8}}
    # BOB's contract has an address that commits to its code.
    assert policy.contracts == {33: frozenset({ELSEWHERE})}
    leg = replace(coin_leg(made.rootstock_leg()), contract=ELSEWHERE)
    assert leg.check_owed(OWED, policy) == ()
    with pytest.raises(ProofRefused, match="does not commit to the contract's code"):
        leg.check_owed(OWED, OFFLINE)
    given = configured_policy(config, replace(OFFLINE, contracts={33: frozenset({b"\x01" * 20}), 1: frozenset()}))
    assert given.contracts == {33: frozenset({ELSEWHERE, b"\x01" * 20}), 1: frozenset()}
