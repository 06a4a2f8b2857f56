//! Ranges as a stream.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use serde_json::json;
use tidewatch::audit::log::{Dynamo, Export, Part, Position};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::ErrorKind;

use crate::engine::{Engine, Fate, refusal};
use crate::{DAY, at, load, numbers, table};

/// Ten days, some of more than one page.
fn ten_days(engine: &Engine) -> Export {
    load(
        engine,
        4_000,
        216,
        |n| json!({"pad": {"S": "x".repeat(if n < 1_000 { 4_000 } else { 100 })}}),
    );
    Export::new(at(DAY), at(DAY + 10 * 86_400 - 1))
}

#[tokio::test]
async fn everything_is_told_once_and_each_day_in_its_order() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let export = ten_days(&engine);
    for parallel in [1, 4, 64] {
        let export = Export {
            parallel,
            ..export.clone()
        };
        let parts: Vec<Part> = table.export(export).try_collect().await.unwrap();
        let mut days: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for part in &parts {
            days.entry(part.day.clone())
                .or_default()
                .extend(numbers(&part.events));
        }
        assert_eq!(days.len(), 10);
        assert_eq!(
            days.into_values().flatten().collect::<Vec<_>>(),
            (0..4_000).collect::<Vec<_>>()
        );
        assert!(parts.last().unwrap().position.is_end());
        if parallel == 1 {
            assert!(parts.is_sorted_by(|a, b| a.day <= b.day));
        }
    }
}

#[tokio::test]
async fn an_export_that_was_cut_anywhere_goes_on_from_its_position() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let export = ten_days(&engine);
    let (mut found, mut position): (Vec<u64>, Option<Position>) = (Vec::new(), None);
    for run in 0.. {
        let stream = table.export(Export {
            position: position.clone(),
            ..export.clone()
        });
        let mut stream = std::pin::pin!(stream);
        for _ in 0..=run % 3 {
            let Some(part) = stream.next().await else { break };
            let part = part.unwrap();
            found.extend(numbers(&part.events));
            position = Some(part.position.to_string().parse().unwrap());
        }
        if position.as_ref().is_some_and(Position::is_end) {
            break;
        }
        assert!(run < 100);
    }
    found.sort_unstable();
    assert_eq!(found, (0..4_000).collect::<Vec<_>>());
    let other = Export {
        position,
        ..Export::new(at(DAY), at(DAY + 5))
    };
    let error = table.export(other).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadParameter);
    assert!("{}".parse::<Position>().is_err());
}

#[tokio::test]
async fn a_filter_leaves_out_and_no_more_than_its_days_are_asked_for_at_a_time() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let export = Export {
        types: vec!["none".to_owned()],
        condition: Some("equals(n, 1)".parse().unwrap()),
        parallel: 3,
        ..ten_days(&engine)
    };
    engine.sent();
    let stream = table.export(export);
    let mut stream = std::pin::pin!(stream);
    assert_eq!(stream.next().await.unwrap().unwrap().events, []);
    assert!(engine.sent().len() <= 3);
    let rest: Vec<Part> = stream.try_collect().await.unwrap();
    assert!(rest.iter().all(|part| part.events.is_empty()));
}

#[tokio::test]
async fn an_error_ends_it_and_the_position_before_it_holds() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let export = Export {
        parallel: 1,
        ..ten_days(&engine)
    };
    let stream = table.export(export.clone());
    let mut stream = std::pin::pin!(stream);
    let first = stream.next().await.unwrap().unwrap();
    engine.plan(|_, _| refusal("AccessDeniedException"));
    assert_eq!(
        stream.next().await.unwrap().unwrap_err().kind(),
        ErrorKind::AccessDenied
    );
    assert!(stream.next().await.is_none());
    engine.plan(|_, _| Fate::Served);
    let rest = table.export(Export {
        position: Some(first.position),
        ..export
    });
    let rest: Vec<Part> = rest.try_collect().await.unwrap();
    let told: usize = rest.iter().map(|part| part.events.len()).sum();
    assert_eq!(told + first.events.len(), 4_000);
}

#[tokio::test(start_paused = true)]
async fn a_taker_may_be_as_slow_as_it_likes() {
    let engine = Engine::new();
    let clock = Clock::simulated(at(DAY));
    let (client, random) = (engine.client(), Random::seeded(1));
    let table = Dynamo::open(&client, crate::TABLE, Dynamo::RETENTION, clock.clone(), random);
    let table = table.await.unwrap();
    let export = Export {
        parallel: 4,
        ..ten_days(&engine)
    };
    let stream = table.export(export);
    let (mut stream, mut found) = (std::pin::pin!(stream), Vec::new());
    while let Some(part) = stream.try_next().await.unwrap() {
        found.extend(numbers(&part.events));
        clock.sleep(Duration::from_secs(60)).await;
    }
    found.sort_unstable();
    assert_eq!(found, (0..4_000).collect::<Vec<_>>());
}
