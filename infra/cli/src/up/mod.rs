//! `tidewatch up`: the whole system on one machine.
//!
//! A DynamoDB endpoint, the tables, sample traffic, Lambda's event source mapping and the `forward` function itself.
//!
//! | module | what it does |
//! |---|---|
//! | `endpoint`, `tables` | the engine on 127.0.0.1 and its tables |
//! | [`traffic`] (`events`, [`json`](mod@json)) | the rows, from a seed, and what must come of each |
//! | `writer`, `reader` | puts rows as Teleport does; pulls the stream |
//! | [`route`], [`wire`] | one stream into several shards, one of which splits; records as Lambda hands them over |
//! | [`handler`] | the function with its sinks |
//! | `once`, `live` | the two ways to run |
//! | `watched` | state beside the audit events: traffic, its mapping into the watch log, a watcher of that |
//! | [`trouble`] | what the sink suffers |
//! | [`check`], `lake`, `plant`, `summary` | what came out against what had to; sabotage that the check must find; the report |
//! | `tasks` | drain and lake, under their leases |
//! | `schedules` | the function `maintain`: what has expired is deleted on time |
//! | [`state`] | what survives a restart |

pub mod check;
mod endpoint;
mod events;
pub mod handler;
pub mod json;
mod lake;
mod live;
mod once;
mod plant;
mod reader;
pub mod route;
mod schedules;
pub mod state;
mod summary;
mod tables;
mod tasks;
pub mod traffic;
pub mod trouble;
mod watched;
pub mod wire;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tidewatch::clock::Clock;
use tidewatch::random::Random;

use crate::cli::{Exit, Global, Output};
use crate::esm::Settings;
pub use plant::Plant;
use state::Directory;

/// Arguments of `tidewatch up`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  tidewatch up                                     sample traffic until Ctrl-C
  tidewatch up --rate 0 --data-dir ./tidewatch     only your own rows, and they are kept
  tidewatch up --once                              10,000 rows with faults, then a verdict
  tidewatch up --once --events 1000 --seed 7 --json
  tidewatch up --once --events 1000 --plant lose   must end with status 3

No account is needed, and none is touched.")]
pub struct UpArgs {
    /// Write a fixed number of events, check what came out, and end; status 3 if anything was lost, doubled, torn or
    /// out of order
    #[arg(long)]
    pub once: bool,
    /// Keep database, checkpoints and output here, and go on from them; a temporary directory otherwise
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Port of the DynamoDB endpoint on 127.0.0.1 [default: 8000; any free one with --once]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Rows to write with --once
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = events)]
    pub events: usize,
    /// Seed of the traffic and of the faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Rows a second without --once; 0 for none
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub rate: u32,
    /// Most records in a batch; with --once at most a twentieth of the rows, so that every fault gets its turn
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = batch_size)]
    pub batch_size: usize,
    /// Spoil the output before the check of --once, which must find it
    #[arg(long, value_name = "FAULT", requires = "once")]
    pub plant: Option<Plant>,
}

fn within(text: &str, range: std::ops::RangeInclusive<usize>) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("a number from {} to {} is due", range.start(), range.end()))
}

/// Below two hundred not every fault and kind of row would get its turn; above a million the traffic would not fit into memory.
fn events(text: &str) -> Result<usize, String> {
    within(text, 200..=1_000_000)
}

fn batch_size(text: &str) -> Result<usize, String> {
    within(text, 2..=10_000)
}

impl UpArgs {
    fn settings(&self, directory: &Directory) -> Settings {
        Settings {
            batch_size: if self.once {
                self.batch_size.min(self.events / 20)
            } else {
                self.batch_size
            },
            on_failure: Some(directory.on_failure()),
            ..Settings::default()
        }
    }
}

/// Runs the command.
///
/// # Errors
/// A message if something could not be started, or failed for good.
pub async fn run(global: &Global, args: UpArgs) -> Result<Exit, String> {
    let clock = Clock::system();
    let directory = Arc::new(Directory::open(args.data_dir.as_deref(), &Random::system())?);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let ended = if args.once {
        tokio::select! {
            ended = Box::pin(once::run(global, &args, &directory, &clock)) => ended,
            () = stop => Err("stopped before the end".to_owned()),
        }
    } else {
        Box::pin(live::run(global, &args, &directory, &clock, stop))
            .await
            .map(|()| Exit::Done)
    };
    if matches!(ended, Ok(Exit::Found)) && args.plant.is_none() && args.data_dir.is_none() {
        Output::new(global).say(format_args!(
            "kept for a closer look: {}\n",
            directory.root().display()
        ));
    } else {
        directory.close();
    }
    ended
}
