"""The party's coins: BDK's wallet, and which swap or key holds which coin."""
