//! `tidewatch table` as an operator runs it: the real binary against the embedded engine, without credentials,
//! region or terminal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "table/index.rs"]
mod index;
#[path = "table/machine.rs"]
#[allow(dead_code)] // The state commands' tests use the rest.
mod machine;

use machine::Machine;
use serde_json::Value;

#[tokio::test]
async fn create_then_verify_is_clean() {
    let machine = Machine::start().await;
    for kind in ["audit", "state", "partitioned", "watch-log"] {
        let created = machine
            .run(&format!(
                "create --kind {kind} --table {kind}-1 --deletion-protection --yes"
            ))
            .await
            .expect(0);
        assert!(
            created
                .out
                .starts_with(&format!("created {kind} table {kind}-1\n")),
            "{}",
            created.out
        );
        assert_eq!(
            created.out.contains("/stream/"),
            kind != "watch-log",
            "{}",
            created.out
        );
        assert!(created.err.contains("estimated cost"), "{}", created.err);

        let verified = machine.run(&format!("verify --table {kind}-1")).await.expect(0);
        assert!(verified.out.contains("it is what it must be"), "{}", verified.out);
        assert!(
            verified.out.contains(&format!("({kind}, judged by its keys")),
            "{}",
            verified.out
        );
        assert!(
            verified.out.contains("DescribeContinuousBackups"),
            "{}",
            verified.out
        );
        let report = machine
            .run(&format!("verify --table {kind}-1 --kind {kind} --json"))
            .await
            .expect(0)
            .json();
        assert_eq!(report["ok"], true);
        assert_eq!(report["kind_guessed"], false);
        assert_eq!(report["differences"].as_array().unwrap().len(), 0);
    }
}

#[tokio::test]
async fn nobody_to_ask_is_a_refusal() {
    let machine = Machine::start().await;
    let refused = machine.run("create --kind state --table quiet").await.expect(4);
    assert!(refused.err.contains("no terminal to ask on"), "{}", refused.err);
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    assert!(
        machine
            .client()
            .list_tables()
            .send()
            .await
            .unwrap()
            .table_names()
            .is_empty()
    );

    machine.bare_state("bare").await;
    let refused = machine.run("apply --table bare --json").await.expect(4);
    assert!(
        serde_json::from_str::<Value>(&refused.err).unwrap()["error"].is_string(),
        "{}",
        refused.err
    );
    let verified = machine.run("verify --table bare --json").await.expect(3).json();
    assert_eq!(verified["ok"], false);
}

#[tokio::test]
async fn a_dry_run_creates_nothing() {
    let machine = Machine::start().await;
    let arguments =
        "create --kind audit --table dry --billing provisioned --rcu 5 --wcu 5 --pitr --tag a=b --dry-run";
    let shown = machine.run(arguments).await.expect(0);
    for text in [
        "timesearchV2",
        "5 RCU and 5 WCU",
        "$5.69 a month",
        "a=b",
        "it would send CreateTable",
    ] {
        assert!(shown.out.contains(text), "{text}: {}", shown.out);
    }
    let report = machine.run(&format!("{arguments} --json")).await.expect(0).json();
    assert_eq!(report["created"], false);
    assert_eq!(report["estimate"]["fixed_per_month"], 5.694);
    assert_eq!(report["settings"]["billing"]["rcu"], 5);
    assert_eq!(report["requests"][3], "UpdateContinuousBackups");
    assert!(
        machine
            .client()
            .list_tables()
            .send()
            .await
            .unwrap()
            .table_names()
            .is_empty()
    );
}

#[tokio::test]
async fn recovery_that_the_engine_lacks_is_a_named_warning() {
    let machine = Machine::start().await;
    let created = machine
        .run("create --kind state --table t-1 --pitr --yes")
        .await
        .expect(0);
    assert!(
        created.out.contains("no UpdateContinuousBackups"),
        "{}",
        created.out
    );
    let created = machine
        .run("create --kind state --table t-2 --pitr --yes --json")
        .await
        .expect(0)
        .json();
    assert_eq!(created["created"], true);
    assert_eq!(created["warnings"][0]["operation"], "UpdateContinuousBackups");
}

#[tokio::test]
async fn an_existing_table_is_pointed_to_verify() {
    let machine = Machine::start().await;
    machine.bare_state("taken").await;
    for flag in ["--yes", "--dry-run", ""] {
        let exists = machine
            .run(&format!("create --kind audit --table taken {flag}"))
            .await
            .expect(1);
        assert!(
            exists.err.contains("exists already and was not changed"),
            "{}",
            exists.err
        );
        assert!(
            exists
                .err
                .contains("tidewatch table verify --kind audit --table taken"),
            "{}",
            exists.err
        );
    }
}

#[tokio::test]
async fn plan_and_apply_repair_stream_and_ttl() {
    let machine = Machine::start().await;
    machine.bare_state("bare").await;
    let broken = machine.run("verify --table bare").await.expect(3);
    for text in [
        "broken",
        "no stream",
        "degraded",
        "time to live is off",
        "so: ",
        "do: ",
        "2 differences to repair",
    ] {
        assert!(broken.out.contains(text), "{text}: {}", broken.out);
    }
    let plan = machine.run("plan --table bare --json").await.expect(0).json();
    let kinds: Vec<_> = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| &change["kind"])
        .collect();
    assert_eq!(kinds, ["stream", "ttl", "deletion-protection"]);

    let applied = machine
        .run("apply --table bare --only stream,ttl --yes")
        .await
        .expect(0);
    assert!(
        applied.err.contains("enable the stream, view NEW_AND_OLD_IMAGES"),
        "{}",
        applied.err
    );
    assert!(
        applied.out.contains("changed   stream") && applied.out.contains("changed   ttl"),
        "{}",
        applied.out
    );
    let table = machine
        .client()
        .describe_table()
        .table_name("bare")
        .send()
        .await
        .unwrap()
        .table
        .unwrap();
    assert_eq!(table.deletion_protection_enabled(), Some(false));
    assert_eq!(
        table
            .stream_specification()
            .unwrap()
            .stream_view_type()
            .unwrap()
            .as_str(),
        "NEW_AND_OLD_IMAGES"
    );

    let rest = machine
        .run("apply --table bare --yes --json")
        .await
        .expect(0)
        .json();
    assert_eq!(rest["outcomes"][0]["change"], "deletion-protection");
    assert_eq!(rest["differences"].as_array().unwrap().len(), 0);
    let nothing = machine.run("apply --table bare").await.expect(0);
    assert!(nothing.out.contains("nothing to change"), "{}", nothing.out);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let machine = Machine::start().await;
    machine.bare_state("bare").await;
    // --dry-run is stronger than --yes.
    for consent in ["", "--yes"] {
        let shown = machine
            .run(&format!("apply --table bare --dry-run {consent}"))
            .await
            .expect(0);
        for text in [
            "enable the stream",
            "UpdateTimeToLive",
            "nothing was changed (--dry-run)",
        ] {
            assert!(shown.out.contains(text), "{text}: {}", shown.out);
        }
        let report = machine
            .run(&format!("apply --table bare --dry-run --json {consent}"))
            .await
            .expect(0)
            .json();
        assert_eq!(report["changes"].as_array().unwrap().len(), 3);
        assert_eq!(report["outcomes"].as_array().unwrap().len(), 0);
    }
    let one = machine
        .run("apply --table bare --only ttl --dry-run --json")
        .await
        .expect(0)
        .json();
    assert_eq!(one["changes"][0]["kind"], "ttl");
    let untouched = machine.run("verify --table bare").await.expect(3);
    assert!(
        untouched.out.contains("2 differences to repair"),
        "{}",
        untouched.out
    );
    // What is left to the operator is shown, and does not change the exit status.
    let manual = machine
        .run("apply --kind audit --table bare --dry-run")
        .await
        .expect(0);
    assert!(manual.out.contains("left to you"), "{}", manual.out);
}

#[tokio::test]
async fn keys_are_never_changed() {
    let machine = Machine::start().await;
    machine.bare_state("bare").await;
    let plan = machine
        .run("plan --kind audit --table bare --json")
        .await
        .expect(0)
        .json();
    assert_eq!(plan["changes"].as_array().unwrap().len(), 0);
    assert_eq!(plan["manual"][0]["code"], "keys");
    let applied = machine
        .run("apply --kind audit --table bare --yes")
        .await
        .expect(3);
    assert!(
        applied.out.contains("nothing to change") && applied.out.contains("left to you"),
        "{}",
        applied.out
    );
}

#[tokio::test]
async fn one_layout_is_told_from_the_other() {
    let machine = Machine::start().await;
    machine
        .run("create --kind partitioned --table ours --yes")
        .await
        .expect(0);
    machine.bare_state("theirs").await;
    for (kind, table, text) in [
        (
            "state",
            "ours",
            "this is a partitioned table, a Teleport layout was expected",
        ),
        (
            "partitioned",
            "theirs",
            "this is a table of Teleport's layout, a partitioned one was expected",
        ),
    ] {
        let verified = machine
            .run(&format!("verify --kind {kind} --table {table}"))
            .await
            .expect(3);
        assert!(verified.out.contains(text), "{}", verified.out);
        let plan = machine
            .run(&format!("plan --kind {kind} --table {table} --json"))
            .await
            .expect(0)
            .json();
        assert_eq!(plan["changes"].as_array().unwrap().len(), 0);
        assert_eq!(plan["manual"][0]["code"], "layout");
    }
    let dry = machine
        .run("create --kind partitioned --table dry --dry-run")
        .await
        .expect(0);
    assert!(
        dry.out
            .contains("expiry: ExpiryShard and Expires, INCLUDE Revision"),
        "{}",
        dry.out
    );
}

#[tokio::test]
async fn print_needs_no_endpoint() {
    let machine = Machine::start().await;
    for (format, text) in [
        ("aws-cli", "aws dynamodb create-table --table-name teleport"),
        ("terraform", "resource \"aws_dynamodb_table\" \"state\""),
        ("cloudformation", "UpdateReplacePolicy: Retain"),
    ] {
        let arguments = format!("table print --kind state --table teleport --format {format}");
        let printed = machine.bare(&arguments).await.expect(0);
        assert!(printed.out.contains(text), "{}", printed.out);
        let report = machine
            .bare(&format!("{arguments} --json"))
            .await
            .expect(0)
            .json();
        assert_eq!(report["text"], printed.out);
        assert_eq!(report["format"], format);
    }
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    let machine = Machine::start().await;
    for (arguments, text) in [
        ("table verify", "--table"),
        ("table create --kind state --table x/y", "table name"),
        (
            "table create --kind state --table table --rcu 5",
            "--billing provisioned",
        ),
        (
            "table create --kind state --table table --tag novalue",
            "KEY=VALUE",
        ),
        ("table create --kind certs --table table", "audit"),
        ("table verify --table table", "region"),
    ] {
        let ended = machine.bare(arguments).await.expect(2);
        assert!(ended.err.contains(text), "{arguments}: {}", ended.err);
    }
}

#[tokio::test]
async fn what_cannot_be_reached_or_found_ends_with_1() {
    let machine = Machine::start().await;
    let missing = machine.run("verify --table nowhere").await.expect(1);
    assert!(
        missing.err.contains("table nowhere does not exist"),
        "{}",
        missing.err
    );
    let closed = machine
        .bare("table verify --table away --endpoint-url http://127.0.0.1:1")
        .await
        .expect(1);
    assert!(
        closed.err.contains("DescribeTable on table away failed"),
        "{}",
        closed.err
    );
    assert!(closed.err.contains("--endpoint-url"), "{}", closed.err);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let shell = format!(
        "set -o pipefail; {} table print --kind state --table teleport --format aws-cli | true",
        env!("CARGO_BIN_EXE_tidewatch")
    );
    let output = tokio::process::Command::new("bash")
        .args(["-c", &shell])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
