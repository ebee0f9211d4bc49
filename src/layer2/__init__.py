"""One async Python API over Bitcoin's layers, with blocking twins.

Names are loaded when they are first used (PEP 562), so that ``import layer2`` costs next to nothing and an auditor's
program that only needs ``layer2.proofs`` never loads a network library.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layer2.aio.cancellation import cancellable
    from layer2.config import Layer2Config
    from layer2.errors import (
        AsyncRuntimeError,
        AsyncTimeout,
        JournalBusy,
        Layer2Error,
        Outcome,
        ProofUndecided,
        TaskCancelled,
        TransferAbandoned,
        TransferLost,
        TransferRefunded,
    )
    from layer2.formats.eip2612 import SignedPermit
    from layer2.legs.shown import OpenMatter, OpenPoint
    from layer2.legs.views import FundingRequest
    from layer2.manager import Layer2Manager
    from layer2.model.layers import Layer2ProtocolType
    from layer2.model.money import BTC, ETH, AssetId, Balance
    from layer2.model.transactions import (
        BitcoinTxId,
        EvmTxId,
        Finality,
        LightningPaymentId,
        Preimage,
        SwapId,
        TxState,
        TxStatus,
    )
    from layer2.net.client_settings import ConnectionPoolConfig
    from layer2.ports.client import Layer2ProtocolAsync
    from layer2.proofs.check import check_proof
    from layer2.proofs.model import ProofOutcome, TransferProof
    from layer2.proofs.policy import FINAL, OFFLINE, Confirmation, ProofLevel, ProofPolicy, Requirement
    from layer2.proofs.report import ProofReport
    from layer2.protocols.bitcoin import BitcoinClient, BitcoinOutput, BitcoinPayment, BitcoinSettings
    from layer2.protocols.bob import BobClient, BobSettings
    from layer2.protocols.evm.chain.follower import ChainStep
    from layer2.protocols.evm.chain.logs import LogEvent
    from layer2.protocols.evm.fees.estimates import FeeEstimate
    from layer2.protocols.evm.requests import EvmTransactionRequest
    from layer2.protocols.lightning import (
        KeysendRequest,
        LightningNetwork,
        LightningSettings,
        PaymentRequest,
        RouteEstimate,
    )
    from layer2.protocols.rootstock import RootstockClient, RootstockSettings
    from layer2.provider_client import PairOffer
    from layer2.terms.transfers import Quote, Transfer, TransferEvent, TransferRequest, TransferState

__version__ = "0.1.0"

_HOMES = {
    "layer2.aio.cancellation": ("cancellable",),
    "layer2.config": ("Layer2Config",),
    "layer2.errors": (
        "AsyncRuntimeError",
        "AsyncTimeout",
        "JournalBusy",
        "Layer2Error",
        "Outcome",
        "ProofUndecided",
        "TaskCancelled",
        "TransferAbandoned",
        "TransferLost",
        "TransferRefunded",
    ),
    "layer2.formats.eip2612": ("SignedPermit",),
    "layer2.model.layers": ("Layer2ProtocolType",),
    "layer2.legs.shown": ("OpenMatter", "OpenPoint"),
    "layer2.legs.views": ("FundingRequest",),
    "layer2.manager": ("Layer2Manager",),
    "layer2.model.money": ("BTC", "ETH", "AssetId", "Balance"),
    "layer2.proofs.check": ("check_proof",),
    "layer2.proofs.model": ("ProofOutcome", "TransferProof"),
    "layer2.proofs.policy": ("FINAL", "OFFLINE", "Confirmation", "ProofLevel", "ProofPolicy", "Requirement"),
    "layer2.proofs.report": ("ProofReport",),
    "layer2.ports.client": ("Layer2ProtocolAsync",),
    "layer2.protocols.bitcoin": ("BitcoinClient", "BitcoinOutput", "BitcoinPayment", "BitcoinSettings"),
    "layer2.protocols.bob": ("BobClient", "BobSettings"),
    "layer2.protocols.evm.chain.follower": ("ChainStep",),
    "layer2.protocols.evm.fees.estimates": ("FeeEstimate",),
    "layer2.protocols.evm.chain.logs": ("LogEvent",),
    "layer2.protocols.evm.requests": ("EvmTransactionRequest",),
    "layer2.protocols.lightning": (
        "KeysendRequest",
        "LightningNetwork",
        "LightningSettings",
        "PaymentRequest",
        "RouteEstimate",
    ),
    "layer2.protocols.rootstock": ("RootstockClient", "RootstockSettings"),
    "layer2.provider_client": ("PairOffer",),
    "layer2.net.client_settings": ("ConnectionPoolConfig",),
    "layer2.model.transactions": (
        "BitcoinTxId",
        "EvmTxId",
        "Finality",
        "LightningPaymentId",
        "Preimage",
        "SwapId",
        "TxState",
        "TxStatus",
    ),
    "layer2.terms.transfers": ("Quote", "Transfer", "TransferEvent", "TransferRequest", "TransferState"),
}

__all__ = [
    "BTC",
    "ETH",
    "FINAL",
    "OFFLINE",
    "AssetId",
    "AsyncRuntimeError",
    "AsyncTimeout",
    "Balance",
    "BitcoinClient",
    "BitcoinOutput",
    "BitcoinPayment",
    "BitcoinSettings",
    "BitcoinTxId",
    "BobClient",
    "BobSettings",
    "ChainStep",
    "Confirmation",
    "ConnectionPoolConfig",
    "EvmTransactionRequest",
    "EvmTxId",
    "FeeEstimate",
    "Finality",
    "FundingRequest",
    "JournalBusy",
    "KeysendRequest",
    "Layer2Config",
    "Layer2Error",
    "Layer2Manager",
    "Layer2ProtocolAsync",
    "Layer2ProtocolType",
    "LightningNetwork",
    "LightningPaymentId",
    "LightningSettings",
    "LogEvent",
    "OpenMatter",
    "OpenPoint",
    "Outcome",
    "PairOffer",
    "PaymentRequest",
    "Preimage",
    "ProofLevel",
    "ProofOutcome",
    "ProofPolicy",
    "ProofReport",
    "ProofUndecided",
    "Quote",
    "Requirement",
    "RootstockClient",
    "RootstockSettings",
    "RouteEstimate",
    "SignedPermit",
    "SwapId",
    "TaskCancelled",
    "Transfer",
    "TransferAbandoned",
    "TransferEvent",
    "TransferLost",
    "TransferProof",
    "TransferRefunded",
    "TransferRequest",
    "TransferState",
    "TxState",
    "TxStatus",
    "cancellable",
    "check_proof",
]


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package that imports its public names when they are first used.

    Args:
        homes: the public names of each module.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(home_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *home_of})


if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
