//! Secrets are read from where they are, and shown nowhere.

use tidewatch::config::{Config, Secret};

#[test]
fn a_literal_key_is_accepted_and_shown_nowhere() {
    let text = "quarantine: file:///a\nsinks: { out: { uri: 'stdout://' } }\naws: { access_key: AKIAEXAMPLE, secret_key: hunter2hunter2 }";
    let config = Config::parse(text, "t", []).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(
        !shown.contains("AKIAEXAMPLE") && !shown.contains("hunter2"),
        "{shown}"
    );
    assert!(config.aws.access_key.as_ref().unwrap().is_literal());
    let named: Secret = "env:NAME".parse().unwrap();
    assert_eq!(format!("{named:?}"), "env:NAME");
}

#[tokio::test]
async fn secrets_are_read_from_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, " the key \r\n").unwrap();
    for scheme in ["file:", "file://"] {
        let secret: Secret = format!("{scheme}{}", path.display()).parse().unwrap();
        assert_eq!(secret.read().await.unwrap(), " the key ");
    }
    let secret: Secret = "env:PATH".parse().unwrap();
    assert_eq!(secret.read().await.unwrap(), std::env::var("PATH").unwrap());
    let secret: Secret = "env:TIDEWATCH_NO_SUCH_VARIABLE".parse().unwrap();
    assert!(
        secret
            .read()
            .await
            .unwrap_err()
            .to_string()
            .contains("env:TIDEWATCH_NO_SUCH_VARIABLE")
    );
}
