//! Buckets case by case.

use super::super::bucket::{
    Encryption, Rule, Versioning, encryption, lifecycle, public_access, tls, versioning,
};
use super::super::policy::refuses_plain;
use super::super::{Holds, Place};
use super::codes;
use crate::config::S3Location;
use crate::table::Severity::{Advice, Broken, Degraded};

fn place(holds: Holds, prefix: &str) -> Place {
    let location = S3Location {
        bucket: "b".to_owned(),
        prefix: prefix.to_owned(),
        ..S3Location::default()
    };
    Place { location, holds }
}

fn rule(prefix: &str) -> Rule {
    Rule {
        id: "r".to_owned(),
        prefix: prefix.to_owned(),
        tagged: false,
        expires: true,
        archives: None,
    }
}

#[test]
fn a_spool_keeps_no_versions_and_the_rest_does() {
    let of = |found, holds| {
        versioning(found, holds)
            .as_slice()
            .iter()
            .map(|found| found.severity)
            .next()
    };
    for (found, spool, kept) in [
        (Versioning::Never, None, Some(Advice)),
        (Versioning::On, Some(Degraded), None),
        (Versioning::Suspended, Some(Advice), Some(Advice)),
    ] {
        assert_eq!(of(found, Holds::Spool), spool, "{found:?}");
        assert_eq!(of(found, Holds::Failures), kept, "{found:?}");
        assert_eq!(of(found, Holds::Events), kept, "{found:?}");
    }
    let found = versioning(Versioning::On, Holds::Spool).unwrap();
    assert!(found.consequence.contains("readable for whoever"), "{found:?}");
}

#[test]
fn nothing_that_waits_may_expire() {
    for (prefix, hit) in [
        ("", true),
        ("sp", true),
        ("spool/", true),
        ("spool/siem/", true),
        ("spooled/", false),
        ("spool2", false),
        ("audit/", false),
    ] {
        for (holds, consequence) in [
            (Holds::Spool, "before they are delivered"),
            (Holds::Failures, "before anybody brings it back"),
        ] {
            let found = lifecycle(&[rule(prefix)], &place(holds, "spool"));
            let expected = if hit {
                vec![(Broken, "expiration")]
            } else {
                Vec::new()
            };
            assert_eq!(codes(&found), expected, "{prefix}");
            assert!(
                found.iter().all(|found| found.consequence.contains(consequence)),
                "{found:?}"
            );
        }
        // Its owner's decision.
        assert!(lifecycle(&[rule(prefix)], &place(Holds::Events, "spool")).is_empty());
    }
    // The whole bucket is the spool.
    assert_eq!(lifecycle(&[rule("any/")], &place(Holds::Spool, "")).len(), 1);
    // Ours have no tags.
    let tagged = Rule {
        tagged: true,
        ..rule("")
    };
    assert!(lifecycle(&[tagged], &place(Holds::Spool, "spool")).is_empty());
    let harmless = Rule {
        expires: false,
        ..rule("")
    };
    assert!(lifecycle(&[harmless], &place(Holds::Spool, "spool")).is_empty());
    let archived = Rule {
        expires: false,
        archives: Some("GLACIER".to_owned()),
        ..rule("")
    };
    let found = lifecycle(&[archived], &place(Holds::Spool, "spool"));
    assert_eq!(codes(&found), [(Degraded, "archive")]);
}

#[test]
fn all_four_ways_of_being_public_are_blocked() {
    assert_eq!(public_access([true; 4]), None);
    for open in 0..4 {
        let mut blocked = [true; 4];
        blocked[open] = false;
        let found = public_access(blocked).unwrap();
        assert_eq!((found.severity, found.code), (Degraded, "public-access"));
        assert!(found.found.starts_with("1 of 4"), "{}", found.found);
        assert!(found.consequence.contains("readable by anybody"), "{found:?}");
    }
}

#[test]
fn what_lambda_puts_there_is_encrypted_with_the_key_that_is_due() {
    let own = Encryption {
        algorithm: "AES256".to_owned(),
        key: None,
    };
    let with = |key: &str| Encryption {
        algorithm: "aws:kms".to_owned(),
        key: Some(key.to_owned()),
    };
    let arn = "arn:aws:kms:eu-west-1:123456789012:key/1234";
    let mut failures = place(Holds::Failures, "aws/lambda");
    assert_eq!(encryption(Some(&own), &failures), None);
    assert_eq!(encryption(None, &failures).unwrap().code, "encryption");
    failures.location.sse_kms_key = Some(arn.to_owned());
    for key in [arn, "1234"] {
        assert_eq!(encryption(Some(&with(key)), &failures), None, "{key}");
    }
    for found in [own.clone(), with("arn:aws:kms:eu-west-1:123456789012:key/9")] {
        let found = encryption(Some(&found), &failures).unwrap();
        assert_eq!(found.severity, Degraded);
        assert!(found.consequence.contains("without that key"), "{found:?}");
    }
    // What we write ourselves names its key.
    let mut spool = place(Holds::Spool, "spool");
    spool.location.sse_kms_key = Some(arn.to_owned());
    assert_eq!(encryption(Some(&own), &spool), None);
}

/// The policy of the deployment template's buckets, with parts of it changed.
fn policy(effect: &str, principal: &str, action: &str, resource: &str, condition: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"TlsOnly","Effect":"{effect}","Principal":{principal},
        "Action":{action},"Resource":{resource},"Condition":{condition}}}]}}"#
    )
}

#[test]
fn only_a_whole_refusal_of_plain_requests_counts() {
    let objects = r#"["arn:aws:s3:::b","arn:aws:s3:::b/*"]"#;
    let plain = r#"{"Bool":{"aws:SecureTransport":"false"}}"#;
    let good = policy("Deny", r#""*""#, r#""s3:*""#, objects, plain);
    assert!(refuses_plain(&good, "b"));
    assert_eq!(tls(Some(&good), "b"), None);
    assert!(refuses_plain(
        &policy(
            "Deny",
            r#"{"AWS":"*"}"#,
            r#"["s3:*"]"#,
            r#""*""#,
            r#"{"Bool":{"aws:SecureTransport":["false"]}}"#
        ),
        "b"
    ));
    let lone = good
        .replace("\"Statement\":[", "\"Statement\":")
        .replace("}]}", "}}");
    assert!(refuses_plain(&lone, "b"), "{lone}");
    for other in [
        policy("Allow", r#""*""#, r#""s3:*""#, objects, plain),
        policy(
            "Deny",
            r#"{"AWS":"arn:aws:iam::123456789012:root"}"#,
            r#""s3:*""#,
            objects,
            plain,
        ),
        policy("Deny", r#""*""#, r#""s3:PutObject""#, objects, plain),
        policy("Deny", r#""*""#, r#""s3:*""#, r#""arn:aws:s3:::b""#, plain),
        policy("Deny", r#""*""#, r#""s3:*""#, r#""arn:aws:s3:::other/*""#, plain),
        policy(
            "Deny",
            r#""*""#,
            r#""s3:*""#,
            objects,
            r#"{"Bool":{"aws:SecureTransport":"true"}}"#,
        ),
        policy(
            "Deny",
            r#""*""#,
            r#""s3:*""#,
            objects,
            r#"{"Bool":{"aws:SecureTransport":"false"},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#,
        ),
        "{}".to_owned(),
        "not JSON".to_owned(),
    ] {
        assert!(!refuses_plain(&other, "b"), "{other}");
    }
    let found = tls(None, "b").unwrap();
    assert_eq!((found.severity, found.code), (Degraded, "tls"));
}
