"""The party's wallet, by BDK: addresses, coin selection and signatures. The only module that imports ``bdkpython``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import bdkpython as bdk

from layer2.errors import (
    AsyncRuntimeError,
    ConfigurationError,
    FormatError,
    InsufficientFunds,
)
from layer2.formats.bitcoin_transaction import OutPoint, Transaction, TxOut, decode_transaction
from layer2.protocols.bitcoin.fees import INCREMENT
from layer2.protocols.bitcoin.source.http import BITCOIN
from layer2.protocols.bitcoin.wallet.building import (
    bdk_outpoint,
    builder_for,
    change_after,
    drain,
    known_fee,
    outpoint_of,
    parsed_address,
    pending_family,
    received_unconfirmed,
    same_outputs,
    signed,
    typed_error,
)
from layer2.protocols.bitcoin.wallet.model import Built, TakeBack, WalletBalance

__all__ = ["Wallet", "WalletSync"]

NETWORKS: Final = {
    "mainnet": (bdk.Network.BITCOIN, bdk.NetworkKind.MAIN),
    "testnet": (bdk.Network.TESTNET4, bdk.NetworkKind.TEST),
    "signet": (bdk.Network.SIGNET, bdk.NetworkKind.TEST),
    "regtest": (bdk.Network.REGTEST, bdk.NetworkKind.TEST),
}

T = TypeVar("T")


class WalletSync(Protocol):
    """Brings a wallet up to date with the chain."""

    async def bring_up_to_date(self, wallet: Wallet) -> None:
        """Apply what the chain shows.

        Raises:
            NodeError: the source cannot be read.
        """
        ...

    async def aclose(self) -> None:
        """End the connections."""
        ...


class Wallet:
    """A BIP 84 wallet. Its calls to BDK run on one thread, in order.

    Args:
        words: the BIP 39 mnemonic.
        network: ``mainnet``, ``testnet`` (testnet4), ``signet`` or ``regtest``.
        path: SQLite file of the addresses and what is known of the chain; None keeps them in memory.
        lookahead: addresses after the last one given out that it recognises in a block.

    Raises:
        ConfigurationError: the words are not a mnemonic, or the file belongs to another wallet.
    """

    def __init__(self, words: str, network: str, path: Path | None, lookahead: int = 25) -> None:
        self._network, kind = NETWORKS[network]
        try:
            secret = bdk.DescriptorSecretKey(kind, bdk.Mnemonic.from_string(words), None)
        except bdk.Bip39Error:
            raise ConfigurationError("the seed file does not contain a BIP 39 mnemonic") from None
        own = bdk.Descriptor.new_bip84(secret, bdk.KeychainKind.EXTERNAL, kind)
        change = bdk.Descriptor.new_bip84(secret, bdk.KeychainKind.INTERNAL, kind)
        exists = path is not None and path.exists()
        if path is not None and not exists:
            path.touch(mode=0o600)
        self._persister = bdk.Persister.new_in_memory() if path is None else bdk.Persister.new_sqlite(str(path))
        try:
            self._wallet = (
                bdk.Wallet.load(own, change, self._persister, lookahead)
                if exists
                else bdk.Wallet(own, change, self._network, self._persister, lookahead)
            )
        except (bdk.LoadWithPersistError, bdk.CreateWithPersistError) as error:
            raise ConfigurationError(f"{path} is not this wallet's file: {type(error).__name__}") from error
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="layer2-wallet")
        self._running: set[asyncio.Future[Any]] = set()
        self._is_closed = False
        self._forgotten: dict[str, int] = {}

    async def run(self, call: Callable[[bdk.Wallet], T], *, persists: bool = False) -> T:
        """Call a function with BDK's wallet on the wallet's thread.

        Args:
            persists: store what the call changed before this method returns.

        Raises:
            AsyncRuntimeError: the client was closed.
        """

        def act() -> T:
            result = call(self._wallet)
            if persists:
                self._wallet.persist(self._persister)
            return result

        if self._is_closed:
            raise AsyncRuntimeError("the client was closed", protocol=BITCOIN)
        running = asyncio.get_running_loop().run_in_executor(self._thread, act)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await running

    async def balance(self) -> WalletBalance:
        """The balance as of the last synchronisation."""
        found = await self.run(lambda wallet: wallet.balance())
        return WalletBalance(found.confirmed.to_sat(), found.trusted_pending.to_sat(), found.untrusted_pending.to_sat())

    async def confirmed_coins(self) -> dict[OutPoint, int]:
        """The confirmed, unspent coins with their amounts in satoshi, as of the last synchronisation."""
        found = await self.run(lambda wallet: wallet.list_unspent())
        confirmed = [each for each in found if each.chain_position.is_confirmed()]
        return {outpoint_of(each.outpoint): each.txout.value.to_sat() for each in confirmed}

    async def own_outputs(self, transaction: Transaction) -> Sequence[OutPoint]:
        """The outputs of a transaction that pay to the wallet."""

        def find(wallet: bdk.Wallet) -> Sequence[OutPoint]:
            return [
                OutPoint(transaction.hash, index)
                for index, output in enumerate(transaction.outputs)
                if wallet.is_mine(bdk.Script(output.script))
            ]

        return await self.run(find)

    async def spenders(self, coins: Collection[OutPoint], final_height: int) -> dict[OutPoint, tuple[bytes, int]]:
        """Which of these coins are spent in a block: the hash of the transaction, and the block's height.

        Args:
            final_height: later blocks do not count.
        """

        def find(wallet: bdk.Wallet) -> dict[OutPoint, tuple[bytes, int]]:
            if all(wallet.get_utxo(bdk_outpoint(each)) is not None for each in coins):
                return {}
            found: dict[OutPoint, tuple[bytes, int]] = {}
            for each in wallet.transactions():
                if not each.chain_position.is_confirmed():
                    continue
                height = each.chain_position.confirmation_block_time.block_id.height
                if height <= final_height:
                    tx_hash = bytes.fromhex(str(each.transaction.compute_txid()))[::-1]
                    found |= {outpoint_of(one.previous_output): (tx_hash, height) for one in each.transaction.input()}
            return {each: found[each] for each in coins if each in found}

        return await self.run(find)

    async def height(self) -> int:
        """The height up to which the wallet is synchronised."""
        return await self.run(lambda wallet: int(wallet.latest_checkpoint().height))

    async def given_out(self) -> int:
        """The number of addresses that were given out, for others or for change, whichever is higher."""
        last = await self.run(lambda wallet: [wallet.derivation_index(each) for each in bdk.KeychainKind])
        return 1 + max(-1 if each is None else each for each in last)

    async def scripts_of(self, coins: Sequence[OutPoint]) -> tuple[bytes, ...]:
        """The output scripts of known coins, spent or not."""

        def find(wallet: bdk.Wallet) -> tuple[bytes, ...]:
            outputs = {
                outpoint_of(each.outpoint): bytes(each.txout.script_pubkey.to_bytes()) for each in wallet.list_output()
            }
            return tuple([outputs[each] for each in coins])

        return await self.run(find)

    async def fresh_script(self) -> bytes:
        """The output script of an address that was not given out before. It is durable."""
        info = await self.run(lambda wallet: wallet.reveal_next_address(bdk.KeychainKind.EXTERNAL), persists=True)
        return bytes(info.address.script_pubkey().to_bytes())

    def script_of(self, address: str) -> bytes:
        """The output script of an address of any kind.

        Raises:
            FormatError: it is not an address, or one of another network (``other_network``).
        """
        found = parsed_address(address, self._network)
        if found is not None:
            return bytes(found.script_pubkey().to_bytes())
        others = [name for name, (each, _) in NETWORKS.items() if parsed_address(address, each) is not None]
        if others:
            raise FormatError(
                f"the address belongs to another network than the wallet: {' or '.join(others)}",
                code="other_network",
                protocol=BITCOIN,
                remedy="ask the recipient for an address of the wallet's network",
            )
        raise FormatError(
            "this is not a Bitcoin address",
            protocol=BITCOIN,
            remedy="compare it with the recipient's: a character may be wrong or missing",
        )

    async def pay(
        self,
        outputs: Sequence[TxOut],
        rate: int,
        *,
        without: Collection[OutPoint] = (),
        not_after: Collection[OutPoint] = (),
        confirmed_only: bool = False,
    ) -> Built:
        """Make and sign a transaction that pays these outputs. It spends no unconfirmed coin from another party.

        Args:
            rate: satoshi per 1,000 virtual bytes.
            without: coins that it must not spend.
            not_after: nor the change of an unconfirmed transaction that spends one of these.
            confirmed_only: spend no coins of unconfirmed transactions.

        Raises:
            InsufficientFunds: the coins do not suffice.
        """

        def build(wallet: bdk.Wallet) -> bdk.Psbt:
            unusable = [*map(bdk_outpoint, without), *received_unconfirmed(wallet), *change_after(wallet, not_after)]
            builder = builder_for(outputs, rate).unspendable(unusable)
            return signed(wallet, builder.exclude_unconfirmed() if confirmed_only else builder, rate)

        return await self._built(build)

    async def pay_with(self, coins: Sequence[OutPoint], outputs: Sequence[TxOut], rate: int) -> Built:
        """Make and sign a transaction that spends exactly these coins, with change.

        Raises:
            InsufficientFunds: the coins do not suffice, or are spent.
        """

        def build(wallet: bdk.Wallet) -> bdk.Psbt:
            chosen = (
                builder_for(outputs, rate).add_utxos([bdk_outpoint(each) for each in coins]).manually_selected_only()
            )
            return signed(wallet, chosen, rate)

        return await self._built(build)

    async def sweep(self, coins: Sequence[OutPoint], script: bytes, rate: int, least_fee: int) -> Built:
        """Make and sign a transaction that moves these coins, less the fee, to one script.

        Args:
            rate: satoshi per 1,000 virtual bytes.
            least_fee: satoshi; the fee is higher than ``rate`` demands if this is.

        Raises:
            InsufficientFunds: the fee is higher than the amount, or a coin is spent.
        """

        def build(wallet: bdk.Wallet) -> bdk.Psbt:
            return signed(wallet, drain(coins, script, rate), rate, least_fee=least_fee)

        return await self._built(build)

    async def pending_spender(self, coin: OutPoint) -> Built | None:
        """The wallet's own unconfirmed transaction that spends a coin, or None."""

        def find(wallet: bdk.Wallet) -> Built | None:
            for each in wallet.transactions():
                transaction = decode_transaction(bytes(each.transaction.serialize()))
                if each.chain_position.is_unconfirmed() and any(one.prevout == coin for one in transaction.inputs):
                    return Built(transaction, known_fee(wallet, each.transaction))
            return None

        return await self.run(find)

    async def replacement(
        self, replaced: Built, rate: int, *, without: Collection[OutPoint] = (), take_back: TakeBack | None = None
    ) -> Built:
        """Make and sign a transaction that nodes accept in place of another (BIP 125), with the same inputs first.

        From then on the wallet does not count the replaced transaction, nor what spends its outputs.

        Args:
            replaced: a transaction of the wallet's coins; it need not be in a mempool.
            rate: satoshi per 1,000 virtual bytes. The fee is higher if nodes demand that.
            without: coins that it must not add.
            take_back: what it does instead of paying the same outputs.

        Raises:
            InsufficientFunds: the coins do not suffice for the fee, or are spent.
        """
        rate = max(rate, replaced.rate + INCREMENT)

        def build(wallet: bdk.Wallet) -> bdk.Psbt:
            family = pending_family(wallet, replaced.transaction)
            own = replaced.transaction.id
            fees = [0 if str(one.compute_txid()) == own else known_fee(wallet, one) for one, _ in family]
            self._forget(family)
            try:
                builder = (
                    same_outputs(wallet, replaced.transaction, rate, without)
                    if take_back is None
                    else drain([take_back.coin], take_back.script, rate)
                )
                return signed(wallet, builder, rate, replaced_fee=replaced.fee + sum(fees))
            except (bdk.CreateTxError, InsufficientFunds):
                for transaction, seen_at in family:
                    self._count(transaction, seen_at)
                raise

        return await self._built(build)

    async def note_unconfirmed(self, transaction: Transaction, now: int) -> None:
        """Let the wallet count a transaction that it sent. It is durable."""
        counted = bdk.Transaction(transaction.encode())
        await self.run(lambda _: self._count(counted, now), persists=True)

    async def aclose(self) -> None:
        """End the thread, after the calls that are under way. It also works while the interpreter ends."""
        self._is_closed = True
        await asyncio.gather(*self._running, return_exceptions=True)
        self._thread.shutdown()

    def _forget(self, family: Sequence[tuple[bdk.Transaction, int]]) -> None:
        """Count these unconfirmed transactions no longer, each with the time at which it was last seen."""
        for transaction, seen_at in family:
            txid = transaction.compute_txid()
            self._forgotten[str(txid)] = seen_at
            self._wallet.apply_evicted_txs([bdk.EvictedTx(txid=txid, evicted_at=seen_at)])

    def _count(self, transaction: bdk.Transaction, now: int) -> None:
        # BDK counts what was seen after it was evicted, in whole seconds.
        seen_at = max(now, self._forgotten.get(str(transaction.compute_txid()), -1) + 1)
        self._wallet.apply_unconfirmed_txs([bdk.UnconfirmedTx(tx=transaction, last_seen=seen_at)])

    async def _built(self, build: Callable[[bdk.Wallet], bdk.Psbt]) -> Built:
        try:
            psbt = await self.run(build, persists=True)
        except bdk.CreateTxError as error:
            raise typed_error(error) from error
        transaction = decode_transaction(bytes(psbt.extract_tx_unchecked_fee_rate().serialize()))
        return Built(transaction, psbt.fee())
