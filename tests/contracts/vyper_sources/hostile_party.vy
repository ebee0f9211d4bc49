# pragma version 0.4.3
# pragma evm-version paris
"""
@title A payer or payee that is a contract, and misbehaves when it is paid
"""

refuses: public(bool)
# Called when it is paid, where it is set.
hook_target: public(address)
hook_data: public(Bytes[1024])
# 0 not tried, 1 the hook's call succeeded, 2 it failed without a reason, 3 with one.
hook_result: public(uint256)


@external
def set_refuses(refuses: bool):
    self.refuses = refuses


@external
def set_hook(target: address, data: Bytes[1024]):
    self.hook_target = target
    self.hook_data = data


@payable
@external
def execute(target: address, data: Bytes[1024]):
    raw_call(target, data, value=msg.value)


@payable
@external
def __default__():
    assert not self.refuses, "payment refused"
    if self.hook_target != empty(address):
        success: bool = False
        answer: Bytes[128] = b""
        success, answer = raw_call(self.hook_target, self.hook_data, max_outsize=128, revert_on_failure=False)
        self.hook_result = 1 if success else (2 if len(answer) == 0 else 3)
