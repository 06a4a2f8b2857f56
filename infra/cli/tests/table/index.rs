//! `tidewatch table index`.

use super::machine::Machine;

/// A lease of Teleport's, renewed.
async fn lease(client: &aws_sdk_dynamodb::Client, n: usize, expires: usize) {
    use aws_sdk_dynamodb::types::AttributeValue::{N, S};
    let put = client
        .put_item()
        .table_name("bare")
        .item("HashKey", S("teleport".to_owned()))
        .item("FullPath", S(format!("/nodes/{n}")))
        .item("Expires", N(expires.to_string()));
    put.send().await.unwrap();
}

#[tokio::test]
async fn an_index_on_an_attached_table_is_measured_first_and_added_only_if_told() {
    let machine = Machine::start().await;
    machine.bare_state("bare").await;
    let client = machine.client();
    for n in 0..20 {
        lease(&client, n, 1_000).await;
    }
    let renewing = tokio::spawn(async move {
        for round in 1.. {
            for n in 0..5 {
                lease(&client, n, 1_000 + round).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let shown = machine.run("index --table bare --apart 3s").await.expect(0);
    // What reading costs comes before anything is read.
    assert!(
        shown.err.contains("up to 5000 read units, 50 a second, $0.001"),
        "{}",
        shown.err
    );
    for text in [
        "looked at 20 items, 20 of them with an expiry",
        "5 renewed, 0 rewritten, 0 new, 0 gone",
        "writes a second",
        "a month without storage",
        "1000 writes a second",
        "DynamoDB refuses to the table",
        "no index was added; with --add it is",
    ] {
        assert!(shown.out.contains(text), "{text}: {}", shown.out);
    }
    let report = machine
        .run("index --table bare --apart 3s --json")
        .await
        .expect(0)
        .json();
    assert_eq!(report["measured"]["renewed"], 5);
    assert_eq!(report["would_add"]["entries"], 20);
    assert_eq!(report["added"], false);
    renewing.abort();
    // --yes answers a question that is not asked without --add.
    machine.run("index --table bare --apart 1s --yes").await.expect(0);
    let indexes = async || {
        let table = machine.client().describe_table().table_name("bare").send().await;
        table.unwrap().table.unwrap().global_secondary_indexes().len()
    };
    let refused = machine.run("index --table bare --apart 1s --add").await.expect(4);
    assert!(refused.err.contains("no terminal to ask on"), "{}", refused.err);
    assert_eq!(indexes().await, 0);

    let added = machine
        .run("index --table bare --apart 1s --add --yes")
        .await
        .expect(0);
    assert!(added.err.contains("the risk:"), "{}", added.err);
    assert!(
        added.out.starts_with("added index expiry on table bare"),
        "{}",
        added.out
    );
    assert_eq!(indexes().await, 1);
    let again = machine.run("index --table bare --add --yes").await.expect(2);
    assert!(again.err.contains("has an index expiry already"), "{}", again.err);
    // It stays a table of Teleport's.
    let verified = machine.run("verify --table bare").await.expect(3);
    assert!(
        verified
            .out
            .contains("index expiry, which such a table need not have"),
        "{}",
        verified.out
    );

    machine
        .run("create --kind partitioned --table ours --yes")
        .await
        .expect(0);
    let ours = machine.run("index --table ours").await.expect(2);
    assert!(ours.err.contains("from its creation"), "{}", ours.err);
}
