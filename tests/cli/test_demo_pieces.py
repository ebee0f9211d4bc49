"""The demo's books and its thief: what does not add up, or is not refused, is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cli.running import layer2_here
from layer2.cli.demo_accounts import Books, Owned
from layer2.cli.demo_forgeries import forgeries, refusal
from layer2.legs.evm import EvmLeg
from layer2.model.layers import Layer2ProtocolType
from layer2.proofs.policy import ProofPolicy, Requirement
from proofs import made_bitcoin as btc
from proofs import made_proofs as made
from proofs import made_storage

BOB, ROOTSTOCK, LIGHTNING, BITCOIN = (Layer2ProtocolType[name] for name in ("BOB", "ROOTSTOCK", "LIGHTNING", "BITCOIN"))


def owned(bob: int, lightning: int, wei: int) -> Owned:
    return Owned({BOB: bob, LIGHTNING: lightning}, {BOB: wei})


GOOD = Books(
    before={"you": owned(1_000, 500, 90), "provider": owned(1_000, 500, 90)},
    after={"you": owned(900, 595, 80), "provider": owned(1_100, 405, 85)},
    fees={"you": {BOB: 10}, "provider": {BOB: 5}},
)
ON_CHAIN = Books(
    before={"you": Owned({BITCOIN: 900, BOB: 0}, {BOB: 70}), "provider": Owned({BITCOIN: 50, BOB: 600}, {BOB: 70})},
    after={"you": Owned({BITCOIN: 380, BOB: 500}, {BOB: 60}), "provider": Owned({BITCOIN: 555, BOB: 100}, {BOB: 69})},
    fees={"you": {BOB: 10}, "provider": {BOB: 1}},
    miners=15,
)
POLICY = ProofPolicy(Requirement.NOTHING, providers=frozenset({made.PROVIDER_KEY}))


def test_books_that_add_up_have_no_fault() -> None:
    assert GOOD.faults() == []
    assert GOOD.rows()[0] == ("you", "BOB", "1,000", "900", "-100", "-0.00000000000000001 ETH")
    assert GOOD.rows()[-1][4] == "0"


@pytest.mark.parametrize("layer", [BOB, LIGHTNING])
def test_money_from_nowhere_is_a_fault(layer: Layer2ProtocolType) -> None:
    after = GOOD.after["you"]
    wrong = replace(after, satoshi={**after.satoshi, layer: after.satoshi[layer] + 1})
    (fault,) = replace(GOOD, after={**GOOD.after, "you": wrong}).faults()
    assert fault == f"the total balance on {layer.value} changed by +1 sat"


def test_gas_that_no_receipt_explains_is_a_fault() -> None:
    (fault,) = replace(GOOD, fees={"you": {BOB: 10}, "provider": {BOB: 4}}).faults()
    assert "provider spent" in fault


def test_what_leaves_bitcoin_s_wallets_is_what_miners_got() -> None:
    assert ON_CHAIN.faults() == []
    assert ("miners", "BITCOIN", "", "", "+15", "") in ON_CHAIN.rows()
    assert ("total", "BITCOIN", "", "", "0", "") in ON_CHAIN.rows()
    (fault,) = replace(ON_CHAIN, miners=16).faults()
    assert fault == "the total balance on BITCOIN changed by -15 sat, but miners got 16 sat"


def test_gas_is_named_by_its_layer_if_two_layers_have_gas() -> None:
    assert ON_CHAIN.data()["you"]["gas_wei"] == "10"
    both = Owned({BOB: 1, ROOTSTOCK: 1}, {BOB: 30, ROOTSTOCK: 30})
    spent = replace(both, gas={BOB: 29, ROOTSTOCK: 28})
    books = Books({"you": both}, {"you": spent}, {"you": {BOB: 1, ROOTSTOCK: 3}})
    assert (books.data()["you"]["bob_gas_wei"], books.data()["you"]["rootstock_gas_wei"]) == ("1", "2")
    assert books.rows()[1][-1].endswith("RBTC")
    (fault,) = books.faults()
    assert "RBTC" in fault


def test_five_forgeries_are_each_refused_by_the_check_that_they_attack() -> None:
    made_forgeries = forgeries(made.to_lightning(), made.to_bob())
    assert len(made_forgeries) == 5
    for forgery in made_forgeries:
        error = refusal(forgery.proof, POLICY)
        assert error is not None, forgery.lie
        assert error.check == forgery.refused_by


def test_every_change_of_a_bitcoin_leg_is_refused_by_the_check_that_it_attacks() -> None:
    changed = {forgery.lie: forgery for forgery in forgeries(btc.from_bitcoin())}
    assert set(changed) == {
        *("amount changed", "signed by another", "another preimage"),
        *("transaction changed", "funding changed", "header without work"),
    }
    for forgery in changed.values():
        error = refusal(forgery.proof, POLICY)
        assert error is not None, forgery.lie
        assert error.check == forgery.refused_by


def test_a_lock_that_the_storage_shows_is_forged_as_another_lock() -> None:
    proof = made.to_lightning()
    terms = proof.terms.terms
    assert isinstance(terms.source, EvmLeg)
    proof = replace(proof, source_leg=made_storage.evidence_of(terms.source, terms))
    assert refusal(proof, POLICY) is None
    changed = {forgery.lie: forgery for forgery in forgeries(proof)}
    assert set(changed) == {"amount changed", "signed by another", "another lock", "another preimage"}
    for forgery in changed.values():
        error = refusal(forgery.proof, POLICY)
        assert error is not None, forgery.lie
        assert error.check == forgery.refused_by


@pytest.mark.parametrize("text", ["bitcoin", "bitcoin:bitcoin", "bitcoin:liquid", "bob:lightning:bitcoin", ""])
def test_a_wrong_pair_is_refused_before_anything_starts_and_lists_the_layers(text: str, tmp_path: Path) -> None:
    ran = layer2_here("demo", "--pair", text, "--json", cwd=tmp_path)
    assert (ran.status, ran.envelope["error"]["code"]) == (3, "pair")
    assert "two different layers of bob, rootstock, lightning, bitcoin" in ran.envelope["error"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_good_proof_is_not_refused() -> None:
    assert refusal(made.to_lightning(), POLICY) is None
