# pragma version 0.4.3
# pragma evm-version paris
# pragma optimize gas
"""
@title Hash time-locked contract
@license MIT
@notice
    Holds the native coin or an ERC-20 token under a payment hash (sha256 of a 32-byte preimage) until the payee
    shows the preimage, or the payer takes it back after the deadline. No owner, no upgrade, no fee.
@dev
    The terms of a lock are not stored: every call repeats them, and the lock is found by the hash that commits to
    all of them, to the chain and to this contract. So no call can act on a lock with the terms of another, and
    one event shows a whole leg. There is no constructor, so that the CREATE2 address commits to the code alone.
"""

from ethereum.ercs import IERC20

event Locked:
    lock_id: indexed(bytes32)
    payment_hash: indexed(bytes32)
    payer: indexed(address)
    payee: address
    token: address
    amount: uint256
    deadline: uint256
    terms_hash: bytes32

event Claimed:
    lock_id: indexed(bytes32)
    payment_hash: indexed(bytes32)
    preimage: bytes32

event Refunded:
    lock_id: indexed(bytes32)
    payment_hash: indexed(bytes32)

NEVER_USED: constant(uint8) = 0  # NONE in the interface; that word is reserved in Vyper
LOCKED: constant(uint8) = 1
CLAIMED: constant(uint8) = 2
REFUNDED: constant(uint8) = 3

# 0 NONE, 1 LOCKED, 2 CLAIMED, 3 REFUNDED, by lock_id. A lock that was ever used is never NONE again.
status: public(HashMap[bytes32, uint8])

# Whether the preimage of a payment hash became public here. No new money can be locked under it.
spent: public(HashMap[bytes32, bool])


@payable
@nonreentrant
@external
def lock(
    payment_hash: bytes32,
    token: address,
    amount: uint256,
    payee: address,
    deadline: uint256,
    terms_hash: bytes32,
) -> bytes32:
    """
    @notice Take `amount` from the sender and hold it for `payee` until `deadline`.
    @param payment_hash sha256 of the 32-byte preimage.
    @param token ERC-20 token, or the zero address for the native coin.
    @param amount In the token's smallest unit. The native coin is sent with the call, and nothing besides it.
    @param payee Who is paid when the preimage is shown.
    @param deadline Unix seconds. From this block time on anyone can send the money back to the payer.
    @param terms_hash Ties the lock to signed terms; not interpreted here.
    @return lock_id
    """
    assert block.timestamp < deadline, "deadline passed"
    assert payee != empty(address), "no payee"
    assert amount != 0, "no amount"
    assert not self.spent[payment_hash], "hash spent"

    lock_id: bytes32 = self._lock_id(payment_hash, token, amount, payee, msg.sender, deadline, terms_hash)
    assert self.status[lock_id] == NEVER_USED, "lock used"
    self.status[lock_id] = LOCKED

    if token == empty(address):
        assert msg.value == amount, "wrong value"
    else:
        assert msg.value == 0, "wrong value"
        balance_before: uint256 = staticcall IERC20(token).balanceOf(self)
        assert extcall IERC20(token).transferFrom(
            msg.sender, self, amount, default_return_value=True
        ), "token refused"
        # A token that keeps a part for itself would let this lock be paid out of somebody else's.
        assert staticcall IERC20(token).balanceOf(self) - balance_before == amount, "wrong amount received"

    log Locked(
        lock_id=lock_id,
        payment_hash=payment_hash,
        payer=msg.sender,
        payee=payee,
        token=token,
        amount=amount,
        deadline=deadline,
        terms_hash=terms_hash,
    )
    return lock_id


@nonreentrant
@external
def claim(
    preimage: bytes32,
    token: address,
    amount: uint256,
    payee: address,
    payer: address,
    deadline: uint256,
    terms_hash: bytes32,
):
    """
    @notice Pay the lock to its payee, whoever calls. Works until the lock is refunded, also after the deadline.
    @dev The payment hash is computed, so a wrong preimage names a lock that does not exist.
    """
    payment_hash: bytes32 = sha256(preimage)
    lock_id: bytes32 = self._lock_id(payment_hash, token, amount, payee, payer, deadline, terms_hash)
    assert self.status[lock_id] == LOCKED, "not locked"
    self.status[lock_id] = CLAIMED
    self.spent[payment_hash] = True
    log Claimed(lock_id=lock_id, payment_hash=payment_hash, preimage=preimage)
    self._pay(token, payee, amount)


@nonreentrant
@external
def refund(
    payment_hash: bytes32,
    token: address,
    amount: uint256,
    payee: address,
    payer: address,
    deadline: uint256,
    terms_hash: bytes32,
):
    """
    @notice Pay the lock back to its payer: the payee may at any time, everybody else from the deadline on.
    """
    lock_id: bytes32 = self._lock_id(payment_hash, token, amount, payee, payer, deadline, terms_hash)
    assert self.status[lock_id] == LOCKED, "not locked"
    assert block.timestamp >= deadline or msg.sender == payee, "too early"
    self.status[lock_id] = REFUNDED
    log Refunded(lock_id=lock_id, payment_hash=payment_hash)
    self._pay(token, payer, amount)


@pure
@external
def probe_sha256(data: bytes32) -> bytes32:
    """
    @notice sha256 as this contract computes it on this chain, to be compared before any money is locked.
    @dev Where the chain lacks the precompile, the compiled code gives `data` back instead of failing.
    """
    return sha256(data)


@view
@internal
def _lock_id(
    payment_hash: bytes32,
    token: address,
    amount: uint256,
    payee: address,
    payer: address,
    deadline: uint256,
    terms_hash: bytes32,
) -> bytes32:
    # The chain id is read at call time: after a split of the chain a lock belongs to one side only.
    return keccak256(
        abi_encode(chain.id, self, payment_hash, token, amount, payee, payer, deadline, terms_hash)
    )


@internal
def _pay(token: address, to: address, amount: uint256):
    # Called after all state is written. A payout that fails reverts the whole call, and the lock stays.
    if token == empty(address):
        raw_call(to, b"", value=amount)
    else:
        balance_before: uint256 = staticcall IERC20(token).balanceOf(self)
        assert extcall IERC20(token).transfer(to, amount, default_return_value=True), "token refused"
        # Neither more leaves than this lock holds, nor does a lock end while its money stays behind.
        assert balance_before - staticcall IERC20(token).balanceOf(self) == amount, "wrong amount paid"
