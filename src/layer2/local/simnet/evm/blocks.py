"""Find the blocks that the arguments of JSON-RPC calls name."""

from __future__ import annotations

from layer2.local.simnet.evm.arguments import INVALID_PARAMS, BlockName, RpcError, block_name
from layer2.local.simnet.evm.chain import MinedBlock
from layer2.local.simnet.evm.node import EvmNode

__all__ = ["NamedBlocks"]


class NamedBlocks:
    """The blocks of one node by tag, height or hash."""

    def __init__(self, node: EvmNode) -> None:
        self._node = node

    def find(self, name: BlockName) -> MinedBlock | None:
        """The block with that name, or None if there is none."""
        chain = self._node.chain
        match name:
            case "latest" | "pending":
                return chain.head
            case "earliest":
                return chain.block_by_number(0)
            case "safe":
                return chain.block_by_number(self._node.safe_height)
            case "finalized":
                return chain.block_by_number(self._node.finalized_height)
            case bytes():
                return chain.block_by_hash(name)
            case int():
                return chain.block_by_number(name)

    def argument(self, value: object, index: int = 0, *, allow_hash: bool = True) -> MinedBlock | None:
        """The block that argument ``index`` names, or None if there is none.

        Raises:
            RpcError: the argument is malformed.
        """
        return self.find(block_name(value, index, allow_hash=allow_hash)[0])

    def with_state(self, value: object, index: int) -> MinedBlock:
        """The block that argument ``index`` names (EIP-1898).

        Raises:
            RpcError: the argument is malformed, there is no such block, or it must be canonical and is not.
        """
        name, must_be_canonical = block_name(value, index)
        block = self.find(name)
        if block is None or (must_be_canonical and not self._node.chain.is_canonical(block)):
            raise RpcError(-32000, "header not found")
        return block

    def height(self, name: BlockName) -> int:
        """The height of the block with that name, which need not exist yet if the name is a height.

        Raises:
            RpcError: there is no such block, or the name is ``pending``.
        """
        if isinstance(name, int):
            return name
        if name == "pending":
            raise RpcError(INVALID_PARAMS, "pending logs are not supported")
        block = self.find(name)
        if block is None:
            raise RpcError(-32000, "unknown block")
        return block.number
