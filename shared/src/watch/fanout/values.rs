//! Values that the source leaves out, read once for all watchers of the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::state::{Backend, ErrorKind};
use crate::watch::Event;
use crate::watch::error::WatchError;
use crate::watch::event::{Operation, Put, Value};
use crate::watch::position::{Lane, Mark};

/// How many events are remembered with their values.
const CELLS: usize = 1024;

/// How many bytes of values are remembered.
const BYTES: usize = 16 * 1024 * 1024;

/// What is done about values that the source leaves out ([`Value::Omitted`]).
#[derive(Debug, Clone, Default)]
pub enum Values {
    /// Events are delivered as the source has them.
    #[default]
    AsTheyCome,
    /// The key of a put is read, consistently: one request an event, shared by all watchers of the process. If the write
    /// is the stored one still, the event comes with its value; otherwise it comes as it is, and a later event of the key
    /// follows (or it has expired). If reading fails until the backend's deadline, the watch ends with
    /// [`WatchError::State`]; it can be started again at its position.
    Fetch(Backend),
}

/// An event with the value that was read, once it was; none inside if another write is stored.
type Cell = Arc<OnceCell<Option<Arc<Event>>>>;

/// Where an event stands: source (a log that goes on in other buckets is another one), lane and mark.
type Place = (Arc<str>, Lane, Mark);

/// The last events whose values were read, by their place.
#[derive(Debug, Default)]
pub(super) struct Fetched(Mutex<Cells>);

#[derive(Debug, Default)]
struct Cells {
    cells: BTreeMap<Place, Cell>,
    order: VecDeque<Place>,
    bytes: usize,
}

impl Fetched {
    /// The event as this watcher wants it. Cancel-safe.
    pub(super) async fn of(
        &self,
        values: &Values,
        source: &Arc<str>,
        lane: &Lane,
        mark: &Mark,
        event: &Arc<Event>,
    ) -> Result<Arc<Event>, WatchError> {
        let (Values::Fetch(backend), Operation::Put(put)) = (values, &event.operation) else {
            return Ok(Arc::clone(event));
        };
        if put.value != Value::Omitted {
            return Ok(Arc::clone(event));
        }
        let place = (Arc::clone(source), Arc::clone(lane), mark.clone());
        let cell = self.with(|cells| cells.cell(&place));
        let mut read = 0;
        let found = cell
            .get_or_try_init(|| async {
                let found = fetch(backend, event, put).await?;
                read = found.as_ref().map_or(0, |(_, bytes)| *bytes);
                Ok::<_, WatchError>(found.map(|(event, _)| event))
            })
            .await?;
        let found = found.as_ref().unwrap_or(event);
        if read > 0 {
            self.with(|cells| cells.grow(read));
        }
        Ok(Arc::clone(found))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Cells) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Cells {
    fn cell(&mut self, place: &Place) -> Cell {
        if let Some(cell) = self.cells.get(place) {
            return Arc::clone(cell);
        }
        let cell = Cell::default();
        self.cells.insert(place.clone(), Arc::clone(&cell));
        self.order.push_back(place.clone());
        self.shrink();
        cell
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.shrink();
    }

    /// The oldest go first; whoever waits for one keeps it by itself.
    fn shrink(&mut self) {
        while self.order.len() > CELLS || (self.bytes > BYTES && self.order.len() > 1) {
            let Some(cell) = self
                .order
                .pop_front()
                .and_then(|oldest| self.cells.remove(&oldest))
            else {
                return;
            };
            let value = cell
                .get()
                .and_then(Option::as_ref)
                .map_or(0, |event| length(event));
            self.bytes = self.bytes.saturating_sub(value);
        }
    }
}

fn length(event: &Event) -> usize {
    match &event.operation {
        Operation::Put(put) => put.value.bytes().map_or(0, <[u8]>::len),
        _ => 0,
    }
}

async fn fetch(
    backend: &Backend,
    event: &Event,
    put: &Put,
) -> Result<Option<(Arc<Event>, usize)>, WatchError> {
    let item = match backend.get(&event.key).await {
        Ok(item) => item,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The value of a revision is always the same: a keep-alive changes neither.
    if item.revision != put.revision {
        return Ok(None);
    }
    let bytes = item.value.len();
    let event = Event {
        key: event.key.clone(),
        operation: Operation::Put(Put {
            value: Value::Inline(item.value),
            ..put.clone()
        }),
        created: event.created,
    };
    Ok(Some((Arc::new(event), bytes)))
}
