# pragma version 0.4.3
# pragma evm-version paris
"""
@title A token with any number of decimals, that misbehaves as its constructor is told
@dev Anyone can mint. Has EIP-2612 permit.
"""

# What calls that move or approve return: 0 true, 1 nothing, 2 false, 3 two words, 4 a number that is no bool.
ANSWER: immutable(uint256)
# 0 moves, 1 reverts with a string, 2 with a custom error, 3 with nothing.
REVERTS: immutable(uint256)
# Whether an allowance must be zero before it is changed to something else.
STRICT: immutable(bool)

# Hundredths of a percent that a transfer keeps back.
fee: public(uint256)
decimals: public(immutable(uint8))
name: public(constant(String[9])) = "Odd token"
version: public(constant(String[1])) = "1"
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
nonces: public(HashMap[address, uint256])
approvals: public(uint256)

PERMIT_TYPE: constant(bytes32) = keccak256(
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)
DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)


@deploy
def __init__(decimals_: uint8, answer: uint256, fee: uint256, reverts: uint256, strict: bool):
    decimals = decimals_
    ANSWER = answer
    self.fee = fee
    REVERTS = reverts
    STRICT = strict


@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount


@external
def set_fee(fee: uint256):
    self.fee = fee


@raw_return
@external
def transfer(to: address, amount: uint256) -> Bytes[64]:
    self._move(msg.sender, to, amount)
    return self._answer()


@raw_return
@external
def transferFrom(sender: address, to: address, amount: uint256) -> Bytes[64]:
    self.allowance[sender][msg.sender] -= amount
    self._move(sender, to, amount)
    return self._answer()


@raw_return
@external
def approve(spender: address, amount: uint256) -> Bytes[64]:
    if STRICT:
        assert amount == 0 or self.allowance[msg.sender][spender] == 0, "set it to zero first"
    if ANSWER != 2:
        self.allowance[msg.sender][spender] = amount
        self.approvals += 1
    return self._answer()


@view
@external
def DOMAIN_SEPARATOR() -> bytes32:
    return self._domain()


@external
def permit(owner: address, spender: address, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32):
    assert block.timestamp <= deadline, "permit expired"
    struct_hash: bytes32 = keccak256(
        abi_encode(PERMIT_TYPE, owner, spender, amount, self.nonces[owner], deadline)
    )
    digest: bytes32 = keccak256(concat(b"\x19\x01", self._domain(), struct_hash))
    assert owner != empty(address) and ecrecover(digest, v, r, s) == owner, "invalid signature"
    self.nonces[owner] += 1
    self.allowance[owner][spender] = amount


@view
@internal
def _domain() -> bytes32:
    return keccak256(abi_encode(DOMAIN_TYPE, keccak256(name), keccak256(version), chain.id, self))


@internal
def _move(sender: address, to: address, amount: uint256):
    if REVERTS == 1:
        raise "transfers are paused"
    if REVERTS == 2:
        raw_revert(concat(method_id("Paused(uint256)"), abi_encode(amount)))
    if REVERTS == 3:
        raw_revert(b"")
    if ANSWER == 2:
        return
    fee: uint256 = amount * self.fee // 10000
    self.balanceOf[sender] -= amount
    self.balanceOf[to] += amount - fee


@view
@internal
def _answer() -> Bytes[64]:
    if ANSWER == 1:
        return b""
    if ANSWER == 2:
        return abi_encode(False)
    if ANSWER == 3:
        return abi_encode(True, True)
    if ANSWER == 4:
        return abi_encode(convert(2, uint256))
    return abi_encode(True)
