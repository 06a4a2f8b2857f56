//! Every operation with somebody else's credentials, for `.ci/iam`, which gives them exactly the policy that
//! `tidewatch iam policy` prints. Without `TIDEWATCH_POLICY_ENDPOINT` there is nobody to ask, and the test says so.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::TryStreamExt;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{
    Backend, Condition, ConditionalAction, Item, Key, Layout, Lease, LockConfiguration, Partitioned, Range,
};

#[tokio::test]
async fn policy_allows_every_operation() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let endpoint = variable("TIDEWATCH_POLICY_ENDPOINT");
    if endpoint.is_empty() {
        eprintln!("SKIPPED: policy_allows_every_operation needs .ci/iam");
        return;
    }
    let layout = match variable("TIDEWATCH_POLICY_LAYOUT").as_str() {
        "teleport" => Layout::Teleport,
        _ => Layout::Partitioned(Partitioned::default()),
    };
    let client = Client::from_conf(
        aws_sdk_dynamodb::Config::builder()
            .behavior_version_latest()
            .endpoint_url(endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(
                variable("TIDEWATCH_POLICY_ACCESS_KEY"),
                variable("TIDEWATCH_POLICY_SECRET_KEY"),
                None,
                None,
                "test",
            ))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build(),
    );
    let mut config = crate::engine::config(&variable("TIDEWATCH_POLICY_TABLE"), layout.clone());
    config.operation_timeout = Duration::from_secs(10);
    // Point-in-time recovery is asked for with the right to create only.
    config.continuous_backups = variable("TIDEWATCH_POLICY_FORM") == "create";
    let (clock, random) = (Clock::system(), Random::system());
    let backend = Backend::with_client(&client, config, clock.clone(), random)
        .await
        .unwrap();
    every_operation(&backend, &clock).await;
    if let Layout::Partitioned(_) = layout {
        batch_get(&client, &backend).await;
    }
}

async fn every_operation(backend: &Backend, clock: &Clock) {
    // A run that was refused half-way leaves what it had written.
    let home = Key::new([Random::system().uuid().to_string()]);
    let [a, b, c, n] = ["a", "b", "c", "n"].map(|part| home.join(part));
    let later = clock.now() + Duration::from_secs(3600);
    backend.put(&Item::new(&a, "1")).await.unwrap();
    backend.create(&Item::new(&b, "1").expiring(later)).await.unwrap();
    backend.update(&Item::new(&a, "2")).await.unwrap();
    let swapped = backend
        .compare_and_swap(&Item::new(&a, "2"), &Item::new(&a, "3"))
        .await;
    let updated = Item::new(&a, "4").at(swapped.unwrap().revision);
    let lease = backend.conditional_update(&updated).await.unwrap();
    assert_eq!(backend.get(&a).await.unwrap().value, b"4");
    let all: Vec<Item> = backend
        .items(Range::prefix(&home).into())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        (all.len(), backend.count(&Range::prefix(&home)).await.unwrap()),
        (2, 2)
    );
    let held = Lease {
        key: b.clone(),
        revision: backend.get(&b).await.unwrap().revision,
    };
    backend
        .keep_alive(&held, later + Duration::from_secs(1))
        .await
        .unwrap();
    backend.keep_alive_unchecked(&b, later).await.unwrap();
    let actions = [
        ConditionalAction::put(Item::new(&c, "1"), Condition::NotExists),
        ConditionalAction::check(&a, Condition::Revision(lease.revision.clone())),
        ConditionalAction::delete(&b, Condition::Exists),
    ];
    backend.atomic_write(&actions).await.unwrap();
    backend.conditional_delete(&a, &lease.revision).await.unwrap();
    backend.delete(&c).await.unwrap();
    let lock = LockConfiguration::new([home.to_string()], Duration::from_secs(30)).fenced();
    let guard = backend.acquire_lock(&lock).await.unwrap();
    guard.refresh().await.unwrap();
    guard.release().await.unwrap();
    let slot = backend.semaphore(lock, 2).acquire().await.unwrap();
    slot.release().await.unwrap();
    let many: Vec<Item> = (0..30).map(|i| Item::new(n.join(&i.to_string()), "x")).collect();
    backend.put_batch(&many).await.all().unwrap();
    backend.delete_batch(&[n.join("0")]).await.all().unwrap();
    assert_eq!(
        backend.delete_range(&Range::prefix(n.join(""))).await.unwrap(),
        29
    );
}

/// What a batch of unknown outcome is settled by.
async fn batch_get(client: &Client, backend: &Backend) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let key = [("Part", "default#0"), ("Key", "/a")].map(|(name, value)| (name.to_owned(), text(value)));
    let wanted = KeysAndAttributes::builder()
        .keys(key.into())
        .consistent_read(true)
        .build()
        .unwrap();
    client
        .batch_get_item()
        .request_items(backend.table(), wanted)
        .send()
        .await
        .unwrap();
}
