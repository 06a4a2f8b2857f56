//! Sealing: how the number of buckets or the source changes.
//!
//! The change is written into the control item as under way; then every bucket gets a last segment, the seal; then the
//! control item names the next generation. Who appends and meets a seal goes on from there, in the new generation; who
//! reads and meets one lists again. Nobody begins in the new generation before every bucket of the old one is sealed, so
//! nothing is appended to the old one that somebody in the new one has missed.

use futures_util::future::try_join_all;

use super::control::{Control, Next, Transport};
use super::plant::Plant;
use super::requests::Tries;
use super::segment::Segment;
use super::{Log, LogError, LogErrorKind};
use crate::clock::Instant;

impl Log {
    /// Changes the number of buckets or the source. All watchers list again. Safe to repeat; a change that was cut is
    /// finished by whoever appends next.
    ///
    /// # Errors
    /// [`LogErrorKind::BadParameter`] if another change is under way; else what a request may end with.
    pub async fn reconfigure(
        &self,
        buckets: u32,
        transport: Transport,
        stop: Instant,
    ) -> Result<(), LogError> {
        if !(1..=64).contains(&buckets) {
            let what = format!("{buckets} buckets are not possible: 1 to 64 are due");
            return Err(self.error(LogErrorKind::BadParameter, what));
        }
        let mut tries = Tries::new(self, stop);
        let wanted = Next { buckets, transport };
        let control = self
            .change_control(&mut tries, |control| {
                let change =
                    control.next.is_none() && (control.buckets, control.transport) != (buckets, transport);
                if change {
                    control.next = Some(wanted);
                }
                change
            })
            .await?;
        match control.next {
            Some(next) if next != wanted => Err(self.error(
                LogErrorKind::BadParameter,
                "another change is under way; repeat this one after it",
            )),
            _ => self.finish_sealing(&mut tries).await.map(drop),
        }
    }

    /// Finishes a change that is under way, if there is one.
    pub(super) async fn finish_sealing(&self, tries: &mut Tries<'_>) -> Result<Control, LogError> {
        let control = self.control(tries).await?;
        let Some(next) = control.next else {
            return Ok(control);
        };
        let stop = tries.stop();
        let seals = (0..control.buckets).map(|bucket| {
            let bucket = control.bucket(bucket);
            async move {
                self.extend(&bucket, stop, |newest, now| {
                    let summary = newest.map(Segment::summary);
                    let label = newest.map_or("", |newest| newest.stream.as_str());
                    let mut seal = Segment::next(summary.as_ref(), label, Vec::new(), now, None);
                    seal.sealed = true;
                    Some(seal)
                })
                .await
            }
        });
        if !self.has(Plant::NotSealed) {
            try_join_all(seals).await?;
        }
        let generation = control.generation;
        self.change_control(tries, |control| {
            let change = control.generation == generation && control.next == Some(next);
            if change {
                control.past.push((control.generation, control.buckets));
                control.generation += 1;
                control.buckets = next.buckets;
                if control.transport != next.transport {
                    control.transport = next.transport;
                    control.stream = String::new();
                }
                control.next = None;
            }
            change
        })
        .await
    }
}
