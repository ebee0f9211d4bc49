"""Tests of the contracts in py-evm. They share the small chain in ``chain``."""
