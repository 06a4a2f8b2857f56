//! `tidewatch table index`.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tidewatch::table::{Added, Kind, MAX_WRITES, Measure, Measured, PRICES_SOURCE, Step};

use super::options::WaitOption;
use super::{Subject, name, tables};
use crate::cli::{Consent, ERROR, Exit, FAINT, Failure, Global, HEAD, Output, WARN, paint};

/// Arguments of `tidewatch table index`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch table index --table teleport
  tidewatch table index --table teleport --units 20000 --units-per-second 100 --json
  tidewatch table index --table teleport --add

For a state table that another program writes. The task `expire` needs no index there: it finds what has expired by the
list that the watch log keeps, or without that log by reading the table. An index repeats each of its owner's renewals,
and one that is too busy makes DynamoDB refuse them. This looks twice at the same items to see how many are renewed, and
prints what an index would add. It reads keys, expiries and revisions, eventually consistent, and says before it begins
how much that is.

With --add it then asks, adds the index, and waits until it is filled. Where the figures say that it will throttle the
owner's writes, or are those of a part of the table, --insist is due too. `expire` uses it once the document says
maintain.expire.index: true, and if no watch log of the table is kept.")]
pub(super) struct IndexArgs {
    /// Read this many units at most, both looks together
    #[arg(long, value_name = "UNITS", value_parser = clap::value_parser!(u32).range(2..))]
    units: Option<u32>,
    /// Read this many units a second [default: a tenth of the table's capacity; 50 on demand]
    #[arg(long, value_name = "UNITS", value_parser = clap::value_parser!(u32).range(1..))]
    units_per_second: Option<u32>,
    /// Between the looks; of two renewals within it only one is seen [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    apart: Option<Duration>,
    /// Add the index, after asking
    #[arg(long)]
    add: bool,
    /// Add it even if that will throttle the owner's writes, or if only a part of the table was looked at
    #[arg(long, requires = "add")]
    insist: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    wait: WaitOption,
}

pub(super) async fn run(global: &Global, args: IndexArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let name = name(global)?;
    let tables = tables(global, args.wait.limit()).await?;
    let subject = Subject::read(&tables, name, None).await?;
    let live = &subject.live;
    if subject.kind != Kind::State {
        return Err(Failure::usage(format!(
            "table {name} is of kind {}: such a table has the index that it needs from its creation; see `tidewatch table verify`",
            subject.kind
        )));
    }
    let index = Added::index();
    if live.indexes.iter().any(|found| found.name == index.name) {
        return Err(Failure::usage(format!(
            "table {name} has an index {} already",
            index.name
        )));
    }
    let mut measure = Measure::gentle(live);
    measure.units = args.units.unwrap_or(measure.units);
    measure.units_per_second = args.units_per_second.unwrap_or(measure.units_per_second);
    measure.apart = args.apart.unwrap_or(measure.apart);
    output.say(format!(
        "measuring the renewals of table {name}: up to {} read units, {} a second, {} on demand, about {} at most\n",
        measure.units,
        measure.units_per_second,
        measure.cost(),
        humantime::format_duration(measure.longest())
    ));
    let spinner = output.spinner();
    spinner.set_message(format!("{name}: looking twice"));
    let measured = Box::pin(tables.measure(live, measure)).await;
    spinner.finish_and_clear();
    let measured = measured?;
    let added = Added::new(live, &measured);
    let (text, mut report) = (
        text(&subject, &measured, &added),
        report(&subject, &measured, &added),
    );
    if !args.add {
        output.result(&report, &format!("{text}{UNADDED}\n"))?;
        return Ok(Exit::Done);
    }
    if added.is_dangerous() && !args.insist {
        output.result(&report, &text)?;
        let why = match added.reckoned {
            true => "only a part of the table was looked at: look further with more --units",
            false => "by these figures it will throttle the owner's writes, so that leases are not renewed",
        };
        return Err(Failure {
            exit: Exit::Declined,
            message: format!(
                "no index was added: {why}; or keep a watch log, which needs none; or say --insist"
            ),
        });
    }
    let question = format!("Add the index to {name}?");
    args.consent.ask(output, &text, &question)?;
    let spinner = output.spinner();
    let progress = |step: &Step| spinner.set_message(format!("{name}: {step}"));
    let done = Box::pin(tables.add_index(live, &added, &progress)).await;
    spinner.finish_and_clear();
    done?;
    if let Some(report) = report.as_object_mut() {
        report.insert("added".to_owned(), json!(true));
    }
    output.result(&report, &done_text(name))?;
    Ok(Exit::Done)
}

const UNADDED: &str =
    "no index was added: `expire` finds what is due by the list that the watch log keeps; --add adds it";

fn done_text(table: &str) -> String {
    let name = Added::index().name;
    format!(
        "added index {name} to {table}; `expire` goes by it with maintain.expire.index: true, and `verify` sees to it then\n\
         if the owner's writes are throttled, delete it at once:\n  aws dynamodb update-table --table-name {table} \
         --global-secondary-index-updates '[{{\"Delete\":{{\"IndexName\":\"{name}\"}}}}]'\n"
    )
}

fn text(subject: &Subject, measured: &Measured, added: &Added) -> String {
    let index = Added::index();
    let mut lines = vec![format!(
        "looked at {} items, {} of them with an expiry, twice, {:.0} s apart, for {:.1} read units",
        measured.looked_at, measured.expiring, measured.apart, measured.units
    )];
    lines.push(format!(
        "{} renewed, {} rewritten, {} new, {} gone",
        measured.renewed, measured.rewritten, measured.added, measured.removed
    ));
    if added.reckoned {
        lines.push(format!(
            "{}  that is a part, in the order of keys; the figures below reckon with a whole like it: more --units look further",
            paint(WARN, "warning")
        ));
    }
    let mut text = subject.title() + &shown(&lines);
    text.push_str(&paint(
        HEAD,
        format!(
            "an index {} on {} and {} would add:",
            index.name, index.hash.name, index.range.name
        ),
    ));
    text.push('\n');
    let mut lines = vec![
        format!(
            "{:.1} writes a second: {:.1} leases are renewed a second, each of which moves its entry, two writes beside its owner's one",
            added.writes_per_second, added.renewals_per_second
        ),
        format!(
            "{} entries, filled once for {}, then {} a month without storage",
            added.entries, added.filling, added.per_month
        ),
    ];
    if let Some(units) = added.provisioned {
        lines.push(format!(
            "{units} write units of the index's own, which nothing scales; when they are used up the owner's writes are throttled"
        ));
    }
    lines.push(paint(FAINT, format!("list prices of us-east-1; {PRICES_SOURCE}")));
    text.push_str(&shown(&lines));
    text.push_str(&format!("{}\n{}", paint(HEAD, "the risk:"), shown(&risks(added))));
    text
}

fn risks(added: &Added) -> Vec<String> {
    let share = format!("{:.1} %", 100.0 * added.of_a_partition);
    let share = match added.writes_per_second > MAX_WRITES / 2.0 {
        true => paint(ERROR, share),
        false => share,
    };
    let burst = format!("{:.0} a second", added.burst_per_second);
    let burst = match added.burst_throttles {
        true => format!("{}: the owner's writes will be throttled", paint(ERROR, burst)),
        false => burst,
    };
    vec![
        format!(
            "all entries are under one partition key, which takes {MAX_WRITES:.0} writes a second; these are {share} of it"
        ),
        format!("all leases renewed within a minute, as after an outage, are {burst}"),
        "what the index cannot take DynamoDB refuses to the table: leases are not renewed, and nodes and sessions drop out".to_owned(),
        "once it is there, a write whose Expires is no number is refused".to_owned(),
    ]
}

fn shown(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

fn report(subject: &Subject, measured: &Measured, added: &Added) -> serde_json::Value {
    let index = Added::index();
    json!({
        "table": subject.live.name,
        "index": {"name": index.name, "keys": [index.hash.name, index.range.name]},
        "measured": measured,
        "would_add": added,
        "added": false,
    })
}
