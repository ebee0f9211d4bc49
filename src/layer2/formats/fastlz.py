"""How long a transaction is once FastLZ has compressed it: the size by which OP-stack chains charge for L1 data.

Only the length is computed; nothing is compressed. Source: OP stack specification, Fjord, "L1-Cost fees changes
(FastLZ estimator)": FastLZ level 1, with a table of 8,192 places.
"""

from __future__ import annotations

__all__ = ["compressed_size", "largest_compressed_size"]

_FARTHEST = 0x1FFF
"""Bytes between a piece and its earlier copy."""
_TAIL = 13
"""Within so many bytes of the end no copy begins; the last four of them belong to none either."""
_TAIL_OUTSIDE_COPIES = 4
_MULTIPLIER = 2654435769
_RUN = 32
_LONGEST_COPY = 262
_SHORT_COPY = 6


def compressed_size(data: bytes) -> int:
    """Compute the length of the FastLZ compression, as every node of the chain has to.

    Args:
        data: for a fee the signed transaction, type and all.

    Returns:
        Bytes. 100 KB that do not repeat take some 30 ms, a token transfer a fifth of one.
    """
    end = len(data) - _TAIL
    copies_end = len(data) - _TAIL_OUTSIDE_COPIES
    latest = [0] * (_FARTHEST + 1)
    size = 0
    literals_from = 0
    here = 2
    while here < end:
        # The three bytes here, as the number by which they are looked up.
        piece = data[here] | data[here + 1] << 8 | data[here + 2] << 16
        place = (_MULTIPLIER * piece & 0xFFFFFFFF) >> 19
        earlier = latest[place]
        latest[place] = here
        if here - earlier > _FARTHEST or data[earlier : earlier + 3] != data[here : here + 3]:
            here += 1
            continue
        if here + 1 >= end:
            break
        size += _literals(here - literals_from)
        beyond = _beyond(data, earlier + 3, here + 3, copies_end)
        size += _copy(beyond)
        here += beyond
        for _ in range(2):
            piece = data[here] | data[here + 1] << 8 | data[here + 2] << 16
            latest[(_MULTIPLIER * piece & 0xFFFFFFFF) >> 19] = here
            here += 1
        literals_from = here
    return size + _literals(len(data) - literals_from)


def largest_compressed_size(size: int) -> int:
    """The most that any data of so many bytes can come to: nothing repeats, and each 32 bytes cost one more."""
    return size + -(-size // _RUN)


def _literals(count: int) -> int:
    """Bytes as they are: one more for each run of up to 32."""
    return count + -(-count // _RUN)


def _copy(beyond: int) -> int:
    """A copy takes two bytes or, when longer, three, and three for each full 262 before it."""
    full, rest = divmod(beyond - 1, _LONGEST_COPY)
    return 3 * full + (3 if rest >= _SHORT_COPY else 2)


def _beyond(data: bytes, earlier: int, here: int, end: int) -> int:
    """How far a copy reaches beyond its first three bytes. The byte that first differs counts too."""
    length, most = 0, end - here
    step = 64
    while step and length < most:
        step = min(step, most - length)
        if data[earlier + length : earlier + length + step] == data[here + length : here + length + step]:
            length += step
        elif step == 1:
            return length + 1
        else:
            step //= 2
    return length
