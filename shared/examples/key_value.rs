//! Keys, values and conditions. `TIDEWATCH_ENDPOINT` points it at a local endpoint, the AWS default chain does the rest.
#![allow(clippy::print_stdout)]

use std::{env, error::Error, time::Duration};

use futures_util::TryStreamExt;
use tidewatch::state::{Backend, Condition, ConditionalAction, Config, Item, Key, Range};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = Config {
        table_name: "tidewatch-example".to_owned(),
        endpoint: env::var("TIDEWATCH_ENDPOINT").ok(),
        ..Config::default()
    };
    let backend = Backend::new(config).await?; // Creates the table if there is none.
    let soon = backend.clock().now() + Duration::from_secs(60);
    let lease = backend.put(&Item::new("/apps/web", "v1").expiring(soon)).await?;
    backend.keep_alive(&lease, soon + Duration::from_secs(60)).await?;
    // Only if nobody wrote it since.
    let lease = backend
        .conditional_update(&Item::new("/apps/web", "v2").at(&lease.revision))
        .await?;
    // All or nothing.
    let moved = [
        ConditionalAction::delete("/apps/web", Condition::Revision(lease.revision)),
        ConditionalAction::put(Item::new("/apps/site", "v2"), Condition::Whatever),
    ];
    backend.atomic_write(&moved).await?;
    let mut items = std::pin::pin!(backend.items(Range::prefix("/apps/").into()));
    while let Some(item) = items.try_next().await? {
        println!("{} = {}", item.key, String::from_utf8_lossy(&item.value));
    }
    backend.delete(&Key::from("/apps/site")).await?;
    Ok(())
}
