"""A chain's clock may run ahead of wall time; the margins allow for that."""

from __future__ import annotations

import pytest

from layer2.legs.timelock_settings import REGTEST
from layer2.legs.views import LegState
from layer2.swap_rules.timelocks import needed_on_source
from swap_rules.example_terms import NOW, terms_of
from swap_rules.scenes import view


@pytest.mark.parametrize("pair", [("bob", "lightning"), ("bob", "rootstock"), ("rootstock", "bob"), ("bitcoin", "bob")])
@pytest.mark.parametrize(("ahead", "is_taken"), [(0, True), (1, True), (60, True), (61, False)])
def test_a_funding_is_taken_while_the_chains_clock_is_no_further_ahead_than_its_bound(
    pair: tuple[str, str], ahead: int, is_taken: bool
) -> None:
    terms = terms_of(*pair)
    seen = view(LegState.FUNDED, at=NOW + ahead)
    needed = needed_on_source(terms, NOW, None, REGTEST)
    assert (terms.source.problem(seen, needed, NOW, REGTEST) is None) is is_taken
