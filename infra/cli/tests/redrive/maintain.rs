//! `tidewatch maintain`.

use serde_json::json;

use crate::files;
use crate::lambda::delivered;
use crate::machine::{Ended, Machine};
use crate::record;

/// A machine with a table for leases, a spool in which two records wait, and a document.
async fn waiting() -> Machine {
    let machine = Machine::start().await;
    machine
        .run("create --kind state --table leases --yes")
        .await
        .expect(0);
    let home = machine.home().display();
    let document = format!(
        "quarantine: file://{home}/quarantine\nspool: file://{home}/spool\n\
         sinks: {{ a: {{ uri: 'file://{home}/a' }}, lake: {{ uri: 'file://{home}/lake?format=parquet' }} }}\n\
         maintain: {{ state: {{ table: leases, layout: teleport }} }}\n"
    );
    std::fs::write(machine.home().join("tidewatch.yaml"), document).unwrap();
    let spool = machine.home().join("spool/a");
    std::fs::create_dir_all(&spool).unwrap();
    let lines = format!("{}\n{}\n", record(1, 7), record(2, 8));
    std::fs::write(spool.join(format!("{:0>40}-{:0>32}.ndjson", 7, 0)), lines).unwrap();
    machine
}

async fn maintain(machine: &Machine, arguments: &str) -> Ended {
    let (home, url) = (machine.home().display(), machine.url());
    machine
        .bare(&format!(
            "maintain {arguments} --config {home}/tidewatch.yaml --endpoint-url {url}"
        ))
        .await
}

#[tokio::test]
async fn a_task_is_run_by_hand_as_by_its_schedule() {
    let machine = waiting().await;
    // What would be done is left, and so is status 3.
    let looked = maintain(&machine, "drain --dry-run --json")
        .await
        .expect(3)
        .json();
    assert_eq!(
        (&looked["state"], &looked["complete"]),
        (&json!("ran"), &json!(false))
    );
    assert_eq!(looked["report"]["sinks"]["a"]["left"]["objects"], 1);
    assert_eq!(files(&machine.home().join("spool")).len(), 1);
    let done = maintain(&machine, "drain").await.expect(0);
    assert!(
        done.out.contains("drain done") && done.out.contains("drain_records"),
        "{}",
        done.out
    );
    assert_eq!(delivered(&machine.home().join("a")).len(), 2);
    assert!(maintain(&machine, "lake --json").await.expect(0).json()["error"].is_null());
}

#[tokio::test]
async fn what_deletes_asks_and_what_is_not_configured_is_named() {
    let machine = waiting().await;
    for task in ["expire", "locks", "watch-log"] {
        let asked = maintain(&machine, task).await.expect(4);
        assert!(asked.err.contains("--yes"), "{}", asked.err);
    }
    let failed = maintain(&machine, "watch-log --yes").await.expect(1);
    assert!(failed.err.contains("`watch`"), "{}", failed.err);
    let failed = maintain(&machine, "redrive").await.expect(1);
    assert!(failed.err.contains("`maintain.failures`"), "{}", failed.err);
    maintain(&machine, "drain --every 5s").await.expect(2);
    maintain(&machine, "drain --table other").await.expect(2);
    maintain(&machine, "sweep").await.expect(2);
    let (home, url) = (machine.home().display(), machine.url());
    std::fs::write(
        machine.home().join("other.yaml"),
        "aws: {}\nquarantine: file:///q\nsinks: { a: { uri: 'stdout://' } }\n",
    )
    .unwrap();
    let nothing = machine
        .bare(&format!(
            "maintain drain --config {home}/other.yaml --endpoint-url {url}"
        ))
        .await;
    assert!(nothing.expect(2).err.contains("section maintain"));
}

/// Another run has the lease.
#[tokio::test]
async fn a_task_that_runs_already_is_left_alone() {
    let machine = waiting().await;
    let lock = format!(
        "lock maintain/drain --write --layout teleport --table leases --endpoint-url {}",
        machine.url()
    );
    let mut holder = machine
        .command(&format!("state {lock}"))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    for _ in 0..100 {
        let held = maintain(&machine, "drain --json").await;
        if held.code == 3 {
            assert_eq!(held.json()["state"], "held");
            holder.kill().await.unwrap();
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("never held");
}
