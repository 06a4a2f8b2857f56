//! Fencing numbers: an ordinary item `.fences/<lock>`, decimal text, never deleted.
//!
//! The item is read, then the lock is created, then the number is raised from the revision that was read. If the number
//! were drawn first, a holder could use a number drawn before another's whole turn; if it were read only after the lock
//! was had, a holder that stopped there would raise it after a later holder did. As it is, whoever is late is refused by
//! the revision, reads again, and looks whether the lock is still his.

use super::{LockConfiguration, LockGuard};
use crate::state::{Backend, Error, ErrorKind, Item, Key, Revision};

/// What the item holds: zero, without a revision, if there is none.
#[derive(Debug)]
pub(super) struct Fence {
    number: u64,
    revision: Option<Revision>,
}

pub(super) async fn read(backend: &Backend, key: &Key) -> Result<Fence, Error> {
    let item = match backend.get(key).await {
        Ok(item) => item,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Fence {
                number: 0,
                revision: None,
            });
        }
        Err(error) => return Err(error),
    };
    let number = number(&item.value).ok_or_else(|| {
        let what = "it does not hold a number: somebody else wrote it. Put one there that is greater than all handed out";
        Error::new(ErrorKind::WrongTable, "acquire_lock", backend.table(), Some(key), what)
    })?;
    Ok(Fence {
        number,
        revision: Some(item.revision),
    })
}

/// The number that a fencing item holds.
pub(in crate::state) fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The number of this holder; none if the lock is to be released and acquired anew.
pub(super) async fn take(
    backend: &Backend,
    configuration: &LockConfiguration,
    guard: &LockGuard,
    mut last: Fence,
) -> Result<Option<u64>, Error> {
    let key = configuration.fence_key();
    let backend = backend.with_deadline(backend.deadline().min(guard.deadline()));
    loop {
        let number = last.number.checked_add(1).ok_or_else(|| {
            let what = "there is no greater number";
            Error::new(
                ErrorKind::WrongTable,
                "acquire_lock",
                backend.table(),
                Some(&key),
                what,
            )
        })?;
        let item = Item::new(&key, number.to_string());
        let raised = match last.revision {
            None => backend.create(&item).await,
            Some(revision) => backend.conditional_update(&item.at(revision)).await,
        };
        let error = match raised {
            Ok(_) => return Ok(Some(number)),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::IncorrectRevision => {}
            // Ours or not, the number is nobody's: the next one is greater.
            ErrorKind::OutcomeUnknown
            | ErrorKind::Throttled
            | ErrorKind::Contended
            | ErrorKind::Unavailable => return Ok(None),
            _ => return Err(error),
        }
        // In this order: whoever numbers after the look finds the revision changed.
        last = match read(&backend, &key).await {
            Ok(fence) => fence,
            Err(error) if error.kind() == ErrorKind::Unavailable => return Ok(None),
            Err(error) => return Err(error),
        };
        if !is_ours(&backend, guard).await? {
            return Ok(None);
        }
    }
}

/// Whether the lock is still this holder's, by the table and by the clocks.
async fn is_ours(backend: &Backend, guard: &LockGuard) -> Result<bool, Error> {
    match backend.get(guard.key()).await {
        Ok(item) => Ok(item.value == guard.value() && guard.is_held()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unavailable) => Ok(false),
        Err(error) => Err(error),
    }
}
