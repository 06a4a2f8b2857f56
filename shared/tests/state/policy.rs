//! Every operation with somebody else's credentials, for `.ci/iam`, which gives them exactly the policy that
//! `tidewatch iam policy` prints. Without `TIDEWATCH_POLICY_ENDPOINT` there is nobody to ask, and the test says so.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::TryStreamExt;
use tidewatch::clock::Clock;
use tidewatch::maintain::{Turn, leased};
use tidewatch::random::Random;
use tidewatch::state::{
    Backend, Condition, ConditionalAction, Config, Item, Key, Layout, Lease, LockConfiguration, Partitioned,
    Range,
};
use tidewatch::table::Tables;
use tidewatch::watch::log::{Facts, Log, LogSpec, MIN_RETENTION};

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Somebody's credentials: `TRIED` is allowed what the policy allows, `OWNER` everything.
pub(crate) fn credentials(whose: &str) -> Credentials {
    let part = |part: &str| variable(&format!("TIDEWATCH_POLICY_{whose}_{part}"));
    Credentials::new(part("ACCESS_KEY"), part("SECRET_KEY"), None, None, "test")
}

pub(crate) fn client(whose: &str) -> Client {
    Client::from_conf(
        aws_sdk_dynamodb::Config::builder()
            .behavior_version_latest()
            .endpoint_url(variable("TIDEWATCH_POLICY_ENDPOINT"))
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials(whose))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build(),
    )
}

/// A client of whoever is tried, and the table; none if nobody is.
pub(crate) fn tried(test: &str) -> Option<(Client, Config)> {
    if variable("TIDEWATCH_POLICY_ENDPOINT").is_empty() {
        eprintln!("SKIPPED: {test} needs .ci/iam");
        return None;
    }
    let layout = match variable("TIDEWATCH_POLICY_LAYOUT").as_str() {
        "teleport" => Layout::Teleport,
        _ => Layout::Partitioned(Partitioned::default()),
    };
    let client = client("TRIED");
    let mut config = crate::engine::config(&variable("TIDEWATCH_POLICY_TABLE"), layout);
    config.operation_timeout = Duration::from_secs(10);
    Some((client, config))
}

#[tokio::test]
async fn policy_allows_every_operation() {
    let Some((client, mut config)) = tried("policy_allows_every_operation") else {
        return;
    };
    let layout = config.layout.clone();
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

/// What the tasks do with a state table and its watch log, on tables that are there.
#[tokio::test]
async fn policy_allows_the_tasks() {
    let Some((client, config)) = tried("policy_allows_the_tasks") else {
        return;
    };
    let layout = config.layout.clone();
    let (clock, random) = (Clock::system(), Random::system());
    let backend = Backend::existing(&client, config, clock.clone(), random.clone());
    let backend = backend.await.unwrap();
    // A run that was refused half-way leaves its lease and its log.
    let name = random.uuid().to_string();
    let turn = Box::pin(leased(&backend, &name, sweep(&client, &backend, &layout, &clock)));
    assert!(matches!(turn.await.unwrap(), Turn::Ran(())));
    let table = variable("TIDEWATCH_POLICY_LOG");
    Tables::new(client.clone(), clock.clone(), Tables::WAIT)
        .read(&table)
        .await
        .unwrap();
    let stop = clock.instant() + Duration::from_secs(10);
    let log = Log::new(&client, &table, &name, clock, random);
    log.create(&LogSpec::new("policy"), stop).await.unwrap();
    log.examine(&Facts::default(), stop).await.unwrap();
    log.compact(MIN_RETENTION, stop).await.unwrap();
    log.break_all("a policy is tried", "policy", None, stop)
        .await
        .unwrap();
    // Of the list of what falls due.
    let key = [
        ("Log".to_owned(), AttributeValue::S("policy#due".to_owned())),
        ("Segment".to_owned(), AttributeValue::N("1".to_owned())),
    ];
    let wanted = KeysAndAttributes::builder().keys(key.clone().into());
    let wanted = wanted.consistent_read(true).build().unwrap();
    let checked = client.batch_get_item().request_items(&table, wanted);
    checked.send().await.unwrap();
    let removed = client.delete_item().table_name(&table).set_key(Some(key.into()));
    removed.send().await.unwrap();
}

/// What a sweep asks of a state table.
async fn sweep(client: &Client, backend: &Backend, layout: &Layout, clock: &Clock) {
    let key = Key::from(".tidewatch/maintain/policy");
    let later = clock.now() + Duration::from_secs(60);
    backend.put(&Item::new(&key, "1").expiring(later)).await.unwrap();
    backend.keep_alive_unchecked(&key, later).await.unwrap();
    backend.get(&key).await.unwrap();
    backend.count(&Range::prefix(&key)).await.unwrap();
    backend.delete(&key).await.unwrap();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let (partition, sort) = match layout {
        Layout::Teleport => (("HashKey", "teleport"), "FullPath"),
        Layout::Partitioned(_) => (("Part", "default#0"), "Key"),
    };
    let stored = [
        (partition.0.to_owned(), text(partition.1)),
        (sort.to_owned(), text("/a")),
    ];
    let wanted = KeysAndAttributes::builder().keys(stored.into());
    let wanted = wanted.consistent_read(true).build().unwrap();
    let entries = client.batch_get_item().request_items(backend.table(), wanted);
    entries.send().await.unwrap();
    let number = |number: &str| AttributeValue::N(number.to_owned());
    let shard = match layout {
        Layout::Partitioned(_) => Some(("ExpiryShard", number("0"))),
        // Only of an operator who insisted.
        Layout::Teleport => {
            let insisted = variable("TIDEWATCH_POLICY_FORM").starts_with("index");
            insisted.then(|| ("HashKey", text("teleport")))
        }
    };
    if let Some((name, shard)) = shard {
        let due = client.query().table_name(backend.table()).index_name("expiry");
        let due = due.key_condition_expression("#shard = :shard AND Expires <= :latest");
        let due = due.expression_attribute_names("#shard", name);
        let due = due.expression_attribute_values(":shard", shard);
        let due = due.expression_attribute_values(":latest", number("1"));
        due.send().await.unwrap();
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
