//! Which lock, and how it is held.

use std::time::Duration;

use crate::state::Key;

/// Teleport's pause between two looks at a lock that another holds.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// What is left of a lock's time at least: below that it is over before it can be used.
const LEAST_USE: Duration = Duration::from_secs(1);
/// Longer times are mistakes.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// `Expires` is rounded down by so much at most.
pub(super) const ROUNDING: Duration = Duration::from_secs(1);

/// Which lock, and how it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockConfiguration {
    components: Vec<String>,
    pub(super) ttl: Duration,
    pub(super) retry_interval: Duration,
    pub(super) fenced: bool,
}

impl LockConfiguration {
    /// The lock `.locks/<component>/…`, which expires `ttl` after it was acquired or refreshed last. All who share it must
    /// name it alike; the ttl is each one's own.
    ///
    /// Of the ttl up to a second is lost by rounding, and the allowed skew ([`Config::lock_skew`]) is not used: it must
    /// leave at least a second, so 3 s is the least with the default of 1 s.
    ///
    /// [`Config::lock_skew`]: crate::state::Config::lock_skew
    pub fn new<S: Into<String>>(components: impl IntoIterator<Item = S>, ttl: Duration) -> Self {
        Self {
            components: components.into_iter().map(Into::into).collect(),
            ttl,
            retry_interval: RETRY_INTERVAL,
            fenced: false,
        }
    }

    /// The first pause of a waiter between two looks; later ones grow to eight times that. Default 250 ms.
    pub fn with_retry_interval(mut self, interval: Duration) -> Self {
        self.retry_interval = interval;
        self
    }

    /// With a number that grows from holder to holder; see [`LockScope::fence`](super::LockScope::fence). Two requests
    /// more.
    pub fn fenced(mut self) -> Self {
        self.fenced = true;
        self
    }

    /// The key of its item.
    pub fn key(&self) -> Key {
        Key::internal(Key::LOCKS, &self.components)
    }

    /// The key of its fencing number.
    pub fn fence_key(&self) -> Key {
        Key::internal(Key::FENCES, &self.components)
    }

    /// How long it is held without a refresh.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The first pause of a waiter.
    pub fn retry_interval(&self) -> Duration {
        self.retry_interval
    }

    /// The same for a lock below this one.
    pub(super) fn below(&self, part: String) -> Self {
        let mut below = self.clone();
        below.components.push(part);
        below
    }

    /// What is wrong with it.
    pub(super) fn fault(&self, skew: Duration) -> Option<String> {
        if self.components.is_empty() || self.components.iter().any(String::is_empty) {
            return Some("the lock has no name: give it components that are not empty".to_owned());
        }
        if self.retry_interval.is_zero() || self.retry_interval > LONGEST {
            return Some(format!(
                "the retry interval {:?} is no pause for a waiter",
                self.retry_interval
            ));
        }
        ttl_fault(self.ttl, skew)
    }
}

/// What is wrong with a time to live.
pub(in crate::state) fn ttl_fault(ttl: Duration, skew: Duration) -> Option<String> {
    let least = (LEAST_USE + ROUNDING).saturating_add(skew);
    if ttl > LONGEST {
        return Some(format!("a ttl of {ttl:?} is too long: {LONGEST:?} is the most"));
    }
    (ttl < least).then(|| {
        format!("a ttl of {ttl:?} is too short: rounding and the allowed skew of {skew:?} ask for {least:?} at least")
    })
}
