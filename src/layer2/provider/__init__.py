"""The maker: quotes a price, signs terms, keeps them, and serves both over HTTP."""
