//! The client-side CPU of each operation of the state backend, beside the same request made by hand with the SDK: both
//! through a connector that has its answer at once, so that nothing else is in it.
//!
//! `cargo bench -p tidewatch --all-features --bench state`; the last lines are the ratios, aim 1.1.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{Credentials, Region, RuntimeComponents};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, DeleteRequest, Put, PutRequest, ReturnConsumedCapacity,
    ReturnValuesOnConditionCheckFailure, Select, TransactWriteItem, WriteRequest,
};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use criterion::Criterion;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{
    Backend, Condition, ConditionalAction, Config, Item, ItemsParams, Key, Layout, Lease, Range, Revision,
};

const TABLE: &str = "bench";
const REVISION: &str = "0b6f6f5a-1111-4222-8333-444444444444";
const KEY: &str = "/nodes/default/00a154d8-5ed8-4bcc-a5c7-19c2add9ca88";
const LIVE: &str = "(attribute_not_exists(Expires) OR Expires >= :now)";
const ABSENT: &str = "attribute_not_exists(#k) OR NOT (attribute_not_exists(Expires) OR Expires >= :now)";
const EXISTS: &str = "attribute_exists(#k) AND (attribute_not_exists(Expires) OR Expires >= :now)";
const PINNED: &str =
    "attribute_exists(#k) AND (attribute_not_exists(Expires) OR Expires >= :now) AND Revision = :rev";
const VALUE: [u8; 1024] = [b'v'; 1024];

static MANY: LazyLock<Vec<Item>> = LazyLock::new(|| {
    let keys = (0..25).map(|n| format!("{KEY}/{n}"));
    keys.map(|key| Item::new(key.as_str(), VALUE)).collect()
});
static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| MANY.iter().map(|item| item.key.clone()).collect());

/// Answers by operation, at once.
#[derive(Debug, Clone)]
struct Canned(Arc<HashMap<&'static str, String>>);

impl Canned {
    fn new() -> Self {
        let value = "dGlkZXdhdGNo".repeat(114);
        let item = |n: usize| {
            format!(
                r#"{{"HashKey":{{"S":"teleport"}},"FullPath":{{"S":"teleport{KEY}/{n:03}"}},"Value":{{"B":"{value}"}},"Expires":{{"N":"1900000000"}},"Timestamp":{{"N":"1800000000"}},"Revision":{{"S":"{REVISION}"}}}}"#
            )
        };
        let one = r#""ConsumedCapacity":{"TableName":"bench","CapacityUnits":2.0}"#;
        let all: Vec<String> = (0..100).map(item).collect();
        Self(Arc::new(HashMap::from([
            ("GetItem", format!(r#"{{{one},"Item":{}}}"#, item(0))),
            (
                "Query",
                format!(
                    r#"{{{one},"Count":100,"ScannedCount":100,"Items":[{}]}}"#,
                    all.join(",")
                ),
            ),
            ("PutItem", format!("{{{one}}}")),
            ("UpdateItem", format!("{{{one}}}")),
            ("DeleteItem", format!("{{{one}}}")),
            (
                "BatchWriteItem",
                r#"{"UnprocessedItems":{},"ConsumedCapacity":[{"TableName":"bench","CapacityUnits":50.0}]}"#
                    .to_owned(),
            ),
            (
                "TransactWriteItems",
                r#"{"ConsumedCapacity":[{"TableName":"bench","CapacityUnits":12.0}]}"#.to_owned(),
            ),
        ])))
    }
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap();
        let answer = &self.0[target.rsplit('.').next().unwrap()];
        HttpConnectorFuture::ready(Ok(HttpResponse::new(
            200.try_into().unwrap(),
            SdkBody::from(answer.as_str()),
        )))
    }
}

impl HttpClient for Canned {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// One operation both ways.
struct Pair {
    name: &'static str,
    ours: Box<dyn Fn() -> BoxFuture<'static, ()>>,
    by_hand: Box<dyn Fn() -> BoxFuture<'static, ()>>,
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn primary(key: &str) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("HashKey".to_owned(), text("teleport")),
        ("FullPath".to_owned(), text(&format!("teleport{key}"))),
    ])
}

fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs().to_string()
}

/// An item with a new revision, as a writer by hand makes it.
fn stored(key: &str, value: &[u8]) -> HashMap<String, AttributeValue> {
    let mut item = primary(key);
    item.insert("Value".to_owned(), AttributeValue::B(Blob::new(value)));
    item.insert("Timestamp".to_owned(), AttributeValue::N(now()));
    item.insert("Revision".to_owned(), text(&uuid::Uuid::new_v4().to_string()));
    item
}

const TOTAL: ReturnConsumedCapacity = ReturnConsumedCapacity::Total;

/// The same for each kind of request that takes a condition.
macro_rules! conditional {
    ($request:expr, $condition:expr $(, $name:literal => $value:expr)*) => {
        $request
            .condition_expression($condition)
            .expression_attribute_names("#k", "FullPath")
            .expression_attribute_values(":now", AttributeValue::N(now()))
            $(.expression_attribute_values($name, $value))*
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(TOTAL)
    };
}

fn pairs(backend: &Backend, client: &Client) -> Vec<Pair> {
    let item = Item::new(KEY, VALUE).at(REVISION);
    let key = Key::from(KEY);
    let later = SystemTime::now() + Duration::from_secs(600);
    let mut pairs = Vec::new();
    macro_rules! pair {
        ($name:literal, |$b:ident, $i:ident, $k:ident| $ours:expr, |$c:ident| $by_hand:expr) => {{
            let ($b, $i, $k) = (backend.clone(), item.clone(), key.clone());
            let ours = move || {
                let ($b, $i, $k) = ($b.clone(), $i.clone(), $k.clone());
                async move {
                    let _ = (&$i, &$k);
                    _ = black_box($ours.await.unwrap());
                }
                .boxed()
            };
            let $c = client.clone();
            let by_hand = move || {
                let $c = $c.clone();
                async move { _ = black_box($by_hand.await.unwrap()) }.boxed()
            };
            pairs.push(Pair {
                name: $name,
                ours: Box::new(ours),
                by_hand: Box::new(by_hand),
            });
        }};
    }
    macro_rules! put {
        ($c:ident) => {
            $c.put_item()
                .table_name(TABLE)
                .set_item(Some(stored(KEY, &VALUE)))
        };
    }
    pair!("get", |b, i, k| b.get(&k), |c| c
        .get_item()
        .table_name(TABLE)
        .set_key(Some(primary(KEY)))
        .consistent_read(true)
        .return_consumed_capacity(TOTAL)
        .send());
    pair!("put", |b, i, k| b.put(&i), |c| put!(c)
        .return_consumed_capacity(TOTAL)
        .send());
    pair!("create", |b, i, k| b.create(&i), |c| {
        conditional!(put!(c), ABSENT).send()
    });
    pair!("update", |b, i, k| b.update(&i), |c| conditional!(
        put!(c),
        EXISTS
    )
    .send());
    pair!("compare_and_swap", |b, i, k| b.compare_and_swap(&i, &i), |c| {
        let same = AttributeValue::B(Blob::new(VALUE));
        conditional!(put!(c), format!("{EXISTS} AND #v = :prev"), ":prev" => same)
            .expression_attribute_names("#v", "Value")
            .send()
    });
    pair!("conditional_update", |b, i, k| b.conditional_update(&i), |c| {
        conditional!(put!(c), PINNED, ":rev" => text(REVISION)).send()
    });
    pair!("delete", |b, i, k| b.delete(&k), |c| {
        let delete = c.delete_item().table_name(TABLE).set_key(Some(primary(KEY)));
        conditional!(delete, EXISTS).send()
    });
    pair!(
        "conditional_delete",
        |b, i, k| b.conditional_delete(&k, &i.revision),
        |c| {
            let delete = c.delete_item().table_name(TABLE).set_key(Some(primary(KEY)));
            conditional!(delete, PINNED, ":rev" => text(REVISION)).send()
        }
    );
    pair!(
        "keep_alive",
        |b, i, k| async move {
            let lease = Lease {
                key: k,
                revision: Revision::from(REVISION),
            };
            b.keep_alive(&lease, later).await
        },
        |c| {
            let update = c
                .update_item()
                .table_name(TABLE)
                .set_key(Some(primary(KEY)))
                .update_expression("SET Expires = :expires");
            let condition = format!("{PINNED} AND attribute_exists(Expires) AND Expires <= :expires");
            let expires = AttributeValue::N("1900000000".to_owned());
            conditional!(update, condition, ":rev" => text(REVISION), ":expires" => expires).send()
        }
    );
    macro_rules! query {
        ($c:ident) => {
            $c.query()
                .table_name(TABLE)
                .consistent_read(true)
                .scan_index_forward(true)
                .key_condition_expression("#h = :h AND begins_with(#k, :from)")
                .filter_expression(LIVE)
                .expression_attribute_names("#h", "HashKey")
                .expression_attribute_names("#k", "FullPath")
                .expression_attribute_values(":h", text("teleport"))
                .expression_attribute_values(":from", text("teleport/nodes/"))
                .expression_attribute_values(":now", AttributeValue::N(now()))
                .return_consumed_capacity(TOTAL)
        };
    }
    pair!(
        "items (100)",
        |b, i, k| b
            .items(ItemsParams::from(Range::prefix("/nodes/")))
            .try_collect::<Vec<_>>(),
        |c| query!(c).limit(1000).send()
    );
    pair!(
        "count (100)",
        |b, i, k| async move { b.count(&Range::prefix("/nodes/")).await },
        |c| query!(c).select(Select::Count).send()
    );
    pair!(
        "atomic_write (3)",
        |b, i, k| async move {
            let actions = [
                ConditionalAction::put(i, Condition::Exists),
                ConditionalAction::delete("/other", Condition::Revision(REVISION.into())),
                ConditionalAction::check("/third", Condition::Exists),
            ];
            b.atomic_write(&actions).await
        },
        |c| {
            let whole = TransactWriteItem::builder;
            let conditioned = || AttributeValue::N(now());
            let put = Put::builder()
                .table_name(TABLE)
                .set_item(Some(stored(KEY, &VALUE)))
                .condition_expression(EXISTS)
                .expression_attribute_names("#k", "FullPath")
                .expression_attribute_values(":now", conditioned());
            let delete = Delete::builder()
                .table_name(TABLE)
                .set_key(Some(primary("/other")))
                .condition_expression(PINNED)
                .expression_attribute_names("#k", "FullPath")
                .expression_attribute_values(":rev", text(REVISION))
                .expression_attribute_values(":now", conditioned());
            let check = ConditionCheck::builder()
                .table_name(TABLE)
                .set_key(Some(primary("/third")))
                .condition_expression(EXISTS)
                .expression_attribute_names("#k", "FullPath")
                .expression_attribute_values(":now", conditioned());
            c.transact_write_items()
                .transact_items(whole().put(put.build().unwrap()).build())
                .transact_items(whole().delete(delete.build().unwrap()).build())
                .transact_items(whole().condition_check(check.build().unwrap()).build())
                .client_request_token(uuid::Uuid::new_v4().to_string())
                .return_consumed_capacity(TOTAL)
                .send()
        }
    );
    pair!(
        "put_batch (25)",
        |b, i, k| async move { b.put_batch(&MANY).await.all() },
        |c| {
            let put = |key: &Key| {
                let item = stored(key.as_str().unwrap(), &VALUE);
                let put = PutRequest::builder().set_item(Some(item)).build().unwrap();
                WriteRequest::builder().put_request(put).build()
            };
            let batch: Vec<WriteRequest> = KEYS.iter().map(put).collect();
            c.batch_write_item()
                .request_items(TABLE, batch)
                .return_consumed_capacity(TOTAL)
                .send()
        }
    );
    pair!(
        "delete_batch (25)",
        |b, i, k| async move { b.delete_batch(&KEYS).await.all() },
        |c| {
            let delete = |key: &Key| {
                let delete = DeleteRequest::builder().set_key(Some(primary(key.as_str().unwrap())));
                WriteRequest::builder()
                    .delete_request(delete.build().unwrap())
                    .build()
            };
            let batch: Vec<WriteRequest> = KEYS.iter().map(delete).collect();
            c.batch_write_item()
                .request_items(TABLE, batch)
                .return_consumed_capacity(TOTAL)
                .send()
        }
    );
    pairs
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let sdk = aws_sdk_dynamodb::Config::builder()
        .behavior_version_latest()
        .endpoint_url("http://canned.invalid")
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "bench"))
        .retry_config(RetryConfig::disabled())
        .http_client(Canned::new())
        .build();
    let client = Client::from_conf(sdk);
    let config = Config {
        table_name: TABLE.to_owned(),
        layout: Layout::Teleport,
        ..Config::default()
    };
    let backend = Backend::unverified(&client, config, Clock::system(), Random::system());
    let pairs = pairs(&backend, &client);

    let mut criterion = Criterion::default()
        .configure_from_args()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    let mut group = criterion.benchmark_group("state");
    for pair in &pairs {
        group.bench_function(format!("{}, by hand", pair.name), |bench| {
            bench.iter(|| runtime.block_on((pair.by_hand)()));
        });
        group.bench_function(pair.name, |bench| bench.iter(|| runtime.block_on((pair.ours)())));
    }
    group.finish();
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }

    // Nothing waits and there is one thread, so that time is work. One after the other in each round, so that a drift of
    // the machine's speed falls on both alike.
    let time = |run: &dyn Fn() -> BoxFuture<'static, ()>, calls: u32| {
        let begun = Instant::now();
        runtime.block_on(async {
            for _ in 0..calls {
                run().await;
            }
        });
        begun.elapsed().as_secs_f64() / f64::from(calls)
    };
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("operation: a call, by hand, ratio (medians of 60 rounds; aim 1.10)");
    for pair in &pairs {
        let (mut ours, mut by_hand, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
        // Rounds of about ten milliseconds each.
        let calls = (0.01 / time(&pair.by_hand, 50)).clamp(10.0, 10_000.0) as u32;
        for _ in 0..60 {
            let (hand, own) = (time(&pair.by_hand, calls), time(&pair.ours, calls));
            ratio.push(own / hand);
            by_hand.push(hand * 1e6);
            ours.push(own * 1e6);
        }
        println!(
            "{:>20}: {:6.1} µs, {:6.1} µs, {:.2}",
            pair.name,
            median(ours),
            median(by_hand),
            median(ratio)
        );
    }
}
