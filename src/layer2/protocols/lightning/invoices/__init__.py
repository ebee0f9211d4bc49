"""The node's invoices: making, settling, cancelling, and following them."""
