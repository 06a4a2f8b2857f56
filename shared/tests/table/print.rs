//! What is printed, byte for byte. `TIDEWATCH_BLESS=1 cargo test … print` rewrites the golden files: read the diff.

use std::path::Path;

use tidewatch::table::{Billing, Format, Kind, Spec, print};

fn plain() -> Spec {
    Spec::new(Kind::State, "teleport").unwrap()
}

fn full() -> Spec {
    Spec::new(Kind::Audit, "teleport.audit")
        .unwrap()
        .with_billing(Billing::Provisioned { rcu: 5, wcu: 6 })
        .unwrap()
        .with_kms_key("alias/teleport")
        .unwrap()
        .with_recovery(true)
        .with_protection(true)
        .with_tag("team", "it's \"ours\": ${a}")
        .unwrap()
        .with_tag("x", "")
        .unwrap()
}

#[test]
fn formats() {
    let partitioned = Spec::new(Kind::Partitioned, "state")
        .unwrap()
        .with_billing(Billing::Provisioned { rcu: 5, wcu: 5 })
        .unwrap();
    let log = Spec::new(Kind::WatchLog, "watch").unwrap().with_protection(true);
    for (name, spec) in [
        ("state", plain()),
        ("audit", full()),
        ("partitioned", partitioned),
        ("watch-log", log),
    ] {
        for (format, extension) in [
            (Format::AwsCli, "sh"),
            (Format::Terraform, "tf"),
            (Format::Cloudformation, "yaml"),
        ] {
            let file = format!(
                "{}/tests/golden/table/{name}.{extension}",
                env!("CARGO_MANIFEST_DIR")
            );
            let printed = print(&spec, format);
            if std::env::var_os("TIDEWATCH_BLESS").is_some() {
                std::fs::write(Path::new(&file), &printed).unwrap();
            }
            let golden = std::fs::read_to_string(&file).unwrap();
            assert_eq!(printed, golden, "{file}");
        }
    }
}

#[test]
fn the_default_alias_is_not_sent() {
    let spec = plain().with_kms_key("alias/aws/dynamodb").unwrap();
    for format in [Format::AwsCli, Format::Terraform, Format::Cloudformation] {
        let printed = print(&spec, format);
        assert!(!printed.contains("alias/aws/dynamodb"), "{printed}");
        assert!(
            printed.contains("KMS") || printed.contains("server_side_encryption"),
            "{printed}"
        );
    }
}

#[test]
fn terraform_looks_up_what_is_not_an_arn() {
    let arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let printed = print(&plain().with_kms_key(arn).unwrap(), Format::Terraform);
    assert!(printed.contains(&format!("kms_key_arn = \"{arn}\"")), "{printed}");
    assert!(!printed.contains("data "), "{printed}");
}
