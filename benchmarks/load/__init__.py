"""How load is put on what is measured: rounds that alternate, callers that cancel, and what they leave behind."""
