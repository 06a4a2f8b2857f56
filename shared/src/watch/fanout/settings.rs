//! How much a process keeps for its watchers.

use crate::state::Config;

/// How much is kept for watchers that are a little behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Events that are kept in memory. Default 1024, as `buffer_size` of the state configuration.
    pub buffer_size: usize,
    /// Bytes that they may take, roughly. Default 32 MiB.
    pub buffer_bytes: usize,
    /// How many watchers that are further behind may read the source at the same time. Default 4.
    pub readers: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            buffer_size: 1024,
            buffer_bytes: 32 * 1024 * 1024,
            readers: 4,
        }
    }
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            buffer_size: config.buffer_size,
            ..Self::default()
        }
    }
}
