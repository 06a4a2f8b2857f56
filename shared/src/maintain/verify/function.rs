//! A function and the mappings that feed it, from the reading to the judgement.

use aws_sdk_lambda::Client;

use super::judge::{RETRIES, TIME_OUT, judge, judge_queue, seconds, service};
use super::report::{Found, NotChecked};
use super::{Because, Function, Mapping, Reads, Source, lambda};
use crate::table::{Difference, Error, Severity, Tables};

/// A function as Lambda tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// The longest that an invocation may take, in seconds.
    pub(super) time_out: i32,
    /// `Active`, or else a state in which it may not be invoked.
    pub(super) state: String,
}

/// The stream that a table has today.
enum Stream {
    /// It is the one with this ARN, or off.
    Known(Option<String>),
    /// It could not be asked for.
    Unknown,
}

pub(super) async fn check(client: &Client, tables: &Tables, function: &Function, resource: &str) -> Found {
    let mut found = Found::default();
    let facts = match lambda::facts(client, &function.name, resource).await {
        Ok(Some(facts)) => Ok(facts),
        Ok(None) => {
            found = Found::looked();
            found.add(resource, [missing()]);
            return found;
        }
        Err(not_checked) => Err(not_checked),
    };
    let facts = found.take(facts);
    found.add(resource, facts.iter().flat_map(judge_function));
    let Some(all) = found.take(lambda::mappings_of(client, &function.name, resource).await) else {
        return found;
    };
    // With a time-out that is not known, the one that is due.
    let time_out = facts.map_or(TIME_OUT, |facts| facts.time_out);
    let stream = match &function.source {
        Source::Stream(arn) => Stream::Known(Some(arn.clone())),
        Source::Table(table) => match tables.stream_arn(table).await {
            Ok(arn) => Stream::Known(arn),
            // The table's own check says so, if it is one of those.
            Err(Error::NotFound { .. }) => Stream::Known(None),
            Err(error) => {
                found.not_checked.push(NotChecked::table(resource, &error));
                Stream::Unknown
            }
        },
    };
    let feeds = |mapping: &&Mapping| match &function.source {
        Source::Table(table) => mapping.is_of_table(table),
        Source::Stream(arn) => mapping.source == *arn,
    };
    let feeding: Vec<&Mapping> = all.iter().filter(feeds).collect();
    let (current, old) = of_today(&feeding, &stream);
    found.add(resource, feeding_at_all(function, &feeding, &current));
    for mapping in &old {
        // Where none is current that is said of the function, and worse.
        let note = || {
            Difference::new(
                Severity::Note,
                "old-mapping",
                "it reads a stream that is not the table's any more",
            )
            .so("nothing new comes from it")
            .remedy("delete it 24 hours after the stream was replaced, when it has read the rest")
        };
        found.add(&name(mapping), (!current.is_empty()).then(note));
    }
    for mapping in current {
        found.add(&name(mapping), judge(mapping, function.reads, time_out));
        if mapping.filters.is_none() {
            let text = "its filter is encrypted".to_owned();
            let unread = NotChecked::new(&name(mapping), "kms:Decrypt", Because::Denied, text);
            found.not_checked.push(unread);
        }
        if function.reads == Reads::Watch {
            queue(mapping, &all, resource, &mut found);
        }
    }
    found
}

fn name(mapping: &Mapping) -> String {
    format!("mapping {}", mapping.id)
}

fn of_today<'a>(feeding: &[&'a Mapping], stream: &Stream) -> (Vec<&'a Mapping>, Vec<&'a Mapping>) {
    let is_current = |mapping: &&Mapping| match stream {
        Stream::Known(arn) => arn.as_deref() == Some(mapping.source.as_str()),
        Stream::Unknown => true,
    };
    feeding.iter().copied().partition(is_current)
}

fn feeding_at_all(function: &Function, feeding: &[&Mapping], current: &[&Mapping]) -> Option<Difference> {
    let source = match &function.source {
        Source::Table(table) => format!("the stream of table {table}"),
        Source::Stream(arn) => arn.clone(),
    };
    let consequence = match function.reads {
        Reads::Audit { .. } => {
            "no event is forwarded, and what is not read within 24 hours of its writing is lost to the sinks"
        }
        Reads::Watch => {
            "no watcher sees a change, and what is not read within 24 hours is lost: every watcher lists again"
        }
    };
    if feeding.is_empty() {
        let found = format!("no event source mapping from {source} to it");
        return Some(
            Difference::new(Severity::Broken, "no-mapping", found)
                .so(consequence)
                .remedy("deploy the mapping again, from TRIM_HORIZON"),
        );
    }
    if current.is_empty() {
        let found =
            format!("its mapping reads a stream that is not {source} any more: it was replaced, or is off");
        return Some(
            Difference::new(Severity::Broken, "old-stream", found)
                .so(consequence)
                .remedy("add a mapping from the table's stream of today, from TRIM_HORIZON; what was written while the stream was off is in none: bring it back from the table"),
        );
    }
    let on = current.iter().filter(|mapping| mapping.is_on()).count();
    let twice = || {
        Difference::new(
            Severity::Degraded,
            "two-mappings",
            format!("{on} mappings read {source} for it"),
        )
        .so("every record is delivered as often, out of order, and nobody else can read the stream: it has two readers at most")
        .remedy("disable all but one")
    };
    (on > 1).then(twice)
}

/// Whether what Lambda gives up is read by the function that makes gaps of it.
fn queue(mapping: &Mapping, all: &[Mapping], resource: &str, found: &mut Found) {
    let Some(queue) = mapping
        .failure_destination
        .as_deref()
        .filter(|arn| service(arn) == "sqs")
    else {
        return;
    };
    match all.iter().find(|other| other.source == queue) {
        Some(reader) => found.add(&name(reader), judge_queue(reader)),
        None => {
            let text = format!("no event source mapping from {queue} to it");
            let difference = Difference::new(Severity::Degraded, "failure-queue", text)
                .so("no gap tells of changes that Lambda gives up: watchers keep what is not so any more")
                .remedy("deploy the mapping from the failure queue again; until then use `tidewatch watch-log break`");
            found.add(resource, [difference]);
        }
    }
}

fn missing() -> Difference {
    Difference::new(Severity::Broken, "function", "there is no such function")
        .so("nothing is forwarded and no watcher sees a change; what is not read within 24 hours is lost to them")
        .remedy("check its name, the account and the region; deploy it again")
}

pub(super) fn judge_function(facts: &Facts) -> Vec<Difference> {
    let state = || {
        Difference::new(
            Severity::Broken,
            "function-state",
            format!("the function is {}", facts.state),
        )
        .so("it cannot be invoked: records wait, and what has waited for 23 hours is given up")
        .remedy("see the reason on its page in the Lambda console; deploy it again")
    };
    let time_out = format!(
        "an invocation may take {} s; must be {TIME_OUT} s",
        facts.time_out
    );
    let time_out = match facts.time_out {
        TIME_OUT => None,
        short if short < TIME_OUT => Some(
            Difference::new(Severity::Degraded, "time-out", time_out).so(format!(
                "a sink that is down is waited for within an invocation: in an outage of about {} all tries are used up, and \
                 Lambda gives up what waits",
                seconds(short.saturating_mul(RETRIES))
            )),
        ),
        _ => Some(
            Difference::new(Severity::Advice, "time-out", time_out).so(
                "a message of a failure queue may be read again while it is still worked on, and a sink that is down keeps an \
                 invocation, and its bill, for longer",
            ),
        ),
    };
    let time_out = time_out.map(|difference| difference.remedy(format!("set Timeout to {TIME_OUT}")));
    (facts.state == "Failed")
        .then(state)
        .into_iter()
        .chain(time_out)
        .collect()
}
