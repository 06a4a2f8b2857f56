//! What becomes of each record: delivered, skipped or quarantined.
//!
//! | record | disposition |
//! |---|---|
//! | INSERT of an event | delivered |
//! | MODIFY | by [`judge`]: delivered if the event itself changed |
//! | REMOVE, unknown `eventName` | skipped |
//! | row that is no event (`CHUNK#…`, or neither type nor payload) | skipped |
//! | anything that cannot be read, has no keys, no payload or no `SequenceNumber` | quarantined |

use std::borrow::Cow;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use super::handed::Handed;
use super::record::{self, Batch, Record};
use crate::audit::canonical::Canonical;
use crate::audit::row::Row;
use crate::audit::{self, Event};
use crate::config::{Chain, ModifyUnproven};

/// A record with its disposition.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) sequence_number: Option<Cow<'a, str>>,
    pub(crate) event_id: Option<Cow<'a, str>>,
    pub(crate) created: Option<SystemTime>,
    pub(crate) disposition: Disposition<'a>,
}

#[derive(Debug)]
pub(crate) enum Disposition<'a> {
    /// To be delivered; the range is the payload's.
    Deliver(Event<'a>, Range<usize>),
    Skip(Skip),
    Quarantine(Poison<'a>),
}

/// Why a record is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// Neither INSERT nor MODIFY.
    NotAWrite,
    /// The row is no audit event.
    NotAnEvent,
    /// A MODIFY that leaves the event as it was.
    Unchanged,
    /// A MODIFY without an old image, of an event that is not from about then.
    ModifyUnproven,
}

/// A record that can never be delivered.
#[derive(Debug)]
pub(crate) struct Poison<'a> {
    pub(crate) kind: PoisonKind,
    /// Kind and place of the fault; never contents.
    pub(crate) reason: String,
    pub(crate) raw: &'a str,
}

/// What makes a record undeliverable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoisonKind {
    Malformed,
    NoSequenceNumber,
    Panic,
}

impl PoisonKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoSequenceNumber => "no_sequence_number",
            Self::Panic => "panic",
        }
    }
}

/// A MODIFY without an old image is taken for a new event if the event is this close to the record.
const PROVEN_WITHIN: Duration = Duration::from_secs(3600);

/// How a batch is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'r> {
    chain: &'r Chain,
    /// When the batch arrived; stands in for an absent creation time.
    arrived: SystemTime,
    was_judged: bool,
}

impl<'r> Rules<'r> {
    pub(crate) fn new(chain: &'r Chain, arrived: SystemTime) -> Self {
        Self {
            chain,
            arrived,
            was_judged: false,
        }
    }

    /// The rules for a batch. What waited for one sink was judged before it was put aside; now that it arrives later,
    /// it must not come out otherwise.
    fn of(self, handed: Option<&Handed<'_>>) -> Self {
        Self {
            was_judged: handed.is_some_and(Handed::was_judged),
            ..self
        }
    }

    /// What becomes of an unproven MODIFY of this time.
    fn modify_unproven(&self, made: SystemTime) -> ModifyUnproven {
        let version = self.chain.versions().get(self.chain.in_force(made));
        match version {
            Some(version) if !self.was_judged => version.config.modify_unproven,
            _ => ModifyUnproven::Forward,
        }
    }
}

/// Reads and judges every record of a payload; `None` if it is no Lambda event of a stream and no envelope.
pub(crate) fn judge_all<'a>(
    payload: &'a str,
    rules: Rules<'_>,
    out: &mut Canonical,
) -> Option<Batch<'a, Judged<'a>>> {
    let fast = catch_unwind(AssertUnwindSafe(|| {
        let (handed, records) = record::read_all(payload, out)?;
        let rules = rules.of(handed.as_ref());
        let judged = records
            .into_iter()
            .map(|record| judge(record, rules, out).ok())
            .collect::<Option<Vec<_>>>()?;
        Some((handed, judged))
    }));
    if let Ok(Some(judged)) = fast {
        return Some(judged);
    }
    out.rewind(0);
    let (handed, raws) = record::split(payload)?;
    let rules = rules.of(handed.as_ref());
    let judged = raws.into_iter().map(|raw| judge_one(raw, rules, out)).collect();
    Some((handed, judged))
}

/// Reads and judges one raw record by itself; whatever is wrong with it ends in quarantine.
fn judge_one<'a>(raw: &'a str, rules: Rules<'_>, out: &mut Canonical) -> Judged<'a> {
    let mark = out.mark();
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let read = match record::read_one(raw, true, out) {
            Some(record) => Ok(record),
            None => {
                let malformed = audit::malformed(out);
                out.rewind(mark);
                // An old image that cannot be read differs from any new one.
                match record::header(raw).event_name.as_deref() {
                    Some("MODIFY") => record::read_one(raw, false, out).ok_or(malformed),
                    Some("INSERT") | None => Err(malformed),
                    Some(_) => Ok(record::header(raw)),
                }
            }
        };
        let fault = match read {
            Ok(record) => match judge(record, rules, out) {
                Ok(judged) => return Ok(judged),
                Err(fault) => fault,
            },
            Err(malformed) => (PoisonKind::Malformed, malformed.to_string()),
        };
        out.rewind(mark);
        Err(fault)
    }));
    let (kind, reason) = match judged {
        Ok(Ok(judged)) => return judged,
        Ok(Err(fault)) => fault,
        Err(_) => {
            out.rewind(mark);
            (PoisonKind::Panic, "reading the record panicked".to_owned())
        }
    };
    let header = record::header(raw);
    Judged {
        sequence_number: header.sequence_number,
        event_id: header.event_id,
        created: None,
        disposition: Disposition::Quarantine(Poison { kind, reason, raw }),
    }
}

/// Judges a record that was read.
///
/// A MODIFY is delivered if there is an old image and its event differs or is absent (a legacy copy with the same
/// uid, time and code counts as equal). Without an old image it is delivered only if `CreatedAt` is within an hour of
/// the record's creation time, so that an operator who repairs `Expires` does not forward a year again, while the
/// overwrites of Teleport before 2024, each a new event, pass.
fn judge<'a>(
    record: Record<'a>,
    rules: Rules<'_>,
    out: &Canonical,
) -> Result<Judged<'a>, (PoisonKind, String)> {
    let disposition = match disposition(&record, rules, out)? {
        Ok((event, range)) => Disposition::Deliver(event, range),
        Err(skip) => Disposition::Skip(skip),
    };
    let Record {
        sequence_number,
        event_id,
        created,
        ..
    } = record;
    if sequence_number.is_none() && matches!(disposition, Disposition::Deliver(..)) {
        let reason = "the record has no SequenceNumber, so it could never be reported".to_owned();
        return Err((PoisonKind::NoSequenceNumber, reason));
    }
    Ok(Judged {
        sequence_number,
        event_id,
        created,
        disposition,
    })
}

type Delivery<'a> = Result<(Event<'a>, Range<usize>), Skip>;

fn disposition<'a>(
    record: &Record<'a>,
    rules: Rules<'_>,
    out: &Canonical,
) -> Result<Delivery<'a>, (PoisonKind, String)> {
    let malformed = |reason: &str| (PoisonKind::Malformed, reason.to_owned());
    let modify = match record.event_name.as_deref() {
        Some("INSERT") => false,
        Some("MODIFY") => true,
        Some(_) => return Ok(Err(Skip::NotAWrite)),
        None => return Err(malformed("the record has no eventName")),
    };
    let row = record.new_image.as_ref().ok_or_else(|| {
        malformed("the record has no NewImage: the stream's view must be NEW_IMAGE or NEW_AND_OLD_IMAGES")
    })?;
    if row.is_no_event() {
        return Ok(Err(Skip::NotAnEvent));
    }
    let payload = row
        .payload
        .as_ref()
        .ok_or_else(|| malformed("the row has an EventType but neither FieldsMap nor Fields"))?;
    if modify && let Some(skip) = unchanged(record, row, rules, out) {
        return Ok(Err(skip));
    }
    let event = audit::identify(row, payload, out, record.created)
        .ok_or_else(|| malformed("the row has no SessionID or no EventIndex"))?;
    Ok(Ok((event, payload.range.clone())))
}

/// Why a MODIFY is no new event, if it is none.
fn unchanged(record: &Record<'_>, row: &Row<'_>, rules: Rules<'_>, out: &Canonical) -> Option<Skip> {
    let payload = row.payload.as_ref()?;
    if record.has_old_image {
        let old = record.old_image.as_ref()?.payload.as_ref()?;
        let equal = out.get(old.range.clone()) == out.get(payload.range.clone())
            || (old.legacy != payload.legacy && audit::same_event(out, old, payload));
        return equal.then_some(Skip::Unchanged);
    }
    let made = record.created.unwrap_or(rules.arrived);
    let proven = row
        .created_at
        .and_then(|at| u64::try_from(at).ok())
        .is_some_and(|at| {
            let event = SystemTime::UNIX_EPOCH + Duration::from_secs(at.min(u64::from(u32::MAX) * 4));
            let apart = made.duration_since(event).or_else(|_| event.duration_since(made));
            apart.is_ok_and(|apart| apart <= PROVEN_WITHIN)
        });
    (!proven && rules.modify_unproven(made) == ModifyUnproven::Skip).then_some(Skip::ModifyUnproven)
}
