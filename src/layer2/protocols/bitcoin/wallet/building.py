"""What the wallet asks of BDK's transaction builder."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Final

import bdkpython as bdk

from layer2.errors import BadAnswer, InsufficientFunds, InvalidAmount
from layer2.formats.bitcoin_transaction import REPLACEABLE, OutPoint, Transaction, TxOut
from layer2.model.money import BTC
from layer2.protocols.bitcoin.fees import INCREMENT
from layer2.protocols.bitcoin.source.http import BITCOIN

__all__ = [
    "bdk_outpoint",
    "builder_for",
    "change_after",
    "drain",
    "known_fee",
    "outpoint_of",
    "parsed_address",
    "pending_family",
    "received_unconfirmed",
    "same_outputs",
    "signed",
    "typed_error",
]

_SHORTAGE: Final = re.compile(r"([0-9.]+) BTC available of ([0-9.]+) BTC needed")


def builder_for(outputs: Sequence[TxOut], rate: int) -> bdk.TxBuilder:
    """A builder of a replaceable transaction that pays these outputs.

    Args:
        rate: satoshi per 1,000 virtual bytes.
    """
    paid = [
        bdk.ScriptAmount(script=bdk.Script(each.script), amount=bdk.Amount.from_sat(each.amount)) for each in outputs
    ]
    builder = bdk.TxBuilder().set_exact_sequence(REPLACEABLE).fee_rate(_fee_rate(rate))
    return builder.set_recipients(paid) if paid else builder


def drain(coins: Sequence[OutPoint], script: bytes, rate: int) -> bdk.TxBuilder:
    """A builder of a transaction that moves these coins, less the fee, to one script."""
    chosen = builder_for((), rate).add_utxos([bdk_outpoint(each) for each in coins]).manually_selected_only()
    return chosen.drain_to(bdk.Script(script))


def same_outputs(wallet: bdk.Wallet, replaced: Transaction, rate: int, without: Collection[OutPoint]) -> bdk.TxBuilder:
    """Pay the same outputs except change with the same coins, and with more confirmed ones if the fee demands them."""
    coins = [each.prevout for each in replaced.inputs]
    found = [wallet.derivation_of_spk(bdk.Script(each.script)) for each in replaced.outputs]
    if len(found) == 1 and found[0] is not None:
        # All of it goes to the wallet: the fee comes out of it.
        return drain(coins, replaced.outputs[0].script, rate)
    kept = [
        output
        for output, own in zip(replaced.outputs, found, strict=True)
        if own is None or own.keychain is not bdk.KeychainKind.INTERNAL
    ]
    builder = builder_for(kept, rate).add_utxos([bdk_outpoint(each) for each in coins])
    return builder.unspendable([bdk_outpoint(each) for each in without]).exclude_unconfirmed()


def pending_family(wallet: bdk.Wallet, transaction: Transaction) -> list[tuple[bdk.Transaction, int]]:
    """A transaction and the unconfirmed ones that spend its outputs, each with the time at which it was last seen."""
    pending = {
        bytes.fromhex(str(each.transaction.compute_txid()))[::-1]: each
        for each in wallet.transactions()
        if each.chain_position.is_unconfirmed()
    }
    family = [transaction.hash]
    for parent in family:
        family += [
            tx_hash
            for tx_hash, each in pending.items()
            if tx_hash not in family
            and any(outpoint_of(one.previous_output).tx_hash == parent for one in each.transaction.input())
        ]
    known = [pending[each] for each in family if each in pending]
    return [(each.transaction, each.chain_position.timestamp or 0) for each in known]


def signed(
    wallet: bdk.Wallet, builder: bdk.TxBuilder, rate: int, *, least_fee: int = 0, replaced_fee: int | None = None
) -> bdk.Psbt:
    """Finish and sign a transaction.

    Args:
        rate: satoshi per 1,000 virtual bytes. BDK rounds the size down, and nodes round it up.
        least_fee: satoshi.
        replaced_fee: satoshi that the replaced transactions pay; None if it replaces nothing.

    Raises:
        InsufficientFunds: the wallet cannot sign for one of the coins.
        bdk.CreateTxError: the transaction cannot be made; see ``typed_error``.
    """
    while True:
        psbt = builder.finish(wallet)
        if not wallet.sign(psbt, None):
            raise InsufficientFunds("the wallet cannot sign for one of the coins", protocol=BITCOIN)
        size: int = psbt.extract_tx_unchecked_fee_rate().vsize()
        fee = max(least_fee, -(-rate * size // 1_000))
        if replaced_fee is not None:
            # BIP 125, rules 3 and 4.
            fee = max(fee, replaced_fee - (-INCREMENT * size // 1_000))
        if psbt.fee() >= fee:
            return psbt
        builder = builder.fee_absolute(bdk.Amount.from_sat(fee))


def known_fee(wallet: bdk.Wallet, transaction: bdk.Transaction) -> int:
    """The fee in satoshi; 0 if the wallet does not know the coins that the transaction spends."""
    try:
        return int(wallet.calculate_fee(transaction).to_sat())
    except bdk.CalculateFeeError:
        return 0


def received_unconfirmed(wallet: bdk.Wallet) -> list[bdk.OutPoint]:
    """Unconfirmed coins that others can take back: those at addresses that were given out."""
    # A list of all coins costs 30 microseconds for each of them, and there are seldom any of these.
    if wallet.balance().untrusted_pending.to_sat() == 0:
        return []
    return [each.outpoint for each in _unconfirmed(wallet) if each.keychain is bdk.KeychainKind.EXTERNAL]


def change_after(wallet: bdk.Wallet, coins: Collection[OutPoint]) -> list[bdk.OutPoint]:
    """Unconfirmed coins of transactions that spend one of these."""
    if not coins:
        return []
    spending = {
        str(each.transaction.compute_txid())
        for each in wallet.transactions()
        if each.chain_position.is_unconfirmed()
        and any(outpoint_of(one.previous_output) in coins for one in each.transaction.input())
    }
    return [each.outpoint for each in _unconfirmed(wallet) if str(each.outpoint.txid) in spending] if spending else []


def _unconfirmed(wallet: bdk.Wallet) -> list[bdk.LocalOutput]:
    return [each for each in wallet.list_unspent() if each.chain_position.is_unconfirmed()]


def _fee_rate(rate: int) -> bdk.FeeRate:
    """From satoshi per 1,000 virtual bytes to satoshi per 1,000 weight units, rounded up."""
    return bdk.FeeRate.from_sat_per_kwu(-(-rate // 4))


def bdk_outpoint(outpoint: OutPoint) -> bdk.OutPoint:
    """The output as BDK names it."""
    return bdk.OutPoint(txid=_txid(outpoint.tx_hash), vout=outpoint.index)


def outpoint_of(outpoint: bdk.OutPoint) -> OutPoint:
    """The reverse of ``bdk_outpoint``."""
    return OutPoint(bytes.fromhex(str(outpoint.txid))[::-1], outpoint.vout)


def _txid(tx_hash: bytes) -> bdk.Txid:
    return bdk.Txid.from_string(tx_hash[::-1].hex())


def typed_error(error: bdk.CreateTxError) -> InsufficientFunds | InvalidAmount | BadAnswer:
    """The package's error for one of BDK's."""
    if isinstance(error, bdk.CreateTxError.OutputBelowDustLimit):
        return InvalidAmount("an output is too small for nodes to relay it", code="dust", protocol=BITCOIN)
    if isinstance(error, bdk.CreateTxError.UnknownUtxo):
        return InsufficientFunds("the wallet does not have one of the coins, or it is spent", protocol=BITCOIN)
    if isinstance(error, bdk.CreateTxError.CoinSelection | bdk.CreateTxError.InsufficientFunds):
        return InsufficientFunds(
            f"the wallet's coins do not suffice{_shortage(error)}",
            protocol=BITCOIN,
            remedy="wait until unconfirmed or held coins are free, receive bitcoin, or send less",
        )
    return BadAnswer(f"BDK cannot make the transaction: {type(error).__name__}", protocol=BITCOIN)


def _shortage(error: bdk.CreateTxError) -> str:
    """The two amounts in satoshi; BDK shows them as text, in bitcoin."""
    if isinstance(error, bdk.CreateTxError.InsufficientFunds):
        available, needed = error.available, error.needed
    else:
        found = _SHORTAGE.search(str(error))
        if found is None:
            return ""
        available, needed = (int(Decimal(each) * 10**BTC.decimals) for each in found.groups())
    return f": it can spend {available} sat; the payment and its fee need {needed} sat"


def parsed_address(address: str, network: bdk.Network) -> bdk.Address | None:
    """The address, or None if it is not one of that network."""
    try:
        return bdk.Address(address, network)
    except bdk.AddressParseError:
        return None
