# pragma version 0.4.3
# pragma evm-version paris
"""
@title A token that misbehaves as it is told
@dev transfer and transferFrom return a uint256, so that values that are no bool can be returned too.
"""

balanceOf: public(HashMap[address, uint256])

# What transfer and transferFrom return.
answer: public(uint256)
# Whether they move anything.
moves: public(bool)
# What the recipient does not get.
fee: public(uint256)
# What the sender pays besides.
surcharge: public(uint256)
# Called in the midst of a transfer, where it is set.
hook_target: public(address)
hook_data: public(Bytes[1024])
# 0 not tried, 1 the hook's call succeeded, 2 it failed without a reason, 3 with one.
hook_result: public(uint256)


@external
def behave(answer: uint256, moves: bool, fee: uint256, surcharge: uint256):
    self.answer = answer
    self.moves = moves
    self.fee = fee
    self.surcharge = surcharge


@external
def set_hook(target: address, data: Bytes[1024]):
    self.hook_target = target
    self.hook_data = data


@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount


@external
def transfer(to: address, amount: uint256) -> uint256:
    self._move(msg.sender, to, amount)
    return self.answer


@external
def transferFrom(sender: address, to: address, amount: uint256) -> uint256:
    self._move(sender, to, amount)
    return self.answer


@internal
def _move(sender: address, to: address, amount: uint256):
    if self.hook_target != empty(address):
        success: bool = False
        answer: Bytes[128] = b""
        success, answer = raw_call(self.hook_target, self.hook_data, max_outsize=128, revert_on_failure=False)
        self.hook_result = 1 if success else (2 if len(answer) == 0 else 3)
    if self.moves:
        self.balanceOf[sender] -= amount + self.surcharge
        self.balanceOf[to] += amount - self.fee
