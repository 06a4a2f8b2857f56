//! The lease of a task.

use std::time::Duration;

use tidewatch::clock::Clock;
use tidewatch::maintain::{Turn, leased};
use tidewatch::state::{Layout, LockConfiguration};

use crate::engine::Engine;

#[tokio::test(start_paused = true)]
async fn one_runs_and_another_leaves_it_to_that_one() {
    let engine = Engine::new();
    let clock = Clock::system();
    let backend = engine.backend("leased", Layout::Teleport, &clock, 1).await;
    let long = leased(&backend, "drain", clock.sleep(Duration::from_secs(300)));
    let meanwhile = async {
        clock.sleep(Duration::from_secs(200)).await;
        let other = leased(&backend, "drain", async { "done" }).await.unwrap();
        assert!(matches!(other, Turn::Held), "{other:?}");
        let another = leased(&backend, "lake", async { "done" }).await.unwrap();
        assert!(matches!(another, Turn::Ran("done")), "{another:?}");
    };
    let (ran, ()) = futures_util::join!(long, meanwhile);
    assert!(matches!(ran.unwrap(), Turn::Ran(())));
    // It is free again at once.
    let next = leased(&backend, "drain", async { "done" }).await.unwrap();
    assert!(matches!(next, Turn::Ran("done")), "{next:?}");
}

/// Whoever has lost the lease does not go on.
#[tokio::test(start_paused = true)]
async fn a_task_stops_where_its_lease_is_lost() {
    let engine = Engine::new();
    let clock = Clock::system();
    let backend = engine.backend("leased", Layout::Teleport, &clock, 1).await;
    let long = leased(&backend, "drain", clock.sleep(Duration::from_secs(300)));
    let taken = async {
        clock.sleep(Duration::from_secs(10)).await;
        let key = LockConfiguration::new(["maintain", "drain"], Duration::from_secs(60)).key();
        backend.delete(&key).await.unwrap();
    };
    let (ended, ()) = futures_util::join!(long, taken);
    assert!(matches!(ended.unwrap(), Turn::Lost(_)));
}
