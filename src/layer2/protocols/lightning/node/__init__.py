"""The party's lnd itself: what it is, whether it is fit for use, its channels."""
