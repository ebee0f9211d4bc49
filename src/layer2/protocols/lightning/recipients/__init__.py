"""Recipients of payments: texts that users enter or scan, and how they become invoices."""
