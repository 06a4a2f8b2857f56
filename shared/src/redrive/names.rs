//! What the tasks over objects share.

use std::vec::IntoIter;

use crate::clock::Clock;
use crate::forward::HandError;
use crate::objects::{Listed, Objects, ObjectsError, PAGE};

/// Most of a sort that a report names.
pub const MOST_NAMED: usize = 100;

/// Names one more, if a report still names them.
pub(super) fn name<T>(named: &mut Vec<T>, one: impl FnOnce() -> T) {
    if named.len() < MOST_NAMED {
        named.push(one());
    }
}

/// For how long an object has been there, in seconds, where the place tells.
pub(super) fn age(clock: &Clock, listed: &Listed) -> Option<u64> {
    let at = listed.modified?;
    Some(clock.now().duration_since(at).unwrap_or_default().as_secs())
}

/// Why a run ended before all was tried.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    #[error(transparent)]
    Hand(#[from] HandError),
}

/// The objects of a place whose names begin so, in the order of their names. A LIST for each thousand.
#[derive(Debug)]
pub(super) struct Names<'a> {
    objects: &'a Objects,
    prefix: String,
    page: IntoIter<Listed>,
    after: Option<String>,
    more: bool,
}

impl<'a> Names<'a> {
    pub(super) fn new(objects: &'a Objects, prefix: impl Into<String>) -> Self {
        Self {
            objects,
            prefix: prefix.into(),
            page: Vec::new().into_iter(),
            after: None,
            more: true,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Listed>, ObjectsError> {
        loop {
            if let Some(listed) = self.page.next() {
                self.after = Some(listed.name.clone());
                return Ok(Some(listed));
            }
            if !self.more {
                return Ok(None);
            }
            let page = self
                .objects
                .list(&self.prefix, self.after.as_deref(), PAGE)
                .await?;
            self.more = page.more && !page.objects.is_empty();
            self.page = page.objects.into_iter();
        }
    }
}
