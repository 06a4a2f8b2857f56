//! `tidewatch audit gaps`.

use serde_json::json;

use crate::{TABLE, attribute, machine, record, row};

#[tokio::test]
async fn what_a_sink_has_not_is_listed_and_brought_back() {
    let machine = machine(0..10).await;
    let home = machine.home();
    let document = format!(
        "quarantine: file://{0}/quarantine\nspool: file://{0}/spool\nsinks:\n  \
         a: {{ uri: 'file://{0}/a' }}\n  out: {{ uri: 'stdout://' }}\n",
        home.display()
    );
    std::fs::write(home.join("tidewatch.yaml"), document).unwrap();
    let run = async |arguments: &str| {
        let line = format!(
            "audit {arguments} --table {TABLE} --endpoint-url {} --config {}/tidewatch.yaml",
            machine.url(),
            home.display()
        );
        machine.bare(&line).await
    };
    // Events 0 to 6, then 8.
    run("backfill --from 2026-11-20T10:00:00Z --to 2026-11-20T17:00:00Z --sink a")
        .await
        .expect(0);
    run("backfill --from 2026-11-20T18:00:00Z --to 2026-11-20T19:00:00Z --sink a")
        .await
        .expect(0);
    std::fs::create_dir_all(home.join("spool/a")).unwrap();
    std::fs::write(home.join("spool/a/0009-x.ndjson"), format!("{}\n", record(9, 9))).unwrap();

    let gaps = "gaps --from 2026-11-20 --to 2026-11-20 --sink a";
    let text = run(gaps).await.expect(3);
    assert!(
        text.out
            .contains("missing  2026-11-20T17:00:00Z  s7/0  00000000-0000-4000-8000-000000000007:")
            && text.out.contains("gaps: a lacks 1 events"),
        "{}",
        text.out
    );
    let json = run(&format!("{gaps} --json")).await.expect(3).json();
    assert_eq!(
        (
            &json["events"],
            &json["delivered"],
            &json["spooled"],
            &json["missing"]
        ),
        (&json!(10), &json!(8), &json!(1), &json!(1))
    );
    assert_eq!(json["gaps"][0]["session_id"], "s7");
    assert_eq!(json["days"]["2026-11-20"]["missing"], 1);
    run("backfill --from 2026-11-20T17:00:00Z --to 2026-11-20T18:00:00Z --sink a")
        .await
        .expect(0);
    let none = run(gaps).await.expect(0);
    assert!(none.out.contains("no gaps: a lacks nothing"), "{}", none.out);

    let counts = run("gaps --from 2026-11-20 --to 2026-11-20 --sink out")
        .await
        .expect(0);
    assert!(
        counts.out.contains("what out holds cannot be read"),
        "{}",
        counts.out
    );
    let unknown = run("gaps --from 2026-11-20 --sink b").await.expect(2);
    assert!(
        unknown.err.contains("no sink b; it has a, out"),
        "{}",
        unknown.err
    );

    // A row without an id may be one that the sink has, or lacks.
    let mut request = machine.client().put_item().table_name(TABLE);
    for (name, json) in row(20).as_object().unwrap() {
        request = request.item(name, attribute(json));
    }
    let broken = aws_sdk_dynamodb::types::AttributeValue::S("no map".to_owned());
    request.item("FieldsMap", broken).send().await.unwrap();
    for sink in ["a", "out"] {
        let unknown = run(&format!("gaps --from 2026-11-20 --to 2026-11-21 --sink {sink}"))
            .await
            .expect(3);
        assert!(
            unknown.out.contains("1 rows cannot be read") && !unknown.out.contains("no gaps"),
            "{}",
            unknown.out
        );
    }
}
