//! Tasks that run now and then, each safe to run twice at once, and the lease that makes that rare.

mod lease;

pub use self::lease::{Turn, leased};
