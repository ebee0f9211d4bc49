"""What a transaction costs, and at which price it is offered and offered anew."""
