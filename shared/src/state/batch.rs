//! Many independent writes: no order between them, no condition, an outcome for each key.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    DeleteRequest, KeysAndAttributes, PutRequest, ReturnConsumedCapacity, WriteRequest,
};
use futures_util::TryStreamExt;

use super::attempts::Attempts;
use super::backend::Backend;
use super::fault::{Attributes, Fault};
use super::put::too_large;
use super::record::{number, revision_of, size};
use super::{Error, ErrorKind, Item, Key, Range, Revision};

/// The most writes of one BatchWriteItem.
const BATCH: usize = 25;

/// What became of each key of a batch, in the order of the call; of a key given twice the last counts, and has the
/// outcome of both.
#[derive(Debug)]
pub struct BatchOutcome<T> {
    /// One result a key. An error of kind [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) may have been, or may yet be,
    /// applied; of any other kind it was not.
    pub results: Vec<(Key, Result<T, Error>)>,
}

impl<T> BatchOutcome<T> {
    /// All successes, or the first error.
    ///
    /// # Errors
    /// The first error, if there is one.
    pub fn all(self) -> Result<Vec<T>, Error> {
        self.results.into_iter().map(|(_, result)| result).collect()
    }
}

impl Backend {
    /// Stores items, whatever is there, each with a revision of its own.
    ///
    /// One request for 25 items, priced as one [`put`](Self::put) each; what DynamoDB leaves unprocessed is sent again
    /// until the deadline, and only that. After an unknown outcome a consistent read (one request for 25 keys) tells
    /// what was stored.
    pub async fn put_batch(&self, items: &[Item]) -> BatchOutcome<Revision> {
        let mut writes = Writes::default();
        let attempts = Attempts::new(self, "put_batch", None);
        for item in items {
            let revision = Revision::draw(self.random());
            let now = attempts.now();
            let write = match self.layout().marshal(item, &revision) {
                Ok(mut stored) => match too_large(size(&stored)) {
                    Some(too_large) => Err(attempts.error(ErrorKind::TooLarge, too_large)),
                    None => PutRequest::builder()
                        .set_item({
                            stored.insert("Timestamp".to_owned(), number(now));
                            Some(stored)
                        })
                        .build()
                        .map(|put| WriteRequest::builder().put_request(put).build())
                        .map_err(|error| attempts.error(ErrorKind::BadParameter, error.to_string())),
                },
                Err(wrong) => Err(attempts.error(ErrorKind::BadParameter, wrong)),
            };
            writes.add(&item.key, write, Some(revision));
        }
        let outcome = self.batch(attempts, writes).await;
        BatchOutcome {
            results: items
                .iter()
                .map(|item| {
                    (
                        item.key.clone(),
                        outcome.of(&item.key).map(Option::unwrap_or_default),
                    )
                })
                .collect(),
        }
    }

    /// Deletes keys, whether there is an item or not.
    ///
    /// One request for 25 keys, priced as one [`delete`](Self::delete) each; what DynamoDB leaves unprocessed is sent
    /// again until the deadline, and only that.
    pub async fn delete_batch(&self, keys: &[Key]) -> BatchOutcome<()> {
        let mut writes = Writes::default();
        let attempts = Attempts::new(self, "delete_batch", None);
        for key in keys {
            let write = self
                .layout()
                .primary(key)
                .and_then(deletion)
                .map_err(|wrong| attempts.error(ErrorKind::BadParameter, wrong));
            writes.add(key, write, None);
        }
        let outcome = self.batch(attempts, writes).await;
        BatchOutcome {
            results: keys
                .iter()
                .map(|key| (key.clone(), outcome.of(key).map(|_| ())))
                .collect(),
        }
    }

    /// Deletes a range, expired items too, and answers how many items that were: what was there at the call and was not
    /// written since is gone. What is written meanwhile may or may not be deleted. There is no cap on items.
    ///
    /// Requests: a query a page and partition (every byte of it is read) and a BatchWriteItem for 25 items, each priced
    /// as one [`delete`](Self::delete).
    ///
    /// # Errors
    /// [`Unfinished`](ErrorKind::Unfinished) with the number deleted if the deadline passes half-way: call again to go
    /// on; [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) if that is so of the first of them. [`BadParameter`](ErrorKind::BadParameter) for a range without start or end.
    pub async fn delete_range(&self, range: &Range) -> Result<u64, Error> {
        let mut attempts = Attempts::new(self, "delete_range", None);
        let backend = self.with_deadline(attempts.deadline());
        let mut pages = std::pin::pin!(backend.primaries("delete_range", range));
        let mut deleted = 0;
        let unfinished = |deleted: u64, error: Error| match deleted {
            0 => error,
            _ => Error::new(
                ErrorKind::Unfinished,
                "delete_range",
                self.table(),
                None,
                format!("at least {deleted} items were deleted; call again to go on. Then: {error}"),
            ),
        };
        let mut found: Vec<Attributes> = Vec::new();
        loop {
            // Batches are full whatever the pages and partitions are.
            while found.len() < BATCH {
                let page = pages.try_next().await;
                match page.map_err(|error| unfinished(deleted, error))? {
                    Some(page) => found.extend(page),
                    None => break,
                }
            }
            if found.is_empty() {
                return Ok(deleted);
            }
            let mut batch = Vec::with_capacity(BATCH);
            for primary in found.drain(..found.len().min(BATCH)) {
                let write = deletion(primary);
                batch.push(write.map_err(|wrong| attempts.error(ErrorKind::BadParameter, wrong))?);
            }
            // A deletion may be repeated here: the promise is about what was there at the call.
            let mut lost: Option<Fault> = None;
            while !batch.is_empty() {
                let before = batch.len();
                let fault = match self.send_batch(&mut attempts, batch.clone()).await {
                    Ok(left) => {
                        batch = left;
                        unprocessed()
                    }
                    Err(Fault::Unknown(said)) => {
                        lost = Some(Fault::Unknown(said.clone()));
                        Fault::NotSent(said)
                    }
                    Err(fault) => fault,
                };
                if batch.len() < before {
                    deleted += u64::try_from(before - batch.len()).unwrap_or_default();
                    attempts.progressed();
                }
                if !batch.is_empty()
                    && let Err(error) = attempts.again_known(&fault).await
                {
                    // What was lost on the way may have been deleted, or be deleted yet.
                    let error = lost.map_or(error, |lost| attempts.gave_up(&lost));
                    return Err(unfinished(deleted, error));
                }
            }
        }
    }

    /// Sends everything, a batch after the other.
    async fn batch(&self, mut attempts: Attempts<'_>, mut writes: Writes) -> Writes {
        let order = std::mem::take(&mut writes.order);
        for keys in order.chunks(BATCH) {
            let mut left: Vec<Key> = keys.to_vec();
            while !left.is_empty() {
                let requests = left.iter().filter_map(|key| writes.request(key)).collect();
                let fault = match self.send_batch(&mut attempts, requests).await {
                    Ok(requests) => {
                        let still: Vec<Key> = requests
                            .iter()
                            .filter_map(|request| self.key_of_request(request))
                            .collect();
                        for key in left.iter().filter(|key| !still.contains(key)) {
                            writes.done(key);
                            attempts.progressed();
                        }
                        left = still;
                        unprocessed()
                    }
                    Err(Fault::Unknown(said)) => {
                        let fault = Fault::Unknown(said);
                        self.settle_batch(&mut attempts, &mut writes, &left, &fault).await;
                        break;
                    }
                    Err(fault) => fault,
                };
                if left.is_empty() {
                    break;
                }
                if let Err(error) = attempts.again_known(&fault).await {
                    left.iter().for_each(|key| writes.failed(key, &error));
                    break;
                }
            }
        }
        writes
    }

    /// What a batch of unknown outcome stored: our revision is success, everything else is unknown.
    async fn settle_batch(
        &self,
        attempts: &mut Attempts<'_>,
        writes: &mut Writes,
        keys: &[Key],
        fault: &Fault,
    ) {
        let puts: Vec<&Key> = keys.iter().filter(|key| writes.revision(key).is_some()).collect();
        let stored = if puts.is_empty() {
            HashMap::new()
        } else {
            self.revisions(attempts, &puts).await
        };
        for key in keys {
            let ours = writes.revision(key);
            if ours.is_some() && stored.get(key) == ours.as_ref() {
                writes.done(key);
            } else {
                writes.failed(key, &attempts.gave_up(fault));
            }
        }
    }

    /// The stored revisions of some keys, as far as they can be had.
    async fn revisions(&self, attempts: &mut Attempts<'_>, keys: &[&Key]) -> HashMap<Key, Revision> {
        let layout = self.layout();
        let mut found = HashMap::new();
        let mut left: Vec<Attributes> = keys.iter().filter_map(|key| layout.primary(key).ok()).collect();
        while !left.is_empty() {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(left.clone()))
                .consistent_read(true)
                .projection_expression("#k, Revision")
                .expression_attribute_names("#k", layout.sort_name());
            let Ok(wanted) = wanted.build() else { break };
            let request = self
                .client()
                .batch_get_item()
                .request_items(self.table(), wanted)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = attempts
                .send(async move { request.send().await.map_err(Fault::of) })
                .await;
            let fault = match answer {
                Ok(answer) => {
                    self.charge("get_batch", answer.consumed_capacity());
                    let items = answer.responses.and_then(|mut all| all.remove(self.table()));
                    for stored in items.unwrap_or_default() {
                        if let Some(key) = layout.key_of(&stored) {
                            found.insert(key, revision_of(&stored));
                        }
                    }
                    let unread = answer
                        .unprocessed_keys
                        .and_then(|mut all| all.remove(self.table()));
                    left = unread.map(|unread| unread.keys).unwrap_or_default();
                    unprocessed()
                }
                Err(fault) => fault,
            };
            if !left.is_empty() && attempts.again_read(&fault).await.is_err() {
                break;
            }
        }
        found
    }

    /// One BatchWriteItem; answers what was left unprocessed.
    async fn send_batch(
        &self,
        attempts: &mut Attempts<'_>,
        batch: Vec<WriteRequest>,
    ) -> Result<Vec<WriteRequest>, Fault> {
        let request = self
            .client()
            .batch_write_item()
            .request_items(self.table(), batch)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = attempts
            .send(async move { request.send().await.map_err(Fault::of) })
            .await?;
        self.charge(attempts.operation(), answer.consumed_capacity());
        let left = answer
            .unprocessed_items
            .and_then(|mut all| all.remove(self.table()));
        Ok(left.unwrap_or_default())
    }

    fn key_of_request(&self, request: &WriteRequest) -> Option<Key> {
        let put = request.put_request().map(PutRequest::item);
        self.layout()
            .key_of(put.or_else(|| request.delete_request().map(DeleteRequest::key))?)
    }
}

/// What DynamoDB says by leaving writes unprocessed.
fn unprocessed() -> Fault {
    Fault::Throttled("DynamoDB left a part of the batch unprocessed".to_owned())
}

fn deletion(primary: Attributes) -> Result<WriteRequest, String> {
    let delete = DeleteRequest::builder().set_key(Some(primary)).build();
    let delete = delete.map_err(|error| error.to_string())?;
    Ok(WriteRequest::builder().delete_request(delete).build())
}

/// The writes of a batch, one a key, and what became of them.
#[derive(Default)]
struct Writes {
    order: Vec<Key>,
    all: HashMap<Key, Write>,
}

struct Write {
    request: Option<WriteRequest>,
    revision: Option<Revision>,
    result: Result<(), Error>,
}

impl Writes {
    /// Of a key given twice the last write counts.
    fn add(&mut self, key: &Key, write: Result<WriteRequest, Error>, revision: Option<Revision>) {
        let write = match write {
            Ok(request) => {
                // Not by a look through the order: batches may have many thousands of keys.
                if self.all.get(key).is_none_or(|write| write.request.is_none()) {
                    self.order.push(key.clone());
                }
                Write {
                    request: Some(request),
                    revision,
                    result: Ok(()),
                }
            }
            Err(error) => {
                self.order.retain(|other| other != key);
                Write {
                    request: None,
                    revision: None,
                    result: Err(error),
                }
            }
        };
        self.all.insert(key.clone(), write);
    }

    fn request(&self, key: &Key) -> Option<WriteRequest> {
        self.all.get(key)?.request.clone()
    }

    fn revision(&self, key: &Key) -> Option<Revision> {
        self.all.get(key)?.revision.clone()
    }

    fn done(&mut self, key: &Key) {
        if let Some(write) = self.all.get_mut(key) {
            write.result = Ok(());
        }
    }

    fn failed(&mut self, key: &Key, error: &Error) {
        if let Some(write) = self.all.get_mut(key) {
            write.result = Err(error.about(key));
        }
    }

    fn of(&self, key: &Key) -> Result<Option<Revision>, Error> {
        match self.all.get(key) {
            Some(write) => write.result.clone().map(|()| write.revision.clone()),
            None => Ok(None),
        }
    }
}
