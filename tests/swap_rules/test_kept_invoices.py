"""Which invoices stay in memory after they were read."""

from __future__ import annotations

from formats.invoices import extended
from layer2.legs.invoices import decoded
from proofs import made_proofs as made

_UNKNOWN_FIELD = b"\x02\0\0"


def test_an_invoice_of_usual_length_is_decoded_once() -> None:
    assert decoded(made.invoice()) is decoded(made.invoice())


def test_a_long_invoice_is_decoded_each_time_because_it_would_take_much_memory() -> None:
    long = extended(made.invoice(), _UNKNOWN_FIELD * 300, made.PAYEE)
    assert decoded(long) == decoded(long)
    assert decoded(long) is not decoded(long)
