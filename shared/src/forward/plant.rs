//! Mistakes that the simulation plants to see that it finds them. Outside tests there are none.

/// A mistake in the protocol of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum Plant {
    /// An object is named by its first number alone, and a name that is taken counts as written.
    NamedByNumber,
    /// An object is named by its first number alone, and what stands there is overwritten.
    Overwritten,
    /// Whether anything waits is asked once, and remembered.
    AskedOnce,
    /// Everything up to an object's name is deleted with it.
    DeletedByRange,
}
