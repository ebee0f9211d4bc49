"""Three payouts of a token with layer2, and their statuses."""

import asyncio

from layer2 import BTC, BobClient, Layer2Config, Layer2Manager, Layer2ProtocolType, TxState

RECIPIENT = "0x00000000000000000000000000000000000000AA"


async def pay(bob: BobClient, satoshi: int) -> str:
    # Nonce, fees, the unit of the token and the signature are made by the client. With the key, calling again after
    # a crash or a time-out never pays twice.
    tx_id = await bob.transfer_asset_async(BTC, satoshi, RECIPIENT, idempotency_key=f"payout-{satoshi}")
    status = await bob.wait_for_status_async(tx_id, until=TxState.INCLUDED, timeout=60)
    return "failed" if status.state is TxState.FAILED else "paid"


async def main() -> None:
    async with Layer2Manager(Layer2Config.load("layer2.toml")) as layers:
        bob = await layers.get_protocol_async(Layer2ProtocolType.BOB)
        await bob.initialize_async()
        before = (await bob.balances_async())[BTC].spendable
        for line in await asyncio.gather(*(pay(bob, satoshi) for satoshi in (1_000, 2_000, 3_000))):
            print(line)
        print("received", before - (await bob.balances_async())[BTC].spendable)


if __name__ == "__main__":
    asyncio.run(main())
