"""The length of a transaction after FastLZ compression, by which OP-stack chains charge for L1 data.

Only the length is computed; no compressed data is produced. Source: OP stack specification, Fjord, "L1-Cost fees
changes (FastLZ estimator)": FastLZ level 1, with a table of 8,192 entries.
"""

from __future__ import annotations

__all__ = ["compressed_size", "largest_compressed_size"]

_FARTHEST = 0x1FFF
"""Maximum distance, in bytes, between a piece and its earlier copy."""
_TAIL = 13
"""No copy begins within this many bytes of the end, and none contains the last four."""
_TAIL_OUTSIDE_COPIES = 4
_MULTIPLIER = 2654435769
_RUN = 32
_LONGEST_COPY = 262
_SHORT_COPY = 6


def compressed_size(data: bytes) -> int:
    """Compute the length of the FastLZ compression exactly as the chain's nodes do.

    Args:
        data: for a fee, the signed transaction with its type.

    Returns:
        Bytes. The computation takes about 30 ms for 100 KB without repetition, and 0.2 ms for a token transfer.
    """
    end = len(data) - _TAIL
    copies_end = len(data) - _TAIL_OUTSIDE_COPIES
    latest = [0] * (_FARTHEST + 1)
    size = 0
    literals_from = 0
    here = 2
    while here < end:
        # The three bytes here, as the number whose hash is their place in the table.
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
    """The maximum length for data of ``size`` bytes: nothing repeats, and each run of 32 bytes costs one more."""
    return size + -(-size // _RUN)


def _literals(count: int) -> int:
    """The length of uncompressed bytes: one more for each run of up to 32."""
    return count + -(-count // _RUN)


def _copy(beyond: int) -> int:
    """The length of a copy: three bytes for each full 262, then two bytes, or three if the rest is longer."""
    full, rest = divmod(beyond - 1, _LONGEST_COPY)
    return 3 * full + (3 if rest >= _SHORT_COPY else 2)


def _beyond(data: bytes, earlier: int, here: int, end: int) -> int:
    """How far a copy extends beyond its first three bytes, with the first byte that differs."""
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
