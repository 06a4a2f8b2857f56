//! `tidewatch table index`.

use super::machine::{Ended, Machine};

/// A lease of Teleport's, renewed.
async fn lease(client: &aws_sdk_dynamodb::Client, table: &str, n: usize, expires: usize) {
    use aws_sdk_dynamodb::types::AttributeValue::{N, S};
    let put = client
        .put_item()
        .table_name(table)
        .item("HashKey", S("teleport".to_owned()))
        .item("FullPath", S(format!("teleport/nodes/{n}")))
        .item("Revision", S(format!("of-{n}")))
        .item("Expires", N(expires.to_string()));
    put.send().await.unwrap();
}

/// An index that somebody added by hand.
async fn index(client: &aws_sdk_dynamodb::Client, table: &str) {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate, KeySchemaElement,
        KeyType, Projection, ProjectionType, ScalarAttributeType,
    };
    let key = |name, role| KeySchemaElement::builder().attribute_name(name).key_type(role);
    let attribute = |name, kind| {
        let attribute = AttributeDefinition::builder().attribute_name(name);
        attribute.attribute_type(kind).build().unwrap()
    };
    let keys_only = Projection::builder().projection_type(ProjectionType::KeysOnly);
    let create = CreateGlobalSecondaryIndexAction::builder()
        .index_name("expiry")
        .key_schema(key("HashKey", KeyType::Hash).build().unwrap())
        .key_schema(key("Expires", KeyType::Range).build().unwrap())
        .projection(keys_only.build());
    let update = GlobalSecondaryIndexUpdate::builder().create(create.build().unwrap());
    let added = client
        .update_table()
        .table_name(table)
        .attribute_definitions(attribute("HashKey", ScalarAttributeType::S))
        .attribute_definitions(attribute("FullPath", ScalarAttributeType::S))
        .attribute_definitions(attribute("Expires", ScalarAttributeType::N))
        .global_secondary_index_updates(update.build());
    added.send().await.unwrap();
}

#[tokio::test]
async fn what_an_index_on_an_attached_table_would_add_is_measured() {
    let machine = Machine::start().await;
    machine.bare_state("bare").await;
    let client = machine.client();
    for n in 0..20 {
        lease(&client, "bare", n, 1_000).await;
    }
    let clock = tidewatch::clock::Clock::system();
    let renewing = tokio::spawn(async move {
        for round in 1.. {
            for n in 0..5 {
                lease(&client, "bare", n, 1_000 + round).await;
            }
            clock.sleep(std::time::Duration::from_millis(50)).await;
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
        "no index was added: `expire` finds",
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
    let table = machine.client().describe_table().table_name("bare").send().await;
    let table = table.unwrap().table.unwrap();
    assert!(table.global_secondary_indexes().is_empty(), "{table:?}");
}

/// A task, over the table `bare`.
async fn task(machine: &Machine, line: &str, index: bool) -> Ended {
    let document = machine.home().join("tidewatch.yaml");
    let text =
        format!("maintain: {{ state: {{ table: bare, layout: teleport }}, expire: {{ index: {index} }} }}\n");
    std::fs::write(&document, text).unwrap();
    let (document, url) = (document.display(), machine.url());
    machine
        .bare(&format!(
            "maintain {line} --config {document} --endpoint-url {url}"
        ))
        .await
}

/// `expire` of a document finds by the index what is due, and `verify` misses it where it is not.
#[tokio::test]
async fn an_operator_may_insist_on_it() {
    let machine = Machine::start().await;
    machine.bare_state("bare").await;
    let client = machine.client();
    for n in 0..3 {
        lease(&client, "bare", n, 1_000).await;
    }
    lease(&client, "bare", 4, 4_000_000_000).await;
    let unanswered = machine.run("index --table bare --apart 1s --add").await.expect(4);
    assert!(
        unanswered.err.contains("nothing was changed"),
        "{}",
        unanswered.err
    );
    let missed = task(&machine, "verify", true).await.expect(3);
    assert!(missed.out.contains("no index expiry"), "{}", missed.out);

    let added = machine
        .run("index --table bare --apart 1s --add --yes")
        .await
        .expect(0);
    for text in [
        "added index expiry to bare",
        "aws dynamodb update-table --table-name bare",
    ] {
        assert!(added.out.contains(text), "{}", added.out);
    }
    assert!(added.err.contains("the risk:"), "{}", added.err);
    let table = machine.client().describe_table().table_name("bare").send().await;
    let table = table.unwrap().table.unwrap();
    let [index] = table.global_secondary_indexes() else {
        panic!("{table:?}")
    };
    assert_eq!(index.index_name(), Some("expiry"));
    let included = index.projection().unwrap().non_key_attributes();
    assert_eq!(included, ["Revision"]);

    let there = task(&machine, "verify", true).await;
    assert!(!there.out.contains("index expiry"), "{}", there.out);
    let swept = task(&machine, "expire --yes --json", true).await;
    let swept = swept.expect(0).json();
    let report = &swept["report"];
    assert_eq!(report["found_by"], "index", "{swept}");
    assert_eq!(report["deleted"], 3, "{swept}");
}

/// All leases at once are more than one write unit a second.
#[tokio::test]
async fn where_it_throttles_the_owner_insisting_is_due() {
    let machine = Machine::start().await;
    machine
        .run("create --kind state --table small --billing provisioned --rcu 5 --wcu 1 --yes")
        .await
        .expect(0);
    let client = machine.client();
    for n in 0..60 {
        lease(&client, "small", n, 4_000_000_000).await;
    }
    let indexes = async || {
        let table = client.describe_table().table_name("small").send().await;
        table.unwrap().table.unwrap().global_secondary_indexes().len()
    };
    let add = "index --table small --units-per-second 50 --apart 1s --add --yes";
    let refused = machine.run(add).await.expect(4);
    assert!(refused.err.contains("say --insist"), "{}", refused.err);
    assert!(refused.out.contains("which nothing scales"), "{}", refused.out);
    assert_eq!(indexes().await, 0);
    machine.run(&format!("{add} --insist")).await.expect(0);
    assert_eq!(indexes().await, 1);
}

#[tokio::test]
async fn a_table_that_has_an_index_is_not_measured() {
    let machine = Machine::start().await;
    machine.bare_state("bare").await;
    index(&machine.client(), "bare").await;
    let refused = machine.run("index --table bare").await.expect(2);
    assert!(
        refused.err.contains("has an index expiry already"),
        "{}",
        refused.err
    );
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
