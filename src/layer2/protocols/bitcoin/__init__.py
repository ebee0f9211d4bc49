"""Bitcoin's chain: transactions of the party's own wallet, and legs that are hash-locked outputs."""

from layer2.protocols.bitcoin.client import BitcoinClient
from layer2.protocols.bitcoin.requests import BitcoinOutput, BitcoinPayment, BitcoinTransaction
from layer2.protocols.bitcoin.settings import BitcoinSettings

__all__ = ["BitcoinClient", "BitcoinOutput", "BitcoinPayment", "BitcoinSettings", "BitcoinTransaction"]
