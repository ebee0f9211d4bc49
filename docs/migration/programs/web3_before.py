"""Three payouts of a token with web3.py, and their receipts."""

import tomllib
from pathlib import Path

from web3 import Web3
from web3.types import Nonce, TxParams

RECIPIENT = "0x00000000000000000000000000000000000000AA"
ABI = [
    {
        "type": "function",
        "name": name,
        "stateMutability": mutability,
        "inputs": [{"name": f"argument{number}", "type": kind} for number, kind in enumerate(inputs)],
        "outputs": [{"name": "", "type": output}],
    }
    for name, mutability, inputs, output in [
        ("transfer", "nonpayable", ["address", "uint256"], "bool"),
        ("balanceOf", "view", ["address"], "uint256"),
    ]
]


def main() -> None:
    settings = tomllib.loads(Path("layer2.toml").read_text())["bob"]
    w3 = Web3(Web3.HTTPProvider(settings["rpc_url"]))
    me = w3.eth.account.from_key(Path(settings["key_file"]).read_text().strip())
    token = w3.eth.contract(Web3.to_checksum_address(settings["token_address"]), abi=ABI)
    before = token.functions.balanceOf(RECIPIENT).call()

    hashes = []
    nonce = w3.eth.get_transaction_count(me.address, "pending")
    for satoshi in (1_000, 2_000, 3_000):
        units = satoshi * 10 ** (settings["token_decimals"] - 8)
        fields: TxParams = {"from": me.address, "nonce": nonce}
        transaction = token.functions.transfer(RECIPIENT, units).build_transaction(fields)
        signed = me.sign_transaction(transaction)
        hashes.append(w3.eth.send_raw_transaction(signed.raw_transaction))
        nonce = Nonce(nonce + 1)
    for transaction_hash in hashes:
        receipt = w3.eth.wait_for_transaction_receipt(transaction_hash, timeout=60)
        print("paid" if receipt["status"] == 1 else "failed")
    print("received", token.functions.balanceOf(RECIPIENT).call() - before)


if __name__ == "__main__":
    main()
