//! The operations as cases call them: by themselves, or each through an atomic write.

use std::time::{Duration, SystemTime};

use super::{Harness, Sweep};
use crate::clock::Clock;
use crate::random::Random;
use crate::state::{Backend, Condition, ConditionalAction, ErrorKind, Item, Key, Lease, Range, Revision};
use crate::watch::TeleportWatches;

/// How often the shim's compare-and-swap starts over when another write came in between.
const SWAPS: usize = 16;

/// Why an operation did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    /// None if it is no refusal of the operation.
    pub(super) kind: Option<ErrorKind>,
    pub(super) text: String,
}

/// A backend, a prefix for the keys of a case, and the way its writes go.
pub(super) struct Store {
    pub(super) backend: Backend,
    pub(super) second: Option<Backend>,
    pub(super) watches: Option<TeleportWatches>,
    pub(super) random: Random,
    sweep: Option<Sweep>,
    prefix: Key,
    shim: bool,
}

impl Store {
    pub(super) fn new(harness: Harness, shim: bool) -> Self {
        let prefix = Key::new([harness.random.uuid().to_string()]);
        Self {
            backend: harness.backend,
            second: harness.second,
            watches: harness.watches,
            sweep: harness.sweep,
            random: harness.random,
            prefix,
            shim,
        }
    }

    /// The same keys through the second backend, if there is one.
    pub(super) fn other(&self) -> Option<Self> {
        Some(Self {
            backend: self.second.clone()?,
            second: None,
            watches: self.watches.clone(),
            sweep: self.sweep.clone(),
            random: self.random.clone(),
            prefix: self.prefix.clone(),
            shim: self.shim,
        })
    }

    pub(super) fn key(&self, name: &str) -> Key {
        self.prefix.join(name)
    }

    /// All keys of the case.
    pub(super) fn all(&self) -> Range {
        Range::prefix(self.prefix.join(""))
    }

    /// The key before all keys of the case, and the one after them, as Teleport takes them.
    pub(super) fn ends(&self) -> Result<(Key, Key), String> {
        let start = self.prefix.join("");
        let end = start.range_end().ok_or("the prefix has no end")?;
        Ok((start, end))
    }

    pub(super) fn item(&self, name: &str, value: impl Into<Vec<u8>>) -> Item {
        Item::new(self.key(name), value)
    }

    pub(super) fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.random.u64().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    pub(super) fn clock(&self) -> &Clock {
        self.backend.clock()
    }

    pub(super) fn after(&self, wait: Duration) -> SystemTime {
        self.clock().now() + wait
    }

    /// Lets time pass: moves a clock that stands still, waits for one that does not.
    pub(super) async fn advance(&self, by: Duration) {
        let until = self.clock().now() + by;
        self.clock().advance(by);
        if let Ok(left) = until.duration_since(self.clock().now()) {
            self.clock().sleep(left).await;
        }
    }

    /// Has what expired deleted.
    pub(super) async fn sweep(&self) -> Result<(), String> {
        let sweep = self
            .sweep
            .as_ref()
            .ok_or("the harness has nothing that deletes")?;
        (sweep.0)().await;
        Ok(())
    }

    pub(super) async fn get(&self, name: &str) -> Result<Item, Failure> {
        Ok(self.backend.get(&self.key(name)).await?)
    }

    pub(super) async fn put(&self, item: &Item) -> Result<Lease, Failure> {
        if !self.shim {
            return Ok(self.backend.put(item).await?);
        }
        self.write(item, Condition::Whatever, ErrorKind::AlreadyExists)
            .await
    }

    pub(super) async fn create(&self, item: &Item) -> Result<Lease, Failure> {
        if !self.shim {
            return Ok(self.backend.create(item).await?);
        }
        self.write(item, Condition::NotExists, ErrorKind::AlreadyExists)
            .await
    }

    pub(super) async fn update(&self, item: &Item) -> Result<Lease, Failure> {
        if !self.shim {
            return Ok(self.backend.update(item).await?);
        }
        self.write(item, Condition::Exists, ErrorKind::NotFound).await
    }

    pub(super) async fn conditional_update(&self, item: &Item) -> Result<Lease, Failure> {
        if !self.shim {
            return Ok(self.backend.conditional_update(item).await?);
        }
        let condition = Condition::Revision(item.revision.clone());
        self.write(item, condition, ErrorKind::IncorrectRevision).await
    }

    pub(super) async fn compare_and_swap(&self, expected: &Item, new: &Item) -> Result<Lease, Failure> {
        if !self.shim {
            return Ok(self.backend.compare_and_swap(expected, new).await?);
        }
        let mismatch = |text: String| Failure {
            kind: Some(ErrorKind::CompareFailed),
            text,
        };
        for _ in 0..SWAPS {
            let found = match self.backend.get(&new.key).await {
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(mismatch(error.to_string())),
                found => found?,
            };
            if found.value != expected.value {
                return Err(mismatch("another value".to_owned()));
            }
            let condition = Condition::Revision(found.revision);
            match self.write(new, condition, ErrorKind::ConditionFailed).await {
                Err(failure) if failure.kind == Some(ErrorKind::ConditionFailed) => {}
                written => return written,
            }
        }
        Err(Failure {
            kind: None,
            text: format!("another write came between {SWAPS} times"),
        })
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), Failure> {
        let key = self.key(name);
        if !self.shim {
            return Ok(self.backend.delete(&key).await?);
        }
        let delete = ConditionalAction::delete(key, Condition::Exists);
        self.transact(delete, ErrorKind::NotFound).await.map(|_| ())
    }

    pub(super) async fn conditional_delete(&self, name: &str, revision: &Revision) -> Result<(), Failure> {
        let key = self.key(name);
        if !self.shim {
            return Ok(self.backend.conditional_delete(&key, revision).await?);
        }
        let delete = ConditionalAction::delete(key, Condition::Revision(revision.clone()));
        self.transact(delete, ErrorKind::IncorrectRevision)
            .await
            .map(|_| ())
    }

    async fn write(&self, item: &Item, condition: Condition, refusal: ErrorKind) -> Result<Lease, Failure> {
        let put = ConditionalAction::put(item.clone(), condition);
        let revision = self.transact(put, refusal).await?;
        Ok(Lease {
            key: item.key.clone(),
            revision: revision.unwrap_or_default(),
        })
    }

    /// An action, and a check of the key that all of them share.
    async fn transact(
        &self,
        action: ConditionalAction,
        refusal: ErrorKind,
    ) -> Result<Option<Revision>, Failure> {
        let sentinel = ConditionalAction::check("/conformance/sentinel", Condition::NotExists);
        let written = self.backend.atomic_write(&[action, sentinel]).await;
        written.map_err(|error| {
            let text = format!("{error:?}");
            let kind = match error.kind() {
                ErrorKind::ConditionFailed => refusal,
                kind => kind,
            };
            Failure {
                kind: Some(kind),
                text,
            }
        })
    }
}
