//! `tidewatch state …` as an operator types it, against the embedded engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "table/machine.rs"]
#[allow(dead_code)] // The table commands' tests use the rest.
mod machine;

use machine::Machine;
use serde_json::json;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Config, Item, Key, Layout};

const TABLE: &str = "state-commands";

/// A machine with Teleport's table, and a backend on it.
async fn machine() -> (Machine, Backend) {
    let machine = Machine::start().await;
    let config = Config {
        table_name: TABLE.to_owned(),
        layout: Layout::Teleport,
        ..Config::default()
    };
    let backend = Backend::with_client(&machine.client(), config, Clock::system(), Random::system())
        .await
        .unwrap();
    (machine, backend)
}

fn teleport(arguments: &str) -> String {
    format!("{arguments} --table {TABLE} --layout teleport")
}

#[tokio::test]
async fn values_are_hidden_and_changes_are_asked_for() {
    let (machine, backend) = machine().await;
    let run = async |arguments: &str| machine.state(&teleport(arguments)).await;
    let refused = run("put /greeting topsecret").await.expect(2);
    assert!(refused.err.contains("--write"), "{}", refused.err);
    let shown = run("put /greeting topsecret --dry-run").await.expect(0);
    assert!(shown.out.contains("creates /greeting") && !shown.out.contains("topsecret"));
    let unasked = run("put /greeting topsecret --write").await.expect(4);
    assert!(unasked.err.contains("no terminal"), "{}", unasked.err);
    assert!(backend.get(&Key::from("/greeting")).await.is_err());

    run("put /greeting topsecret --ttl 1h --write --yes")
        .await
        .expect(0);
    let got = run("get /greeting").await.expect(0);
    assert!(
        got.out.contains("(9 bytes, hidden") && !got.out.contains("topsecret"),
        "{}",
        got.out
    );
    let json = run("get /greeting --json").await.expect(0).json();
    assert_eq!((json["bytes"].as_u64(), json.get("value")), (Some(9), None));
    assert_eq!(
        run("get /greeting --reveal --value-only").await.expect(0).out,
        "topsecret"
    );
    let replaced = run("put /greeting new --write --yes").await.expect(0);
    assert!(replaced.err.contains("replaces /greeting"), "{}", replaced.err);
    assert_eq!(backend.get(&Key::from("/greeting")).await.unwrap(), {
        let lease = backend.get(&Key::from("/greeting")).await.unwrap().revision;
        Item::new("/greeting", "new").at(lease)
    });
    run("get /none").await.expect(1);
}

#[tokio::test]
async fn keys_are_listed_and_deleted_as_shown() {
    let (machine, backend) = machine().await;
    let run = async |arguments: &str| machine.state(&teleport(arguments)).await;
    for n in 0..30 {
        backend
            .put(&Item::new(format!("/n/{n:02}").as_str(), "x"))
            .await
            .unwrap();
    }
    backend.put(&Item::new("/other", "x")).await.unwrap();
    let listed = run("ls /n/ --limit 2").await.expect(0);
    assert_eq!(listed.out, "/n/00\n/n/01\n");
    assert!(listed.err.contains("there are more"), "{}", listed.err);
    let json = run("ls /n/ --limit 2 --reverse --json").await.expect(0).json();
    assert_eq!(
        (&json["items"][0]["key"], &json["more"]),
        (&json!("/n/29"), &json!(true))
    );
    let shown = run("rm --prefix /n/ --dry-run").await.expect(0);
    assert!(
        shown.out.contains("deletes 30 items") && shown.out.contains("and 10 more"),
        "{}",
        shown.out
    );
    let done = run("rm --prefix /n/ --write --yes --json").await.expect(0).json();
    assert_eq!(done, json!({"deleted": 30, "kept": 0}));
    assert_eq!(run("ls").await.expect(0).out, "/other\n");
    run("rm /none --write --yes").await.expect(1);
    run("rm /other --write --yes").await.expect(0);
}

#[tokio::test]
async fn a_dump_goes_from_one_layout_to_the_other() {
    let (machine, backend) = machine().await;
    let soon = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    backend.put(&Item::new("/a", [0, 159, 146, 150])).await.unwrap();
    backend.put(&Item::new("/b", "b").expiring(soon)).await.unwrap();
    backend
        .put(&Item::new(".locks/x", "0123456789abcdef").expiring(soon))
        .await
        .unwrap();
    backend.put(&Item::new(".fences/x", "7")).await.unwrap();
    let file = machine.home().join("dump.ndjson");
    let path = file.to_str().unwrap();
    machine.state(&teleport(&format!("dump {path}"))).await.expect(0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let again = machine.state(&teleport(&format!("dump {path}"))).await.expect(2);
    assert!(again.err.contains("exists already"), "{}", again.err);

    machine
        .run("create --kind partitioned --table our-state-table --yes")
        .await
        .expect(0);
    let ours = |arguments: &str| format!("{arguments} --table our-state-table --namespace copy");
    let missing = machine.state(&ours("ls")).await.expect(1);
    assert!(missing.err.contains("no namespace"), "{}", missing.err);
    let wrong = machine.state(&format!("ls --table {TABLE}")).await.expect(1);
    assert!(wrong.err.contains("Teleport's layout"), "{}", wrong.err);
    let load = format!("load {path} --partitions 4 --init --write --yes --json");
    let loaded = machine.state(&ours(&load)).await.expect(0).json();
    assert_eq!(loaded["items"], json!({"created": 3, "lock": 1}));
    assert_eq!(
        machine.state(&ours("ls")).await.expect(0).out,
        ".fences/x\n/a\n/b\n"
    );

    machine.state(&ours("put /b mine --write --yes")).await.expect(0);
    machine
        .state(&ours("put .fences/x 9 --write --yes"))
        .await
        .expect(0);
    let load = format!("load {path} --write --yes --json");
    let kept = machine.state(&ours(&load)).await.expect(0).json();
    assert_eq!(
        kept["items"],
        json!({"same": 1, "kept": 1, "lock": 1, "fence": 1})
    );
    let load = format!("load {path} --overwrite --write --yes --json");
    let replaced = machine.state(&ours(&load)).await.expect(0).json();
    assert_eq!(
        replaced["items"],
        json!({"same": 1, "overwritten": 1, "lock": 1, "fence": 1})
    );
    assert_eq!(
        machine
            .state(&ours("get /b --reveal --value-only"))
            .await
            .expect(0)
            .out,
        "b"
    );

    let text = std::fs::read_to_string(&file).unwrap();
    let cut: Vec<&str> = text.lines().take(3).collect();
    std::fs::write(&file, cut.join("\n")).unwrap();
    let torn = machine.state(&ours(&load)).await.expect(1);
    assert!(torn.err.contains("not complete"), "{}", torn.err);
}

#[tokio::test]
async fn a_command_runs_under_a_lock_and_gives_its_status() {
    let (machine, backend) = machine().await;
    let run = async |arguments: &str| machine.bare(arguments).await;
    let url = machine.url();
    let lock = format!("state lock jobs/nightly --table {TABLE} --layout teleport --endpoint-url {url}");
    run(&format!("{lock} -- true")).await.expect(2);
    run(&format!("{lock} --write -- true")).await.expect(0);
    run(&format!("{lock} --write -- false")).await.expect(1);
    let shown = run(&format!(
        "{lock} --write --fenced -- printenv TIDEWATCH_LOCK TIDEWATCH_FENCE"
    ))
    .await;
    assert_eq!(shown.expect(0).out, ".locks/jobs/nightly\n1\n");
    // Somebody else's, as Teleport writes it.
    let later = Clock::system().now() + std::time::Duration::from_secs(600);
    let held = Item::new(".locks/jobs/nightly", [7; 16]).expiring(later);
    backend.create(&held).await.unwrap();
    let refused = run(&format!("{lock} --wait 1s --write -- true")).await.expect(1);
    assert!(refused.err.contains(".locks/jobs/nightly"), "{}", refused.err);
    assert_eq!(backend.get(&held.key).await.unwrap().value, held.value);
}

#[tokio::test]
async fn fences_only_grow_and_odd_expiries_can_be_shown_and_removed() {
    let (machine, backend) = machine().await;
    let run = async |arguments: &str| machine.state(&teleport(arguments)).await;
    backend.put(&Item::new(".fences/job", "9")).await.unwrap();
    // Milliseconds where seconds are due: the year 58,000.
    let odd = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000_000);
    backend.put(&Item::new("/odd", "x").expiring(odd)).await.unwrap();
    backend
        .put(&Item::new(".locks/job", [1; 16]).expiring(odd))
        .await
        .unwrap();
    run("put .fences/job 8 --write --yes").await.expect(2);
    run("put .fences/job 10 --write --yes").await.expect(0);
    run("rm .fences/job --write --yes").await.expect(2);
    run("rm --prefix .fences/ --write --yes").await.expect(2);
    assert!(run("get /odd").await.expect(0).out.contains("@1800000000000"));
    run("ls --long").await.expect(0);
    run("rm --prefix . --write --yes").await.expect(0);
    run("rm /odd --write --yes").await.expect(0);
    assert_eq!(run("ls").await.expect(0).out, ".fences/job\n.locks/job\n");
    run("rm --prefix .locks/ --write --yes").await.expect(0);
    assert_eq!(run("ls").await.expect(0).out, ".fences/job\n");
}
