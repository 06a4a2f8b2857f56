//! One leads, all know who; run several. `TIDEWATCH_ENDPOINT` points it at a local endpoint, else the default chain.
#![allow(clippy::print_stdout)]

use std::{env, error::Error, process, time::Duration};

use futures_util::StreamExt;
use tidewatch::state::{Backend, Config, LockConfiguration};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = Config {
        table_name: "tidewatch-example".to_owned(),
        endpoint: env::var("TIDEWATCH_ENDPOINT").ok(),
        ..Config::default()
    };
    let backend = Backend::new(config).await?;
    let name = LockConfiguration::new(["scheduler"], Duration::from_secs(10));
    let election = backend.election(name);
    let observed = election.clone();
    tokio::spawn(async move {
        let mut leaders = std::pin::pin!(observed.observe());
        while let Some(Ok(leader)) = leaders.next().await {
            let value = leader.map(|leader| String::from_utf8_lossy(&leader.value).into_owned());
            println!("led by {}", value.as_deref().unwrap_or("nobody"));
        }
    });
    let who = format!("process {}", process::id());
    let leadership = election.campaign(who.as_bytes()).await?;
    tokio::select! {
        lost = leadership.guard().keep() => println!("no longer: {lost}"),
        () = backend.clock().sleep(Duration::from_secs(20)) => leadership.resign().await?,
    }
    Ok(())
}
