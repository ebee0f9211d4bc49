"""Signers: private keys and the swap seed. A key never leaves its signer."""

from layer2.signers.software import SeedPreimages, SoftwareEvmSigner, SoftwareIdentity

__all__ = ["SeedPreimages", "SoftwareEvmSigner", "SoftwareIdentity"]
