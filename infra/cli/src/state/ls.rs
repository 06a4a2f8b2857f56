//! `tidewatch state ls`.

use clap::Args;
use futures_util::TryStreamExt;
use serde_json::json;
use tidewatch::state::{Entry, ItemsParams, Range};

use super::{backend, show};
use crate::cli::{Exit, FAINT, Failure, Global, Output, StateOptions, paint};

/// Arguments of `tidewatch state ls`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch state ls --config /etc/teleport.yaml
  tidewatch state ls /nodes/ --long --limit 0 --table teleport --layout teleport
  tidewatch state ls .locks/ --long --table state

Expired items are left out. Keys are listed without values, but DynamoDB reads, and charges for, whole items.")]
pub(super) struct LsArgs {
    /// What the keys begin with [default: all keys]
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// With expiry and revision
    #[arg(long, short)]
    long: bool,
    /// At most so many keys; 0 for all
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    limit: usize,
    /// From the last key to the first
    #[arg(long, short)]
    reverse: bool,
    #[command(flatten)]
    state: StateOptions,
}

pub(super) async fn run(global: &Global, args: LsArgs) -> Result<Exit, Failure> {
    let backend = backend(global, &args.state).await?;
    let mut params = ItemsParams::from(Range::prefix(args.prefix));
    params.descending = args.reverse;
    // One more, to know whether there are more.
    params.limit = args
        .limit
        .checked_add(1)
        .filter(|_| args.limit > 0)
        .unwrap_or_default();
    let mut entries: Vec<Entry> = backend.entries(params).try_collect().await?;
    let more = args.limit > 0 && entries.len() > args.limit;
    if more {
        entries.truncate(args.limit);
    }
    let now = backend.clock().now();
    let line = |entry: &Entry| {
        if args.long {
            format!(
                "{}  {}  {}\n",
                entry.revision,
                entry.key,
                show::expires(entry.expires, now)
            )
        } else {
            format!("{}\n", entry.key)
        }
    };
    let json = json!({
        "items": entries.iter().map(show::entry_json).collect::<Vec<_>>(),
        "more": more,
    });
    let output = Output::new(global);
    output.result(&json, &entries.iter().map(line).collect::<String>())?;
    if more {
        let note = format!("the first {}; there are more (--limit 0 for all)\n", args.limit);
        output.say(paint(FAINT, note));
    }
    Ok(Exit::Done)
}
