//! Work under a lock; run two. `TIDEWATCH_ENDPOINT` points it at a local endpoint, the AWS default chain does the rest.
#![allow(clippy::print_stdout)]

use std::{env, error::Error, time::Duration};

use tidewatch::state::{Backend, Condition, ConditionalAction, Config, Item, LockConfiguration};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = Config {
        table_name: "tidewatch-example".to_owned(),
        endpoint: env::var("TIDEWATCH_ENDPOINT").ok(),
        ..Config::default()
    };
    let backend = Backend::new(config).await?;
    let lock = LockConfiguration::new(["nightly"], Duration::from_secs(10)).fenced();
    // Refreshed while the work goes on, dropped if the lock is lost, released at its end.
    let work = backend.run_while_locked(&lock, |scope| {
        let backend = &backend;
        async move {
            println!("turn {:?}, held until {:?}", scope.fence(), scope.expires());
            for step in 1..=3 {
                backend.clock().sleep(Duration::from_secs(3)).await;
                // The lock as a condition: this cannot happen once it is another's.
                let held = Condition::Revision(scope.lease().revision.clone());
                let done = Item::new("/nightly/step", step.to_string());
                let write = [
                    ConditionalAction::check(scope.key(), held),
                    ConditionalAction::put(done, Condition::Whatever),
                ];
                backend.atomic_write(&write).await?;
                println!("step {step}");
            }
            Ok::<_, tidewatch::state::Error>(())
        }
    });
    Ok(work.await?)
}
