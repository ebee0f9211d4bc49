"""The demo's books and its thief: what does not add up, or is not refused, is noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layer2.cli.demo_accounts import Books, Owned
from layer2.cli.demo_forgeries import forgeries, refusal
from layer2.proofs.policy import HeaderRequirement, ProofPolicy
from proofs import made_proofs as made

GOOD = Books(
    before={"you": Owned(1_000, 500, 90), "provider": Owned(1_000, 500, 90)},
    after={"you": Owned(900, 595, 80), "provider": Owned(1_100, 405, 85)},
    fees={"you": 10, "provider": 5},
)
POLICY = ProofPolicy(HeaderRequirement.NOT_CHECKED, providers=frozenset({made.PROVIDER_KEY}))


def test_books_that_add_up_have_no_fault() -> None:
    assert GOOD.faults() == []
    assert GOOD.rows()[0] == ("you", "BOB", "1,000", "900", "-100", "-0.00000000000000001 ETH")
    assert GOOD.rows()[-1][4] == "0"


@pytest.mark.parametrize("layer", ["bob", "lightning"])
def test_money_from_nowhere_is_a_fault(layer: str) -> None:
    wrong = replace(GOOD.after["you"], **{layer: getattr(GOOD.after["you"], layer) + 1})
    (fault,) = replace(GOOD, after=GOOD.after | {"you": wrong}).faults()
    assert fault == f"the total balance on {layer.upper()} changed by +1 sat"


def test_gas_that_no_receipt_explains_is_a_fault() -> None:
    (fault,) = replace(GOOD, fees={"you": 10, "provider": 4}).faults()
    assert "provider spent" in fault


def test_five_forgeries_are_each_refused_by_the_check_that_they_attack() -> None:
    made_forgeries = forgeries(made.to_lightning(), made.to_bob())
    assert len(made_forgeries) == 5
    for forgery in made_forgeries:
        error = refusal(forgery.proof, POLICY)
        assert error is not None, forgery.lie
        assert error.check == forgery.refused_by


def test_a_good_proof_is_not_refused() -> None:
    assert refusal(made.to_lightning(), POLICY) is None
