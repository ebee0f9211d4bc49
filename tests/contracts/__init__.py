"""The contracts, run in py-evm. ``chain`` is the small chain that the tests of this room share."""
