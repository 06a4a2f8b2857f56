//! What became of single events that were read before.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::due::{Dues, State};
use super::{GapsError, Look};
use crate::audit::log::Found;
use crate::forward::filter;
use crate::redrive::rows::OVERLAP;

impl Look<'_> {
    /// What became of each of these events of the table, in their order; none where the filter keeps it from the sink. Of a
    /// sink that cannot be read a delivered one is `Missing`.
    ///
    /// Cost: for each of their days a LIST of the sink's objects and a GET of those that were written since two hours
    /// before the oldest of the events; all of a file. Only where that is not all: as [`gaps`](Self::gaps). The table is not
    /// read. Cancel-safe.
    ///
    /// # Errors
    /// [`GapsError`].
    pub async fn states(&self, table: &str, events: &[Found]) -> Result<Vec<Option<State>>, GapsError> {
        let passes = |event: &&Found| {
            let of_type = event.event_type.as_deref();
            filter::passes(&self.sink.filter, of_type, event.json.as_bytes())
        };
        let mut dues = Dues::default();
        for event in events.iter().filter(passes) {
            self.due(event.clone(), &mut dues);
        }
        let oldest = dues.due.values().map(|due| due.gap.time()).min();
        let since = oldest.and_then(|at| at.checked_sub(OVERLAP));
        self.find(&mut dues, table, since, &mut BTreeMap::new()).await?;
        let state = |event: &Found| {
            let due = self.key(&event.id).and_then(|key| dues.due.get(&key));
            due.map_or(State::Missing, |due| due.state)
        };
        Ok(events
            .iter()
            .map(|event| passes(&event).then(|| state(event)))
            .collect())
    }

    /// Looks for events in the sink and on their way to it.
    pub(super) async fn find(
        &self,
        dues: &mut Dues,
        table: &str,
        since: Option<SystemTime>,
        marked: &mut BTreeMap<String, u64>,
    ) -> Result<(), GapsError> {
        self.held(dues, since).await?;
        if dues.missing > 0 {
            let mut owed = self.on_the_way(dues).await?;
            self.held(dues, since).await?;
            owed.retain(|owed| owed.is_of(table));
            owed.sort_by(|a, b| a.name.cmp(&b.name));
            owed.iter().for_each(|owed| dues.owe(owed, marked));
        }
        Ok(())
    }
}
