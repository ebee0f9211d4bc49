"""What is known of the delivery of an act, once an attempt to send it begins or has ended. Pure."""

from __future__ import annotations

from layer2.ports.journal import Delivery

__all__ = ["begun_delivery", "ended_delivery"]


def begun_delivery(was: Delivery) -> Delivery:
    """What is known of a delivery once another attempt begins.

    An attempt that has not ended may be one of another process. Its outcome counts as unknown from then on, so that
    it can no longer end as ``UNSENT`` while a later attempt is under way.
    """
    match was:
        case Delivery.INTENDED | Delivery.UNSENT:
            return Delivery.LEAVING
        case Delivery.LEAVING:
            return Delivery.UNKNOWN
        case Delivery.UNKNOWN | Delivery.TAKEN | Delivery.REJECTED:
            return was


def ended_delivery(was: Delivery, outcome: Delivery, *, has_begun: bool, is_current: bool) -> Delivery:
    """What is known of a delivery once an attempt has ended.

    Args:
        was: what the journal shows.
        outcome: of the attempt.
        has_begun: whether the journal has the attempt. Otherwise nothing left, and ``was`` is of another one.
        is_current: whether no other task has advanced the swap since the attempt began.
    """
    if outcome.is_out and outcome is not Delivery.LEAVING:
        return outcome
    if was is not Delivery.LEAVING or not has_begun:
        return was
    # Another task may have relied on it that the act may have been sent.
    return outcome if is_current else Delivery.UNKNOWN
