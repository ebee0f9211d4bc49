"""Where keys are: each module is one kind of keeper. A key never leaves its keeper."""
