//! Locks: the case 10.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join;

use super::check::{Checked, done, holds};
use super::store::Store;
use crate::state::{Error, LockConfiguration, LockGuard};

const TTL: Duration = Duration::from_secs(30);

/// A second contender waits for as long as the first one holds the lock, and no longer.
pub(super) async fn locking(s: &Store) -> Checked {
    let name = |lock: &str| LockConfiguration::new([s.key(lock).to_string().as_str()], TTL);
    for round in ["first", "second"] {
        let first = done(round, s.backend.acquire_lock(&name("a")).await)?;
        let taken = done("try_acquire_lock", s.backend.try_acquire_lock(&name("a")).await)?;
        holds("a lock that is held is not given out", taken.is_none())?;
        let second = handed_over(s, &name("a"), first).await?;
        done("release by the second", second.release().await)?;
    }
    // Two locks are two locks, released in the order they were taken.
    let a = done("acquire a", s.backend.acquire_lock(&name("a")).await)?;
    let b = done("acquire b", s.backend.acquire_lock(&name("b")).await)?;
    let a = handed_over(s, &name("a"), a).await?;
    let b = handed_over(s, &name("b"), b).await?;
    done("release a", a.release().await)?;
    done("release b", b.release().await)?;
    let free = done("try_acquire_lock", s.backend.try_acquire_lock(&name("a")).await)?;
    let free = free.ok_or("a lock that was released is not given out")?;
    done("release", free.release().await)
}

/// Releases a lock while another waits for it, which must have it after that and not before.
async fn handed_over(s: &Store, lock: &LockConfiguration, held: LockGuard) -> Result<LockGuard, String> {
    let released = AtomicBool::new(false);
    let release = async {
        // Long enough for the other to have asked; a clock that stands still is moved, so that it asks again.
        for _ in 0..2 {
            s.advance(Duration::from_secs(1)).await;
            yield_now().await;
        }
        released.store(true, Ordering::SeqCst);
        let outcome = held.release().await;
        for _ in 0..5 {
            s.advance(Duration::from_secs(1)).await;
            yield_now().await;
        }
        outcome
    };
    let acquire = async {
        let guard = s.backend.acquire_lock(lock).await?;
        Ok::<_, Error>((guard, released.load(Ordering::SeqCst)))
    };
    let (outcome, acquired) = join(release, acquire).await;
    done("release", outcome)?;
    let (guard, after) = done("acquire_lock", acquired)?;
    holds("the second has it only after the release", after)?;
    Ok(guard)
}

/// Lets the requests of others go on.
async fn yield_now() {
    crate::clock::Clock::system()
        .sleep(Duration::from_millis(20))
        .await;
}
