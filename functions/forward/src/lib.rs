//! The `forward` function.
