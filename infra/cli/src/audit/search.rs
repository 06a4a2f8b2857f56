//! `tidewatch audit search`.

use clap::{Args, ValueEnum};
use serde_json::json;
use tidewatch::audit::log::{Answer, Cursor, Dynamo, LogError, Order, Search};

use super::{FilterOptions, When, show, when};
use crate::cli::{Exit, FAINT, Failure, Global, Output, audit_table, paint};

/// Arguments of `tidewatch audit search`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch audit search --table teleport.audit
  tidewatch audit search --type user.login,user.create --from 7d --config /etc/teleport.yaml
  tidewatch audit search --where 'equals(user,\"alice\")&&!equals(success,true)' --from 2026-11-01 --to 2026-11-20 --table teleport.audit
  tidewatch audit search --session 5b1f3c9e-7a55-4a1c-8a57-0a7b8c9d0e1f --json --table teleport.audit

An answer holds at most 1 MiB of events. If there are more, it ends with a cursor: give it to --cursor, with the other
options as they were. Cursors of Teleport are understood too. A session is read to its end, and put into the order of
times before --limit cuts it. DynamoDB charges for all rows of the time, whether they pass the filters or not.")]
pub(super) struct SearchArgs {
    /// Events from then on: a time, a day (UTC), or an age such as 24h [default: 24h; with --session, all]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    from: Option<When>,
    /// Events up to then [default: now]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    to: Option<When>,
    /// Only this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Which events come first
    #[arg(long, value_enum, default_value_t)]
    order: OrderOption,
    /// At most so many events; 0 for as many as fit into an answer
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    /// Go on where an answer ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<Cursor>,
    #[command(flatten)]
    filter: FilterOptions,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum OrderOption {
    /// The oldest
    Asc,
    /// The newest
    #[default]
    Desc,
}

pub(super) async fn run(global: &Global, args: SearchArgs) -> Result<Exit, Failure> {
    let condition = args.filter.condition()?;
    let table = audit_table(global).await?;
    let output = Output::new(global);
    let now = table.clock().now();
    let day = When::Ago(std::time::Duration::from_secs(86_400));
    let from = match (args.from, &args.session) {
        (Some(from), _) => from.from(now),
        (None, None) => day.from(now),
        (None, Some(_)) => std::time::UNIX_EPOCH,
    };
    let search = Search {
        types: args.filter.types,
        session: args.session,
        condition,
        order: match args.order {
            OrderOption::Asc => Order::Ascending,
            OrderOption::Desc => Order::Descending,
        },
        limit: args.limit,
        cursor: args.cursor,
        ..Search::new(from, args.to.map_or(now, |to| to.to(now)))
    };
    let spinner = output.spinner();
    let answer = match search.session {
        Some(_) => whole(&table, search).await,
        None => table.search(&search).await.map(|answer| (answer, 0)),
    };
    spinner.finish_and_clear();
    let (answer, cut) = answer?;
    let cursor = answer.cursor.as_ref().map(ToString::to_string);
    let events: Vec<_> = answer.events.iter().filter_map(show::json).collect();
    let json = json!({"cursor": cursor, "units": answer.units, "unreadable": answer.unreadable});
    let report = Report { events, rest: json };
    let mut text = String::new();
    if !answer.events.is_empty() {
        text.push_str(&show::head());
        text.extend(answer.events.iter().map(show::line));
    }
    output.result(&report, &text)?;
    if answer.events.is_empty() && cursor.is_none() {
        output.say(paint(FAINT, "no events\n"));
    }
    if answer.unreadable > 0 {
        output.say(format!(
            "{} rows cannot be read and were left out\n",
            answer.unreadable
        ));
    }
    if let Some(cursor) = cursor {
        let cursor = cursor.replace('\'', "'\\''");
        output.say(paint(FAINT, format!("there are more: --cursor '{cursor}'\n")));
    }
    if cut > 0 {
        output.say(paint(FAINT, format!("there are {cut} more: --limit 0\n")));
    }
    Ok(Exit::Done)
}

/// All of a session, in the order of times, cut to the limit, and how many were cut: the table has it in another order, so
/// only who knows all of it knows which come first.
async fn whole(table: &Dynamo, search: Search) -> Result<(Answer, usize), LogError> {
    let (limit, order) = (search.limit, search.order);
    let mut search = Search { limit: 0, ..search };
    let mut all = table.search(&search).await?;
    while let Some(cursor) = all.cursor.take() {
        search.cursor = Some(cursor);
        let next = table.search(&search).await?;
        all.events.extend(next.events);
        all.units += next.units;
        all.unreadable += next.unreadable;
        all.cursor = next.cursor;
    }
    order.sort(&mut all.events);
    let cut = match limit {
        0 => 0,
        limit => all.events.len().saturating_sub(limit),
    };
    all.events.truncate(all.events.len() - cut);
    Ok((all, cut))
}

#[derive(serde::Serialize)]
struct Report<'a> {
    events: Vec<show::Line<'a>>,
    #[serde(flatten)]
    rest: serde_json::Value,
}
