//! Lambda event source mapping with its own semantics, simulated.
