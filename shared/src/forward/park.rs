//! One sink with a spool and one batch: delivered, or put where nothing overtakes it.

use std::collections::HashSet;
use std::time::Duration;

use super::record;
use super::route::Routed;
use super::serve::{Context, NamedSink, Served, lock};
use super::sink::Outgoing;
use super::spool::{Parked, Spool};
use super::tries::{FIRST_PAUSE, Tries};
use crate::config::SpoolUse;

/// Longest time for asking whether anything waits: it delays every batch.
const ASK_TRY: Duration = Duration::from_secs(3);

impl NamedSink {
    /// Delivers, unless something waits in the spool, within the sink's budget; what is left then, all of it if
    /// something waits, is appended to the spool. Whether something waits is asked anew for each batch. Where that cannot
    /// be told, appending is right whatever the answer would be.
    pub(super) async fn deliver_or_park(
        &self,
        spool: &Spool,
        records: &[Routed<'_>],
        pending: &mut Vec<usize>,
        context: Context<'_>,
        tries: Tries<'_>,
        served: &mut Served,
    ) {
        let mut follow = self.config.spool == SpoolUse::Always;
        let mut pause = FIRST_PAUSE;
        while !pending.is_empty() {
            if !follow {
                match self.waits(spool, tries).await {
                    Ok(waits) => {
                        if !waits {
                            let tries = tries.within(self.config.budget);
                            self.deliver(records, pending, context, tries, served).await;
                        }
                        // Nothing is sent after the first failure.
                        follow = true;
                    }
                    Err(error) => self.failed(error, pending.len(), &mut served.report),
                }
            }
            let error = match self.park(spool, records, pending, context, tries, served).await {
                Ok(()) => break,
                Err(error) => error,
            };
            self.failed(error, pending.len(), &mut served.report);
            if tries.left().is_zero() {
                break;
            }
            tries.pause(&mut pause).await;
        }
    }

    /// Whether anything waits in the spool, asked twice at most: a connection may have died while the environment slept.
    async fn waits(&self, spool: &Spool, tries: Tries<'_>) -> Result<bool, String> {
        let mut told = String::new();
        for _ in 0..2 {
            let asked = tries
                .clock
                .timeout(ASK_TRY.min(tries.left()), spool.holds(&self.name));
            told = match asked.await {
                Ok(Ok(holds)) => return Ok(holds),
                Ok(Err(error)) => format!("the spool failed: {error}"),
                Err(_) => "the spool did not answer in time".to_owned(),
            };
        }
        Err(told)
    }

    /// Appends the pending records to the spool.
    async fn park(
        &self,
        spool: &Spool,
        records: &[Routed<'_>],
        pending: &mut Vec<usize>,
        context: Context<'_>,
        tries: Tries<'_>,
        served: &mut Served,
    ) -> Result<(), String> {
        let left: Vec<Outgoing<'_>> = pending
            .iter()
            .filter_map(|at| records.get(*at).map(|record| record.outgoing))
            .collect();
        let Some(first) = left.first() else { return Ok(()) };
        let raws = record::split(context.payload)
            .map(|(_, raws)| raws)
            .unwrap_or_default();
        let own: Option<Vec<&str>> = left
            .iter()
            .map(|record| raws.get(record.position).copied())
            .collect();
        let own = own.ok_or("a record is not where it was")?;
        let object = Parked::new(first.sequence_number, own.into_iter());
        let put = spool.append(&self.name, &object);
        match tries
            .clock
            .timeout(super::OBJECT_TRY.min(tries.left()), put)
            .await
        {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("the spool failed: {error}")),
            Err(_) => return Err("the spool did not answer in time".to_owned()),
        }
        pending.clear();
        served.report.spooled += left.len();
        let keys: HashSet<u128> = left.iter().map(|record| record.key).collect();
        let mut parked = lock(&self.memory.parked);
        // In their order: what is forgotten first must be what comes first.
        left.iter().for_each(|record| parked.insert(record.key));
        // The repeats of a record within the batch wait with it.
        let waiting = records
            .iter()
            .filter(|record| keys.contains(&record.outgoing.key));
        served
            .parked
            .extend(waiting.map(|record| record.outgoing.position));
        Ok(())
    }
}
