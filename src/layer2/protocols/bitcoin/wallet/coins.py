"""The wallet's coins, held for swaps and sends: two holders never spend the same coin."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from layer2.errors import FundsRulesError
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxOut
from layer2.ports.journal import CoinHolds, swap_holder
from layer2.protocols.bitcoin.source.http import BITCOIN
from layer2.protocols.bitcoin.source.port import BlockId
from layer2.protocols.bitcoin.wallet.bdk import Wallet, WalletSync
from layer2.protocols.bitcoin.wallet.model import Built, TakeBack, WalletBalance

__all__ = ["Coins"]


class Coins:
    """Makes the transactions that spend the wallet's coins.

    Args:
        wallet: signs.
        sync: brings the wallet up to date.
        holds: the durable record of held coins.
        tip: the newest block that the client knows.
        life_seconds: the age from which the wallet is brought up to date again.
    """

    def __init__(
        self,
        wallet: Wallet,
        sync: WalletSync,
        holds: CoinHolds,
        tip: Callable[[], Awaitable[BlockId]],
        life_seconds: float,
    ) -> None:
        self.wallet = wallet
        self._sync = sync
        self._holds = holds
        self._tip = tip
        self._life = life_seconds
        self.choosing = asyncio.Lock()
        """Held from the choice of coins until they are held for their spender."""
        self._syncing = asyncio.Lock()
        self._synced_at = float("-inf")
        self._synced_for: bytes | None = None

    async def bring_up_to_date(self, *, fresh: bool = False) -> None:
        """Synchronise the wallet unless that was done within ``life_seconds``.

        Raises:
            NodeError: the source cannot be read.
        """
        async with self._syncing:
            now = asyncio.get_running_loop().time()
            if fresh or now - self._synced_at >= self._life:
                await self._bring_up_to((await self._tip()).hash)

    async def _follow(self) -> None:
        """Synchronise the wallet if there is a new block. Coins that can be spent change with blocks, or by sends of
        this client, which the wallet counts. An Esplora server is asked about every address, so this is not done for
        every send.
        """
        async with self._syncing:
            tip = (await self._tip()).hash
            if tip != self._synced_for:
                await self._bring_up_to(tip)

    async def _bring_up_to(self, tip: bytes) -> None:
        await self._sync.bring_up_to_date(self.wallet)
        self._synced_at = asyncio.get_running_loop().time()
        self._synced_for = tip

    async def balance(self) -> tuple[WalletBalance, int]:
        """The wallet's balance, and how much of the confirmed part is held, in satoshi."""
        await self.bring_up_to_date()
        held = await self._holds.held_coins(BITCOIN)
        # BDK takes longer to list the coins than to add them up.
        amounts = await self.wallet.confirmed_coins() if held else {}
        return await self.wallet.balance(), sum(amount for coin, amount in amounts.items() if str(coin) in held)

    async def pay(self, holder: str, outputs: Sequence[TxOut], rate: int) -> Built:
        """Make a signed transaction of confirmed coins, which are held for ``holder`` before this method returns.

        A holder that has coins gets a transaction that spends exactly these, so two transactions of one holder never
        both take effect.

        Args:
            rate: satoshi per 1,000 virtual bytes.

        Raises:
            InsufficientFunds: the coins that no holder has do not suffice.
        """
        async with self.choosing:
            await self._follow()
            own = await self.held(holder)
            if own:
                return await self.wallet.pay_with(own, outputs, rate)
            built = await self.build(outputs, rate, confirmed_only=True)
            await self.hold(holder, built)
            return built

    async def build(self, outputs: Sequence[TxOut], rate: int, *, confirmed_only: bool) -> Built:
        """Make a signed transaction of coins that no holder has. The caller has ``choosing`` until it holds them.

        Raises:
            InsufficientFunds: the coins that no holder has do not suffice.
        """
        await self._follow()
        holders = await self._holds.held_coins(BITCOIN)
        held = [OutPoint.read(coin) for coin in holders]
        # A funding can be voided, and what spends its change would go with it.
        swaps = {OutPoint.read(coin) for coin, name in holders.items() if name.startswith(swap_holder(b""))}
        return await self.wallet.pay(outputs, rate, without=held, not_after=swaps, confirmed_only=confirmed_only)

    async def hold(self, holder: str, built: Built) -> None:
        """Hold the coins of a transaction, durably.

        Raises:
            FundsRulesError: code ``coins_held``: another holder has one of them.
        """
        if not await self._holds.hold_coins(BITCOIN, holder, [str(each) for each in built.coins]):
            raise FundsRulesError(
                "another send or swap took one of the coins; nothing was sent",
                code="coins_held",
                protocol=BITCOIN,
                remedy="send it again with the same idempotency key",
            )

    async def held(self, holder: str) -> Sequence[OutPoint]:
        """The coins of a holder."""
        return [OutPoint.read(coin) for coin, name in (await self._holds.held_coins(BITCOIN)).items() if name == holder]

    async def free_outputs(self, transaction: Transaction) -> Sequence[OutPoint]:
        """The outputs of an unconfirmed transaction that pay to the wallet and that no holder has.

        Raises:
            FundsRulesError: code ``coins_held``: every one of them is held.
        """
        found = await self.wallet.own_outputs(transaction)
        held = await self._holds.held_coins(BITCOIN)
        free = [each for each in found if str(each) not in held]
        if found and not free:
            raise FundsRulesError(
                "another send already spends the wallet's output of the transaction",
                code="coins_held",
                protocol=BITCOIN,
                remedy="replace that send with a higher fee rate",
            )
        return free

    async def replacement(self, replaced: Built, holder: str, rate: int) -> Built:
        """Make a signed transaction that pays the same as another one of the holder, with a higher fee.

        The caller has ``choosing`` until it holds the coins.

        Args:
            rate: satoshi per 1,000 virtual bytes; it is raised to what nodes accept as a replacement.

        Raises:
            InsufficientFunds: the coins that no other holder has do not suffice.
        """
        await self.bring_up_to_date()
        held = await self._holds.held_coins(BITCOIN)
        others = [OutPoint.read(coin) for coin, name in held.items() if name != holder]
        return await self.wallet.replacement(replaced, rate, without=others)

    async def take_back(self, coin: OutPoint, rate: int, replaced: Built | None = None) -> Built:
        """Make a signed transaction that returns a coin to the wallet, in place of the one that spends it.

        Args:
            rate: satoshi per 1,000 virtual bytes; it is raised to what nodes accept as a replacement.
            replaced: what it replaces; None is the wallet's pending transaction that spends the coin, if there is one.

        Raises:
            InsufficientFunds: the coin is not worth the fee.
        """
        replaced = await self.wallet.pending_spender(coin) if replaced is None else replaced
        script = await self.wallet.fresh_script()
        if replaced is None:
            return await self.wallet.sweep([coin], script, rate, 0)
        return await self.wallet.replacement(replaced, rate, take_back=TakeBack(coin, script))

    async def aclose(self) -> None:
        """End the synchronisation and the wallet's thread."""
        await self._sync.aclose()
        await self.wallet.aclose()

    async def release(self, holder: str) -> None:
        """Let the coins of a holder be spent by others. Can be repeated."""
        await self._holds.release_coins(BITCOIN, holder)
