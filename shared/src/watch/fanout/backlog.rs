//! What a watcher took out of a chunk, or out of a batch that it read by itself, and has not delivered yet.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ring::is_new;
use crate::watch::Event;
use crate::watch::event::{Operation, Value};
use crate::watch::filter::Filter;
use crate::watch::position::{Lane, Mark, Position};
use crate::watch::source::{Chunk, Entry};

/// What a watcher may keep of a batch if all the others keep much already, in bytes; one event at least.
const LEAST: usize = 16 * 1024;

/// What an event counts for beside key and value.
const EVENT: usize = 256;

/// What is to be done next, and the place behind it.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) lane: Lane,
    pub(super) mark: Mark,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Event(Arc<Event>),
    Gap(Arc<str>),
    /// Nothing up to here.
    Nothing,
}

/// Steps in order. Those of a batch hold a share of what all watchers of the process may keep together.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    steps: VecDeque<Step>,
    share: Option<OwnedSemaphorePermit>,
    /// Behind the last gap of each lane of the batch that has one.
    gaps: Vec<(Lane, Mark)>,
}

impl Backlog {
    pub(super) fn front(&self) -> Option<&Step> {
        self.steps.front()
    }

    pub(super) fn gaps(&self) -> &[(Lane, Mark)] {
        &self.gaps
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn push(&mut self, step: Step) {
        self.steps.push_back(step);
    }

    /// The front is dealt with.
    pub(super) fn pop(&mut self) {
        self.steps.pop_front();
        if self.steps.is_empty() {
            // What a large batch made of it is given back.
            *self = Self::default();
        }
    }

    /// Takes what is for this watcher out of a batch, as far as it may keep it: the rest is read again.
    pub(super) fn take(
        &mut self,
        batch: &[Arc<Chunk>],
        position: &Position,
        filter: &Filter,
        kept: &Arc<Semaphore>,
    ) {
        let wanted = batch.iter().flat_map(|chunk| &chunk.entries);
        let wanted = wanted.filter_map(|(_, entry)| match entry {
            Entry::Event(event) if filter.takes(event) => Some(size(event)),
            _ => None,
        });
        let wanted = wanted.sum::<usize>().div_ceil(1024).max(1);
        let share = u32::try_from(wanted).ok();
        self.share = share.and_then(|wanted| Arc::clone(kept).try_acquire_many_owned(wanted).ok());
        let mut left = if self.share.is_some() { usize::MAX } else { LEAST };
        let (mut any, mut full) = (false, false);
        for chunk in batch {
            for (mark, entry) in &chunk.entries {
                if !is_new(position, &chunk.lane, mark) {
                    continue;
                }
                let what = match entry {
                    Entry::Gap(why) => {
                        self.gaps.push((Arc::clone(&chunk.lane), mark.clone()));
                        What::Gap(Arc::clone(why))
                    }
                    Entry::Event(event) if filter.takes(event) => {
                        let size = size(event);
                        full |= any && size > left;
                        any = true;
                        left = left.saturating_sub(size);
                        What::Event(Arc::clone(event))
                    }
                    Entry::Event(_) => continue,
                };
                if !full {
                    self.steps.push_back(Step {
                        lane: Arc::clone(&chunk.lane),
                        mark: mark.clone(),
                        what,
                    });
                }
            }
            if !full {
                self.steps.push_back(Step {
                    lane: Arc::clone(&chunk.lane),
                    mark: chunk.end.clone(),
                    what: What::Nothing,
                });
            }
        }
        if self.steps.is_empty() {
            *self = Self::default();
        }
    }
}

fn size(event: &Event) -> usize {
    let value = |value: &Value| value.bytes().map_or(0, <[u8]>::len);
    let values = match &event.operation {
        Operation::Put(put) => value(&put.value),
        Operation::Delete(delete) => delete.previous.as_ref().map_or(0, |put| value(&put.value)),
        Operation::Unknown => 0,
    };
    event.key.as_bytes().len() + values + EVENT
}
