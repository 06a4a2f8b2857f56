//! `tidewatch state get`.

use std::io::Write as _;

use clap::Args;
use tidewatch::state::Key;

use super::{backend, show};
use crate::cli::{Exit, Failure, Global, Output, StateOptions};

/// Arguments of `tidewatch state get`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch state get /cluster_configuration/name --config /etc/teleport.yaml
  tidewatch state get /tls/key --table state --reveal --value-only > key.pem

An expired item is not shown: it is there no more. Exit status: 0 shown; 1 there is none.")]
pub(super) struct GetArgs {
    /// Key of the item
    key: String,
    /// Show the value: as text if it is text, or else in base64 (with --json always)
    #[arg(long)]
    reveal: bool,
    /// Print the bytes of the value and nothing else
    #[arg(long, requires = "reveal")]
    value_only: bool,
    #[command(flatten)]
    state: StateOptions,
}

pub(super) async fn run(global: &Global, args: GetArgs) -> Result<Exit, Failure> {
    let backend = backend(global, &args.state).await?;
    let item = backend.get(&Key::from(args.key)).await?;
    if args.value_only {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&item.value).and_then(|()| out.flush());
        return match written {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::from(format!("the value could not be written: {error}")))
            }
            _ => Ok(Exit::Done),
        };
    }
    let text = show::item(&item, backend.clock().now(), args.reveal);
    Output::new(global).result(&show::item_json(&item, args.reveal), &text)?;
    Ok(Exit::Done)
}
