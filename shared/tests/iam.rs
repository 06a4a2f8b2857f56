//! The policies, byte for byte. `TIDEWATCH_BLESS=1 cargo test … --test iam` rewrites the golden files: read the diff.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use serde_json::Value;
use tidewatch::iam::{Access, Form, MaintainAccess, WatchAccess, WatchRole};
use tidewatch::table::Kind;

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn access(kind: Kind, form: Form) -> Access {
    Access {
        kind,
        table: "teleport.state".to_owned(),
        region: Some("eu-west-1".to_owned()),
        account: Some("111122223333".to_owned()),
        form,
        kms_key: None,
        auto_scaling: false,
    }
}

fn watch(role: WatchRole) -> WatchAccess {
    WatchAccess {
        role,
        log: "teleport.watch".to_owned(),
        state: "teleport.state".to_owned(),
        region: Some("eu-west-1".to_owned()),
        account: Some("111122223333".to_owned()),
        kms_key: None,
    }
}

fn maintain(kind: Kind, log: Option<&str>) -> MaintainAccess {
    MaintainAccess {
        kind,
        state: "teleport.state".to_owned(),
        index: false,
        log: log.map(str::to_owned),
        region: Some("eu-west-1".to_owned()),
        account: Some("111122223333".to_owned()),
        kms_key: None,
    }
}

/// Nothing is created or changed but items, and no transaction touches an attached table.
#[test]
fn the_tasks_work_on_items_alone() {
    for kind in [Kind::State, Kind::Partitioned] {
        let policy = serde_json::to_value(maintain(kind, Some("teleport.watch")).policy().unwrap()).unwrap();
        for action in all(&policy, "Action") {
            let (_, action) = action.split_once(':').unwrap();
            let reads = ["Describe", "Get", "Query", "BatchGet"];
            let writes = ["PutItem", "UpdateItem", "DeleteItem"];
            assert!(
                writes.contains(&action) || reads.iter().any(|read| action.starts_with(read)),
                "{action}"
            );
        }
        let indexes = all(&policy, "Resource");
        let indexes: Vec<_> = indexes.iter().filter(|arn| arn.contains("/index/")).collect();
        assert_eq!(
            indexes.len(),
            usize::from(kind == Kind::Partitioned),
            "{indexes:?}"
        );
        assert!(!all(&policy, "Resource").contains(&"*".to_owned()));
    }
    for kind in [Kind::Audit, Kind::WatchLog] {
        assert!(maintain(kind, None).policy().is_err());
    }
    let insisted = MaintainAccess {
        index: true,
        ..maintain(Kind::State, None)
    };
    let insisted = serde_json::to_value(insisted.policy().unwrap()).unwrap();
    let of_index = |arn: &String| arn.ends_with(":table/teleport.state/index/expiry");
    assert_eq!(
        all(&insisted, "Resource")
            .iter()
            .filter(|arn| of_index(arn))
            .count(),
        1
    );
    let swapped = MaintainAccess {
        log: Some("x".to_owned()),
        ..maintain(Kind::State, None)
    };
    assert!(swapped.policy().unwrap_err().to_string().contains("table name"));
}

/// A watcher of the log has no right to the table whose changes it holds, nor to write.
#[test]
fn a_watcher_of_the_log_reads_the_log_alone() {
    let policy = serde_json::to_value(watch(WatchRole::Read).policy().unwrap()).unwrap();
    assert_eq!(all(&policy, "Action"), ["dynamodb:GetItem", "dynamodb:Query"]);
    let log = "arn:aws:dynamodb:eu-west-1:111122223333:table/teleport.watch";
    assert_eq!(all(&policy, "Resource"), [log]);
    let append = serde_json::to_value(watch(WatchRole::Append).policy().unwrap()).unwrap();
    let table = "arn:aws:dynamodb:eu-west-1:111122223333:table/teleport.state".to_owned();
    assert!(!all(&append, "Resource").contains(&table));
    assert!(
        WatchAccess {
            log: "x".to_owned(),
            ..watch(WatchRole::Append)
        }
        .policy()
        .is_err()
    );
}

fn json(access: &Access) -> Value {
    serde_json::to_value(access.policy().unwrap()).unwrap()
}

/// Every text anywhere in a statement's field of all statements.
fn all(policy: &Value, field: &str) -> Vec<String> {
    let statements = policy["Statement"].as_array().unwrap();
    let texts = statements
        .iter()
        .flat_map(|statement| statement[field].as_array().unwrap());
    texts.map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn policies_are_as_they_were_reviewed() {
    let full = |kind| Access {
        kms_key: Some(KEY.to_owned()),
        auto_scaling: true,
        ..access(kind, Form::Create)
    };
    let cases = [
        ("teleport-use-existing", access(Kind::State, Form::UseExisting)),
        ("partitioned-create-full", full(Kind::Partitioned)),
        ("audit-create", access(Kind::Audit, Form::Create)),
        ("watch-log-create", access(Kind::WatchLog, Form::Create)),
    ];
    let tables = cases.map(|(name, access)| (name, access.policy().unwrap()));
    let keyed = WatchAccess {
        kms_key: Some(KEY.to_owned()),
        ..watch(WatchRole::Append)
    };
    let watches = [
        ("watch-append", keyed),
        ("watch-log", watch(WatchRole::Read)),
        ("watch-stream", watch(WatchRole::Stream)),
    ];
    let watches = watches.map(|(name, access)| (name, access.policy().unwrap()));
    let swept = MaintainAccess {
        kms_key: Some(KEY.to_owned()),
        ..maintain(Kind::Partitioned, Some("teleport.watch"))
    };
    let tasks = [
        ("maintain-teleport", maintain(Kind::State, Some("teleport.watch"))),
        ("maintain-partitioned", swept),
    ];
    let tasks = tasks.map(|(name, access)| (name, access.policy().unwrap()));
    for (name, policy) in tables.into_iter().chain(watches).chain(tasks) {
        let file = format!("{}/tests/golden/iam/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let printed = format!("{}\n", serde_json::to_string_pretty(&policy).unwrap());
        if std::env::var_os("TIDEWATCH_BLESS").is_some() {
            std::fs::write(Path::new(&file), &printed).unwrap();
        }
        assert_eq!(printed, std::fs::read_to_string(&file).unwrap(), "{file}");
    }
}

#[test]
fn nothing_is_allowed_on_everything_and_no_action_is_a_pattern() {
    for kind in Kind::ALL {
        for form in [Form::Create, Form::UseExisting] {
            let access = Access {
                kms_key: Some(KEY.to_owned()),
                auto_scaling: !matches!(kind, Kind::Audit | Kind::WatchLog),
                ..access(kind, form)
            };
            let policy = json(&access);
            assert!(!all(&policy, "Action").iter().any(|action| action.contains('*')));
            for resource in all(&policy, "Resource") {
                let named = resource.contains("teleport.state") || resource == KEY;
                assert!(
                    named || resource.contains("scalable-target/") || resource.contains("/aws-service-role/"),
                    "{resource}"
                );
                assert!(resource.contains("111122223333"), "{resource}");
            }
            // IAM wants statement ids that are unique.
            let mut ids: Vec<_> = policy["Statement"]
                .as_array()
                .unwrap()
                .iter()
                .map(|statement| statement["Sid"].to_string())
                .collect();
            let count = ids.len();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), count);
        }
    }
}

#[test]
fn an_existing_table_is_not_changed() {
    for kind in Kind::ALL {
        for action in all(&json(&access(kind, Form::UseExisting)), "Action") {
            assert!(
                !action.contains("Create") && !action.contains("UpdateT") && !action.contains("Tag"),
                "{action}"
            );
        }
    }
    // But for its capacity, which Application Auto Scaling checks.
    let scaled = Access {
        auto_scaling: true,
        ..access(Kind::State, Form::UseExisting)
    };
    assert!(all(&json(&scaled), "Action").contains(&"dynamodb:UpdateTable".to_owned()));
}

#[test]
fn indexes_are_allowed_where_there_are_any() {
    let query = |kind| {
        all(&json(&access(kind, Form::UseExisting)), "Resource")
            .iter()
            .any(|resource| resource.ends_with(":table/teleport.state/index/*"))
    };
    assert!(query(Kind::Audit) && query(Kind::Partitioned) && !query(Kind::State));
}

#[test]
fn what_is_not_said_is_a_wildcard_or_taken_from_the_key() {
    let open = Access {
        region: None,
        account: None,
        ..access(Kind::State, Form::UseExisting)
    };
    assert_eq!(
        all(&json(&open), "Resource")[0],
        "arn:aws:dynamodb:*:*:table/teleport.state"
    );
    let keyed = Access {
        kms_key: Some(KEY.to_owned()),
        ..open
    };
    let policy = json(&keyed);
    assert_eq!(
        all(&policy, "Resource")[0],
        "arn:aws:dynamodb:eu-west-1:*:table/teleport.state"
    );
    let key = &policy["Statement"].as_array().unwrap().last().unwrap();
    assert_eq!(
        key["Condition"]["StringEquals"]["kms:ViaService"],
        "dynamodb.eu-west-1.amazonaws.com"
    );
    let partition = |region: &str| {
        let access = Access {
            region: Some(region.to_owned()),
            ..access(Kind::State, Form::UseExisting)
        };
        all(&json(&access), "Resource")[0].clone()
    };
    assert!(partition("us-gov-west-1").starts_with("arn:aws-us-gov:dynamodb:us-gov-west-1:"));
    assert!(partition("cn-north-1").starts_with("arn:aws-cn:dynamodb:cn-north-1:"));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let with = |change: fn(&mut Access)| {
        let mut access = access(Kind::State, Form::Create);
        change(&mut access);
        access.policy().unwrap_err().to_string()
    };
    for (told, text) in [
        (with(|access| access.table = "*".to_owned()), "table name \"*\""),
        (
            with(|access| access.region = Some("*".to_owned())),
            "region \"*\"",
        ),
        (
            with(|access| access.account = Some("*".to_owned())),
            "account \"*\"",
        ),
        (
            with(|access| access.kms_key = Some("alias/teleport".to_owned())),
            "a policy needs its ARN",
        ),
        (
            with(|access| access.kms_key = Some("arn:aws:kms:eu-west-1:111122223333:key/*".to_owned())),
            "a policy needs its ARN",
        ),
        (
            with(|access| access.kms_key = Some(KEY.replace("eu-west-1", "eu-west-2"))),
            "KMS key's region",
        ),
        (
            with(|access| (access.kind, access.auto_scaling) = (Kind::Audit, true)),
            "auto scaling",
        ),
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
}
