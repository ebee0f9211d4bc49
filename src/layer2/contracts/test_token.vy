# pragma version 0.4.3
# pragma evm-version paris
# pragma optimize gas
"""
@title WORTHLESS TOKEN OF LOCAL TEST NETWORKS
@license MIT
@notice
    ANYONE CAN MINT ANY AMOUNT OF THIS TOKEN. It stands for wrapped bitcoin on local networks (simnet, devnet)
    and is worth nothing anywhere. Never accept it for value, never deploy it on a public network.
@dev Plain ERC-20 with 8 decimals and no constructor.
"""

from ethereum.ercs import IERC20

implements: IERC20

name: public(constant(String[40])) = "WORTHLESS test bitcoin of local networks"
symbol: public(constant(String[5])) = "tBTCL"
decimals: public(constant(uint8)) = 8

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@external
def transfer(to: address, amount: uint256) -> bool:
    self._move(msg.sender, to, amount)
    return True


@external
def transferFrom(sender: address, to: address, amount: uint256) -> bool:
    self.allowance[sender][msg.sender] -= amount
    self._move(sender, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log IERC20.Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
def mint(to: address, amount: uint256):
    """
    @notice Make `amount` out of nothing for `to`. Open to anyone.
    """
    self.totalSupply += amount
    self.balanceOf[to] += amount
    log IERC20.Transfer(sender=empty(address), receiver=to, value=amount)


@internal
def _move(sender: address, to: address, amount: uint256):
    self.balanceOf[sender] -= amount
    self.balanceOf[to] += amount
    log IERC20.Transfer(sender=sender, receiver=to, value=amount)
