"""Being paid: the node's own invoices."""
