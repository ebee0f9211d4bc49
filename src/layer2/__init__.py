"""One async Python API over Bitcoin's layers."""
