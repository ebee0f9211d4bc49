"""``layer2 contract deploy``: deploy the HTLC contract on a chain, once."""

from __future__ import annotations

from contextlib import aclosing

from layer2.cli.following import opened
from layer2.cli.output import Result
from layer2.cli.parameters import Layer
from layer2.cli.session import InSession
from layer2.cli.wording import wei
from layer2.errors import InvalidRequest, TransactionError
from layer2.formats.evm_address import parse_address, to_checksum
from layer2.model.layers import LAYERS
from layer2.model.transactions import Finality, TxState

__all__ = ["deploy"]


async def deploy(
    layer: Layer,
    *,
    dry_run: bool = False,
    timeout: float | None = None,
    session: InSession,
) -> Result:
    """Deploy the HTLC contract on a layer, from your account there. Swaps need it once for each chain.

    The contract has the same address on every chain with the deterministic factory, and no other code can be deployed
    there. If the contract is
    deployed already, the command sends nothing and exits with 0. Before it sends, it shows the cost. If it is
    interrupted, run it again: it waits for the transaction that was sent.

    Args:
        layer: The layer: bob or rootstock.
        dry_run: Show the cost, and send nothing.
        timeout: Seconds to wait until the transaction is in a block; omitted, there is no limit.
    """
    from layer2.protocols.evm.client import EvmClient
    from layer2.protocols.evm.locks.deployment import check_htlc, htlc_deployment
    from layer2.protocols.evm.rpc.endpoints import open_rpc
    from layer2.protocols.evm.rpc.node import EvmNode

    name, coin = layer.value, LAYERS[layer].native_asset
    if LAYERS[layer].kind != "evm":
        raise InvalidRequest(f"{name} has no contracts; name bob or rootstock", code="usage")
    async with opened(session) as manager:
        client = await manager.get_protocol_async(layer)
        assert isinstance(client, EvmClient)
        contract, chain_id = client.settings.asset.contract, client.settings.chain_id
        address = to_checksum(contract, chain_id)
        data: dict[str, object] = {"layer": name, "contract": address, "tx_id": None, "cost_wei": None}
        async with aclosing(open_rpc(client.settings, protocol=name)) as rpc:
            node = EvmNode(rpc, name)
            with session.terminal.working(f"asking your {name} node"):
                await client.initialize_async()
                request = await htlc_deployment(node, contract, chain_id)
            if request is None:
                return Result({**data, "deployed": True}, [f"nothing to do: the contract {address} is on {name}"])
            fee = await client.estimate_fee_async(request)
            account = await client.receive_address_async()
            cost = f"about {wei(fee.total, coin)}, at most {wei(fee.most, coin)}, paid by {account} on {name}"
            data["cost_wei"] = str(fee.total)
            if dry_run:
                return Result({**data, "deployed": False}, [f"cost  {cost}", "nothing was sent"])
            session.terminal.say(f"cost         {cost}")
            # Until a transaction of the account is mined, another run finds the transaction that this run sent.
            mined = await node.transaction_count(parse_address(account, chain_id), Finality.LATEST)
            sent = await client.submit_transaction_async(request, idempotency_key=f"contract deploy {account} {mined}")
            session.terminal.say(f"sent         {sent.tx_id}")
            with session.terminal.working("waiting for a block"):
                status = await client.wait_for_status_async(sent.tx_id, until=TxState.INCLUDED, timeout=timeout)
            if status.state is TxState.FAILED and not await node.code(contract):
                raise TransactionError(
                    f"the deployment failed: {status.reason}", protocol=name, tx_id=sent.tx_id, remedy="run it again"
                )
            await check_htlc(node, contract, chain_id)
    data["tx_id"] = sent.tx_id
    return Result({**data, "deployed": True}, [f"deployed: {address} on {name}, transaction {sent.tx_id}"])
