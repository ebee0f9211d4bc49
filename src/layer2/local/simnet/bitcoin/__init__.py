"""simnet's Bitcoin chain: real blocks and transactions, judged by Bitcoin Core's consensus code."""
