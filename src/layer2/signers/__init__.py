"""Signers: private keys and the swap seed. A key never leaves its signer."""

from layer2.signers.bitcoin import BitcoinSeed
from layer2.signers.software import SeedPreimages, SoftwareEvmSigner, SoftwareIdentity

__all__ = ["BitcoinSeed", "SeedPreimages", "SoftwareEvmSigner", "SoftwareIdentity"]
