"""An invoice of one lnd is paid by another, with layer2."""

import asyncio

from layer2 import Layer2Config, Layer2Manager, Layer2ProtocolType, TxState


async def main() -> None:
    async with (
        Layer2Manager(Layer2Config.load("layer2.toml")) as my_layers,
        Layer2Manager(Layer2Config.load("customer.toml")) as customer_layers,
    ):
        mine = await my_layers.get_protocol_async(Layer2ProtocolType.LIGHTNING)
        customer = await customer_layers.get_protocol_async(Layer2ProtocolType.LIGHTNING)
        await asyncio.gather(mine.initialize_async(), customer.initialize_async())

        invoice = await customer.create_invoice_async(1_500, memo="order 7")
        # If the connection breaks, call again with the same key: it pays, or finds the payment.
        sent = await mine.submit_transaction_async(invoice.text, idempotency_key="order 7", timeout=60)
        status = await mine.wait_for_status_async(sent.tx_id, until=TxState.FINAL, timeout=60)
        print("paid" if status.state is TxState.FINAL else "failed")
        received = await customer.wait_for_status_async(sent.tx_id, until=TxState.FINAL, timeout=60)
        print("received", invoice.amount_msat // 1000 if received.state is TxState.FINAL and invoice.amount_msat else 0)


if __name__ == "__main__":
    asyncio.run(main())
