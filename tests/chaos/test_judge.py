"""The judge of a chaos run finds every kind of loss and of wrong statement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaos.auditor import Facts, Lock, Money
from chaos.judge import Judge, Stated
from layer2 import BTC, Layer2ProtocolType
from layer2.model.transactions import Finality
from layer2.ports.journal import Role, SwapRecord
from layer2.swap_rules.states import ProviderCompleted, ProviderReleased, TakerCompleted, TakerFunded, write_state
from layer2.terms.signing import write_signed_terms
from layer2.terms.transfers import Actor, Transfer, TransferRequest, TransferState
from swap_rules.example_terms import AMOUNT, FEE, SWAP_ID, signed_terms, terms_of

_TERMS = terms_of("bob", "rootstock", finality=Finality.LATEST)
_HASH = _TERMS.payment_hash.hex()
_ACCOUNTS = {"taker": "0x" + "01" * 20, "provider": "0x" + "02" * 20}
_ENDS_AT = 2_000_000_000


def facts(source: Money, destination: Money = Money.NOTHING, *, twice: bool = False, extra: int = 0) -> Facts:
    """Both chains after one swap with the given legs, and the resulting balances."""
    moved, paid = (Money.PAID, Money.HELD), AMOUNT + FEE
    tokens = {(chain, party): 1_000_000 for chain in ("BOB", "ROOTSTOCK") for party in _ACCOUNTS}
    tokens["BOB", "taker"] += extra - paid * (source in moved)
    tokens["BOB", "provider"] += paid * (source is Money.PAID)
    tokens["ROOTSTOCK", "provider"] -= AMOUNT * (destination in moved)
    tokens["ROOTSTOCK", "taker"] += AMOUNT * (destination is Money.PAID)
    first = lock("taker", "provider", source)
    locks = {"BOB": (first, first) if twice else (first,), "ROOTSTOCK": (lock("provider", "taker", destination),)}
    return Facts(locks, tokens, {}, _ACCOUNTS)


def lock(payer: str, payee: str, money: Money) -> Lock:
    return Lock("cd" * 32, _HASH, _ACCOUNTS[payer], _ACCOUNTS[payee], AMOUNT, _ENDS_AT, money)


def stated(state: TransferState, *, role: Role = Role.TAKER, journal: Any = None, **changes: Any) -> Stated:
    """The statements of one transfer, and of a party's journal about it."""
    request = TransferRequest(BTC, AMOUNT, Layer2ProtocolType.BOB, Layer2ProtocolType.ROOTSTOCK)
    transfer = Transfer(
        transfer_id=SWAP_ID,
        request=request,
        idempotency_key="1-0",
        state=state,
        version=1,
        provider_name="provider",
        send_amount=AMOUNT + FEE,
        fee=FEE,
        next_actor=Actor.YOU,
        deadline=None if state.is_final else _ENDS_AT - 500,
        refundable_from=None,
        funds="as the test states",
        source_tx_id=None,
        destination_tx_id=None,
        reason=None,
        attention=None,
        final_at=None,
        created_at=1,
        updated_at=1,
    )
    held = TakerCompleted("0xa", "0xb") if journal is None else journal
    record = SwapRecord(
        swap_id=SWAP_ID,
        role=role,
        version=1,
        state=write_state(held),
        is_final=held.is_final,
        payment_hash=_TERMS.payment_hash,
        terms=write_signed_terms(signed_terms(_TERMS)),
        request={},
        provider_name="provider",
        quote_id=None,
        access=None,
        idempotency_key="1-0",
        holds_key=True,
        attention=None,
        created_at=1,
        updated_at=1,
    )
    return Stated((replace(transfer, **changes),), (record,))


def verdict_of(found: Facts, said: Stated) -> Any:
    return Judge(facts(Money.NOTHING)).finish(found, said, ["1-0"], ["1-0"])


def test_a_swap_that_is_completed_on_both_sides_is_clean() -> None:
    verdict = verdict_of(facts(Money.PAID, Money.PAID), stated(TransferState.COMPLETED))
    assert verdict.is_clean, verdict.details()


def test_completed_without_the_money_is_a_wrong_statement_and_a_loss() -> None:
    verdict = verdict_of(facts(Money.PAID, Money.RETURNED), stated(TransferState.COMPLETED))
    assert verdict.wrong == ["1-0 completed: the source is paid, the destination returned"]
    assert len(verdict.lost) == 1
    assert verdict.lost[0].startswith(f"taker {AMOUNT + FEE} sat")


def test_what_a_provider_pays_for_nothing_is_a_loss() -> None:
    verdict = verdict_of(facts(Money.RETURNED, Money.PAID), stated(TransferState.COMPLETED))
    assert verdict.lost[0].startswith(f"provider {AMOUNT} sat")


def test_a_funding_that_a_reorganisation_took_away_is_counted_apart() -> None:
    verdict = verdict_of(facts(Money.NOTHING, Money.PAID), stated(TransferState.COMPLETED))
    assert (verdict.lost, verdict.reorganised_away) == ([], AMOUNT)


@pytest.mark.parametrize("state", [TransferState.PLANNED, TransferState.AGREED, TransferState.ABANDONED])
def test_nothing_has_left_is_wrong_while_the_money_is_locked(state: TransferState) -> None:
    judge = Judge(facts(Money.NOTHING))
    judge.look(facts(Money.HELD), stated(state))
    assert len(judge.verdict.wrong) == 1


def test_an_open_state_needs_a_deadline_before_that_of_the_lock() -> None:
    judge = Judge(facts(Money.NOTHING))
    judge.look(facts(Money.HELD), stated(TransferState.FUNDED, deadline=None))
    judge.look(facts(Money.HELD), stated(TransferState.FUNDED, refundable_from=_ENDS_AT - 1))
    judge.look(facts(Money.HELD, Money.HELD), stated(TransferState.COLLECTING, deadline=_ENDS_AT + 1))
    assert len(judge.verdict.wrong) == 3


def test_an_error_that_states_not_sent_is_wrong_while_the_money_is_locked() -> None:
    judge = Judge(facts(Money.NOTHING))
    error = {"error": "NodeUnreachable", "code": "node", "outcome": "not_sent", "text": "", "transfer_id": None}
    judge.hear({"key": "1-0", **error})
    assert judge.verdict.wrong == []
    judge.look(facts(Money.HELD), stated(TransferState.FUNDED, journal=TakerFunded("0xa")))
    judge.hear({"key": "1-0", **error})
    judge.hear({"key": None, "open_transfers": 0, **error, "error": "InitializationError"})
    assert len(judge.verdict.wrong) == 2


def test_a_provider_that_states_an_end_is_held_to_it() -> None:
    completed = stated(TransferState.COMPLETED, role=Role.PROVIDER, journal=ProviderCompleted("0xa", "0xb"))
    assert verdict_of(facts(Money.RETURNED, Money.RETURNED), completed).wrong
    released = stated(TransferState.REFUNDED, role=Role.PROVIDER, journal=ProviderReleased("0xa", None, "late"))
    assert verdict_of(facts(Money.HELD), released).wrong
    assert verdict_of(facts(Money.RETURNED), released).is_clean


def test_money_that_is_locked_at_the_end_is_stuck() -> None:
    verdict = verdict_of(facts(Money.HELD), stated(TransferState.FUNDED, journal=TakerFunded("0xa")))
    assert len(verdict.stuck) == 2


def test_a_second_payment_under_one_hash_is_noticed() -> None:
    verdict = verdict_of(facts(Money.PAID, Money.PAID, twice=True), stated(TransferState.COMPLETED))
    assert verdict.twice == ["1-0: taker paid 2 times on BOB"]


def test_money_that_moved_without_a_swap_is_noticed() -> None:
    verdict = verdict_of(facts(Money.PAID, Money.PAID, extra=-7), stated(TransferState.COMPLETED))
    moved = AMOUNT + FEE
    assert verdict.lost == [f"taker on BOB: changed by {-moved - 7} sat, and the swaps moved {-moved}"]


def test_a_transfer_without_an_end_is_stuck() -> None:
    verdict = Judge(facts(Money.NOTHING)).finish(facts(Money.NOTHING), Stated((), ()), ["1-0"], ["1-0", "1-1"])
    assert verdict.stuck == ["1-1: no call has come to an end; its transfers are none"]
