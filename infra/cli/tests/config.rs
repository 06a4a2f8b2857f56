//! `tidewatch config`, and what other commands take from the document, with the real binary.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "config/stub.rs"]
mod stub;

use std::process::{Command, Output};

use stub::Stub;

fn tidewatch(args: &[&str], document: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidewatch.yaml");
    std::fs::write(&path, document).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewatch"));
    command
        .arg("config")
        .args(args)
        .arg("--config")
        .arg(&path)
        .output()
        .unwrap()
}

#[test]
fn a_document_in_order_exits_0_and_a_faulty_one_2_with_all_faults() {
    let good = tidewatch(
        &["check"],
        "quarantine: file:///q\nsinks: { out: { uri: 'stdout://' } }\n",
    );
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert_eq!(String::from_utf8(good.stdout).unwrap(), "in order: sinks out\n");
    let bad = tidewatch(
        &["check"],
        "quarantine: nowhere\nsinks: { out: { uri: 'stdout://', retries: 3 } }\n",
    );
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    let message = String::from_utf8(bad.stderr).unwrap();
    assert!(message.contains("tidewatch.yaml:1:13: quarantine: "), "{message}");
    assert!(
        message.contains("tidewatch.yaml:2:44: sinks.out.retries: unknown setting"),
        "{message}"
    );
    assert!(bad.stdout.is_empty());
}

#[test]
fn the_schema_is_json() {
    let schema = run("config schema", &tempfile::tempdir().unwrap(), &[]);
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    let audit = serde_json::json!(["quarantine", "sinks"]);
    assert_eq!(
        schema["anyOf"],
        serde_json::json!([{"required": audit}, {"required": ["watch"]}, {"required": ["maintain"]}])
    );
}

#[test]
fn a_watch_log_alone_is_in_order() {
    let home = tempfile::tempdir().unwrap();
    let document = "watch: { table: teleport-state, layout: teleport, log: { table: watch } }";
    std::fs::write(home.path().join("watch.yaml"), document).unwrap();
    let good = run("config check --config watch.yaml", &home, &[]);
    let text = String::from_utf8(good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0), "{text}");
    assert!(text.contains("watch log teleport-state in table watch"), "{text}");
    let secrets = [("TIDEWATCH_WATCH__INLINE", "/nodes,/authorities")];
    let bad = run("config check --config watch.yaml", &home, &secrets);
    assert_eq!(bad.status.code(), Some(2));
    let text = String::from_utf8(bad.stderr).unwrap();
    assert!(
        text.contains("TIDEWATCH_WATCH__INLINE") && text.contains("/authorities"),
        "{text}"
    );
}

#[test]
fn a_document_is_applied_as_a_version_and_listed() {
    let home = tempfile::tempdir().unwrap();
    let place = format!("file://{}/kept/", home.path().display());
    std::fs::write(home.path().join("one.yaml"), DOCUMENT).unwrap();
    let two = "quarantine: file:///q\nsinks: { other: { uri: 'stdout://' } }\n";
    std::fs::write(home.path().join("two.yaml"), two).unwrap();
    let json = |arguments: &str| {
        let done = run(&format!("{arguments} --json"), &home, &[]);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        serde_json::from_slice::<serde_json::Value>(&done.stdout).unwrap()
    };
    let planned = json(&format!("config apply one.yaml --to {place} --dry-run"));
    assert_eq!(planned["applied"], false);
    let nothing = run(&format!("config versions {place}"), &home, &[]);
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
    // Nobody is asked who is not there.
    let asked = run(&format!("config apply one.yaml --to {place}"), &home, &[]);
    assert_eq!(asked.status.code(), Some(4), "{asked:?}");
    let first = json(&format!("config apply one.yaml --to {place} --yes"));
    let second = json(&format!("config apply two.yaml --to {place} --in 10m --yes"));
    assert_eq!(second["before"], first["version"]);
    assert_eq!(second["draining"], serde_json::json!(["out"]));
    let list = json(&format!("config versions {place}"));
    let sinks: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["sinks"][0].as_str().unwrap())
        .collect();
    assert_eq!(sinks, ["other", "out"]);
    assert_eq!(list[0]["state"], "to come");
    // What the newest version was is lost.
    let newest = second["version"].as_str().unwrap();
    let object = std::fs::read_dir(home.path().join("kept/versions")).unwrap();
    let object = object.map(|file| file.unwrap().path());
    let object = object.filter(|path| path.to_str().unwrap().contains(newest));
    object.for_each(|path| std::fs::remove_file(path).unwrap());
    let lost = run(&format!("config versions {place} --json"), &home, &[]);
    assert_eq!(lost.status.code(), Some(3), "{lost:?}");
    let list: serde_json::Value = serde_json::from_slice(&lost.stdout).unwrap();
    assert_eq!(
        (&list[0]["version"], &list[0]["state"]),
        (&second["version"], &"unusable".into())
    );
    assert_eq!(list[1]["version"], first["version"]);
    let text = run(&format!("config versions {place}"), &home, &[]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with(&format!("{newest}  unusable")), "{text}");
    let no_slash = run(
        &format!("config versions {}", place.trim_end_matches('/')),
        &home,
        &[],
    );
    assert_eq!(no_slash.status.code(), Some(2), "{no_slash:?}");
}

const DOCUMENT: &str = "quarantine: file:///q\nsinks: { out: { uri: 'stdout://' } }\n";

/// Runs `tidewatch …` in `home`, with nothing of AWS but what `variables` hold.
fn run(arguments: &str, home: &tempfile::TempDir, variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidewatch"))
        .args(arguments.split_whitespace())
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied())
        .current_dir(home.path())
        .output()
        .unwrap()
}

/// A home with a document that has this `aws` section.
fn home(aws: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("t.yaml"), format!("{DOCUMENT}aws: {aws}\n")).unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let profiles = "[named]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n";
    std::fs::write(home.path().join(".aws/credentials"), profiles).unwrap();
    home
}

#[track_caller]
fn ended(output: Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_key_as_text_is_warned_of_and_shown_nowhere() {
    let home = home("{ access_key: AKIALITERAL, secret_key: hush-hush }");
    for arguments in [
        "config check --config t.yaml",
        "config check --config t.yaml --json",
        "table verify --config t.yaml --table audit --endpoint-url http://127.0.0.1:1",
    ] {
        let output = run(arguments, &home, &[]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("WARN") && told.contains("stands in the configuration as text"),
            "{told}"
        );
        let all = told + &String::from_utf8(output.stdout).unwrap();
        assert!(
            !all.contains("AKIALITERAL") && !all.contains("hush-hush"),
            "{all}"
        );
    }
    let referred = self::home("{ access_key: 'env:A', secret_key: 'env:B' }");
    let told = ended(run("config check --config t.yaml", &referred, &[]), 0);
    assert!(told.is_empty(), "{told}");
}

#[test]
fn a_document_that_is_named_must_be_in_order_for_every_command_that_asks_aws() {
    let home = home("{ region: eu-west-3, colour: crimson }");
    for command in [
        "table verify --table audit",
        "table plan --table audit",
        "table apply --table audit --dry-run",
        "table create --kind audit --table audit --dry-run",
    ] {
        let told = ended(run(&format!("{command} --config absent.yaml"), &home, &[]), 2);
        assert!(told.contains("absent.yaml cannot be read"), "{told}");
        let told = ended(run(&format!("{command} --config t.yaml"), &home, &[]), 2);
        assert!(told.contains("aws.colour: unknown setting"), "{told}");
        let told = ended(run(command, &home, &[("TIDEWATCH_CONFIG", "absent.yaml")]), 2);
        assert!(told.contains("absent.yaml cannot be read"), "{told}");
        let told = ended(run(command, &home, &[("TIDEWATCH_CONFIG", "")]), 2);
        assert!(
            told.contains("which AWS region?") && told.contains("aws.region"),
            "{told}"
        );
    }
}

#[test]
fn options_go_before_the_document_and_the_document_before_the_environment() {
    let stub = Stub::start();
    let home = home(&format!(
        "{{ region: eu-west-3, endpoint_url: '{}', access_key: 'env:KEY', secret_key: 'env:SECRET' }}",
        stub.url
    ));
    let environment = [
        ("KEY", "AKIADOCUMENT"),
        ("SECRET", "s"),
        ("AWS_REGION", "us-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ];
    let verify = "table verify --table audit --config t.yaml";
    for (options, signed) in [
        ("", "AKIADOCUMENT eu-west-3"),
        ("--region eu-north-1", "AKIADOCUMENT eu-north-1"),
        ("--profile named", "AKIAPROFILE eu-west-3"),
    ] {
        let told = ended(run(&format!("{verify} {options}"), &home, &environment), 1);
        assert!(told.contains("table audit does not exist"), "{told}");
        assert_eq!(stub.last_signer(), signed, "{options}");
    }
    let told = ended(
        run(
            &format!("{verify} --endpoint-url http://127.0.0.1:1"),
            &home,
            &environment,
        ),
        1,
    );
    assert!(told.contains("DescribeTable on table audit failed"), "{told}");
    // A key that cannot be read is named; nobody else's is used instead.
    let told = ended(run(verify, &home, &environment[2..]), 2);
    assert!(told.contains("the secret env:KEY cannot be read"), "{told}");
    // A document without an aws section leaves all to the environment.
    std::fs::write(home.path().join("t.yaml"), DOCUMENT).unwrap();
    let mut environment = environment;
    environment[5].1 = &stub.url;
    ended(run(verify, &home, &environment), 1);
    assert_eq!(stub.last_signer(), "AKIAENVIRONMENT us-west-1");
}

#[test]
fn a_document_in_s3_or_ssm_is_read_by_the_options() {
    let stub = Stub::start();
    let home = home("{}");
    let environment = [
        ("AWS_REGION", "us-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];
    for uri in ["s3://bucket/path/tidewatch.yaml", "ssm:/tidewatch/config"] {
        let check = format!("config check --config {uri} --endpoint-url {}", stub.url);
        ended(run(&check, &home, &environment), 0);
        assert_eq!(stub.last_signer(), "AKIAENVIRONMENT us-west-1");
        ended(
            run(
                &format!("{check} --region eu-west-3 --profile named"),
                &home,
                &environment,
            ),
            0,
        );
        assert_eq!(stub.last_signer(), "AKIAPROFILE eu-west-3");
        // For a command that asks AWS the document's section is then laid under the same options.
        let verify = format!(
            "table verify --table audit --config {uri} --endpoint-url {}",
            stub.url
        );
        let told = ended(run(&verify, &home, &environment), 1);
        assert!(told.contains("table audit does not exist"), "{told}");
        assert_eq!(stub.last_signer(), "AKIAENVIRONMENT eu-south-2");
    }
    let closed = "config check --config ssm:/tidewatch/config --endpoint-url http://127.0.0.1:1";
    let told = ended(run(closed, &home, &environment), 1);
    assert!(told.contains("ssm:/tidewatch/config cannot be read"), "{told}");
}

#[test]
fn a_profile_that_is_named_goes_before_keys_in_the_environment() {
    let stub = Stub::start();
    let home = home("{ profile: named, region: eu-west-3 }");
    let environment = [
        ("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];
    // The second address is this machine's too, but not one that stands for a local engine.
    for url in [stub.url.clone(), stub.url.replace("127.0.0.1", "0.0.0.0")] {
        for named in ["--config t.yaml", "--profile named --region eu-west-3"] {
            let verify = format!("table verify --table audit --endpoint-url {url} {named}");
            ended(run(&verify, &home, &environment), 1);
            assert_eq!(stub.last_signer(), "AKIAPROFILE eu-west-3", "{verify}");
        }
    }
}

#[test]
fn an_option_that_a_command_would_ignore_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let print = "table print --kind state --table teleport --format terraform";
    for (arguments, text) in [
        ("up --once --table t", "`tidewatch up` takes no --table:"),
        ("--region eu-west-1 up", "`tidewatch up` takes no --region:"),
        (
            "up --profile p --endpoint-url http://127.0.0.1:1 --config c.yaml",
            "takes no --config, --profile, --endpoint-url:",
        ),
        (
            "completions bash --table t --json",
            "{\"error\":\"`tidewatch completions` takes no --table, --json:",
        ),
        ("config schema --region r", "takes no --region:"),
        ("config check --table t", "takes no --table:"),
        (
            &format!("{print} --config /nonexistent"),
            "`tidewatch table print` takes no --config:",
        ),
    ] {
        let output = run(arguments, &home, &[]);
        assert!(output.stdout.is_empty(), "{output:?}");
        let told = ended(output, 2);
        assert!(told.contains(text), "{arguments}: {told}");
    }
    // What the environment names is for the commands that use it.
    let environment = [("TIDEWATCH_CONFIG", "/nonexistent")];
    for arguments in [
        "up --once --events 200",
        "completions bash",
        "config schema",
        print,
    ] {
        ended(run(arguments, &home, &environment), 0);
    }
    let told = ended(run("up --config /nonexistent", &home, &environment), 2);
    assert!(told.contains("takes no --config:"), "{told}");
}

fn teleport_home(storage: &str) -> tempfile::TempDir {
    let home = home("{}");
    let text = format!("version: v3\nteleport:\n  storage: {storage}\nauth_service: {{ enabled: yes }}\n");
    std::fs::write(home.path().join("teleport.yaml"), text).unwrap();
    home
}

#[test]
fn teleports_own_file_is_checked_too() {
    let check = "config check --config teleport.yaml";
    let home = teleport_home("{ type: dynamodb, table_name: teleport, retry_period: 10000000000 }");
    // What overrides a document of ours does not override Teleport's.
    let good = run(check, &home, &[("TIDEWATCH_QUARANTINE", "nowhere")]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert_eq!(
        String::from_utf8(good.stdout).unwrap(),
        "in order: state table teleport, layout teleport\n"
    );
    let report = run(&format!("{check} --json"), &home, &[]).stdout;
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(
        report,
        serde_json::json!({"valid": true, "table": "teleport", "layout": "teleport"})
    );

    let home = teleport_home("{ type: dynamodb, billing_mode: free, buffer_size: lots }");
    let told = ended(run(check, &home, &[]), 2);
    for text in [
        "3 fault(s)",
        "teleport.yaml:3:44: teleport.storage.billing_mode: ",
        "teleport.yaml:3:63: teleport.storage.buffer_size: ",
        "teleport.storage.table_name: is not specified",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
}

#[test]
fn teleports_own_file_says_how_aws_is_reached() {
    let stub = Stub::start();
    let home = teleport_home(&format!(
        "{{ type: dynamodb, table_name: teleport, region: eu-west-3, endpoint: '{}', access_key: AKIATELEPORT, \
         secret_key: hush-hush }}",
        stub.url
    ));
    let verify = "table verify --table teleport --config teleport.yaml";
    for (options, signed) in [
        ("", "AKIATELEPORT eu-west-3"),
        ("--region eu-north-1", "AKIATELEPORT eu-north-1"),
        ("--profile named", "AKIAPROFILE eu-west-3"),
    ] {
        let told = ended(run(&format!("{verify} {options}"), &home, &[]), 1);
        assert!(told.contains("table teleport does not exist"), "{told}");
        assert!(
            told.contains(
                "teleport.storage.access_key or teleport.storage.secret_key stands in the configuration"
            ),
            "{told}"
        );
        assert!(
            !told.contains("AKIATELEPORT") && !told.contains("hush-hush"),
            "{told}"
        );
        assert_eq!(stub.last_signer(), signed, "{options}");
    }
}
