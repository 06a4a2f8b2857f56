//! Pages of a day in the index, or of a session in the table: what searches and exports are made of.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use super::condition::{Condition, Expression};
use super::cursor::{Key, Place};
use super::dynamo::Dynamo;
use super::error::LogError;
use super::search::Order;
use super::tries::Tries;
use crate::audit::canonical::Canonical;
use crate::audit::{event, identify, item};
use crate::state::ErrorKind;
use crate::state::fault::{Attributes, Fault};

/// An event that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// See [`Event::id`](crate::audit::Event::id).
    pub id: String,
    /// The row's partition key: the session, or what stands for one.
    pub session_id: String,
    /// The row's sort key, exact.
    pub event_index: String,
    /// The type; unknown ones pass.
    pub event_type: Option<String>,
    /// Unix seconds, as the index has them.
    pub created_at: i64,
    /// The event as canonical JSON.
    pub json: String,
    /// The row in DynamoDB's JSON, as a stream's `NewImage` has it, where an [`Export`](super::Export) asked for it.
    pub row: Option<String>,
    /// Id and order, for our own use.
    pub(super) key: u128,
    pub(super) at: i128,
}

/// What is asked for of the rows of a range.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    log: Dynamo,
    /// Unix seconds, both inclusive.
    from: i64,
    to: i64,
    order: Order,
    filter: Option<String>,
    expression: Expression,
}

/// Where a page is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum In<'a> {
    Day(Date),
    Session(&'a str),
}

/// A page: rows that passed the filter, in the order of the index.
pub(super) struct Page {
    pub(super) items: Vec<Attributes>,
    /// Where the next begins; none at the end.
    pub(super) last: Option<Key>,
    /// Rows that were read for it.
    pub(super) scanned: usize,
    pub(super) units: f64,
}

/// Operands that `IN` takes.
const MAX_IN: usize = 100;

impl Pages {
    pub(super) fn new(
        log: &Dynamo,
        (from, to): (i64, i64),
        order: Order,
        types: &[String],
        condition: Option<&Condition>,
    ) -> Self {
        let mut expression = Expression::default();
        let mut filters = Vec::new();
        let mut lists = Vec::new();
        for types in types.chunks(MAX_IN) {
            let mut names = Vec::new();
            for event_type in types {
                let name = format!(":t{}", expression.values.len());
                expression
                    .values
                    .insert(name.clone(), AttributeValue::S(event_type.clone()));
                names.push(name);
            }
            lists.push(format!("EventType IN ({})", names.join(", ")));
        }
        if !lists.is_empty() {
            filters.push(format!("({})", lists.join(" OR ")));
        }
        if let Some(condition) = condition {
            filters.push(condition.write(&mut expression));
        }
        Self {
            log: log.clone(),
            from,
            to,
            order,
            filter: (!filters.is_empty()).then(|| filters.join(" AND ")),
            expression,
        }
    }

    /// The task of a page ended without it.
    pub(super) fn ended(&self, ended: &tokio::task::JoinError) -> LogError {
        self.log.error(ErrorKind::Unavailable, ended.to_string())
    }

    /// Whether rows may be read and not answered.
    pub(super) fn is_filtered(&self) -> bool {
        self.filter.is_some()
    }

    /// One page; `rows` bounds what is read for it. None: the place lies behind the range.
    pub(super) async fn page(
        &self,
        within: In<'_>,
        place: &Place,
        rows: Option<usize>,
    ) -> Result<Option<Page>, LogError> {
        let (mut from, mut to) = (self.from, self.to);
        let ascending = self.order == Order::Ascending;
        let mut start = None;
        let index = matches!(within, In::Day(_));
        match place {
            Place::Start => {}
            Place::After(key) if !index => start = Some(key),
            // A start key outside the range would be refused.
            Place::After(key) if (from..=to).contains(&key.created_at) => start = Some(key),
            Place::After(Key { created_at: at, .. }) | Place::Second(at) if index => {
                if (ascending && *at > to) || (!ascending && *at < from) {
                    return Ok(None);
                }
                match ascending {
                    true => from = from.max(*at),
                    false => to = to.min(*at),
                }
            }
            _ => {}
        }
        let mut tries = Tries::new(&self.log);
        loop {
            let request = self.request(within, (from, to), start, rows);
            let answer = async move { request.send().await.map_err(Fault::of) };
            match tries.send("query", answer).await {
                Ok(answer) => {
                    let units = self.log.charge("query", answer.consumed_capacity());
                    let last = match &answer.last_evaluated_key {
                        Some(key) => Some(Key::of(key).ok_or_else(|| {
                            self.log
                                .error(ErrorKind::WrongTable, "a last key without its parts")
                        })?),
                        None => None,
                    };
                    return Ok(Some(Page {
                        scanned: usize::try_from(answer.scanned_count).unwrap_or_default(),
                        items: answer.items.unwrap_or_default(),
                        last,
                        units,
                    }));
                }
                Err(fault) => tries.again_read(fault).await?,
            }
        }
    }

    fn request(
        &self,
        within: In<'_>,
        (from, to): (i64, i64),
        start: Option<&Key>,
        rows: Option<usize>,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        let expression = &self.expression;
        let number = |number: i64| AttributeValue::N(number.to_string());
        let mut values = expression.values.clone();
        values.extend([(":from".to_owned(), number(from)), (":to".to_owned(), number(to))]);
        const TIME: &str = "CreatedAt BETWEEN :from AND :to";
        let request = self.log.client().query().table_name(self.log.table());
        let (request, filter) = match within {
            In::Day(date) => {
                values.insert(":date".to_owned(), AttributeValue::S(date.to_string()));
                let request = request
                    .index_name("timesearchV2")
                    .key_condition_expression(format!("CreatedAtDate = :date AND {TIME}"));
                (request, self.filter.clone())
            }
            In::Session(session) => {
                values.insert(":sid".to_owned(), AttributeValue::S(session.to_owned()));
                let filter = match &self.filter {
                    Some(filter) => format!("{TIME} AND {filter}"),
                    None => TIME.to_owned(),
                };
                (request.key_condition_expression("SessionID = :sid"), Some(filter))
            }
        };
        let names = expression.names.clone();
        request
            .set_filter_expression(filter)
            .set_expression_attribute_names(Some(names).filter(|names| !names.is_empty()))
            .set_expression_attribute_values(Some(values))
            .scan_index_forward(self.order == Order::Ascending)
            .set_limit(rows.map(|rows| i32::try_from(rows.max(1)).unwrap_or(i32::MAX)))
            .set_exclusive_start_key(start.map(|key| key.start(matches!(within, In::Day(_)))))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
    }
}

/// The event of a row; none if it is no event's. A row that cannot be read is an error, told by its keys.
pub(super) fn decode(row: &Attributes, out: &mut Canonical) -> Result<Option<Found>, String> {
    out.rewind(0);
    let row = item::row(row, out).map_err(|fault| fault.to_string())?;
    if row.is_no_event() {
        return Ok(None);
    }
    let payload = row.payload.as_ref().ok_or("no payload")?;
    let event = identify(&row, payload, out, None).ok_or("no keys")?;
    let created_at = row.created_at.unwrap_or_default();
    let at = event::string(out, payload.facts.time.clone())
        .and_then(|time| OffsetDateTime::parse(&time, &Rfc3339).ok())
        .map_or(
            i128::from(created_at) * 1_000_000_000,
            OffsetDateTime::unix_timestamp_nanos,
        );
    Ok(Some(Found {
        json: String::from_utf8_lossy(out.get(payload.range.clone())).into_owned(),
        row: None,
        key: event.key,
        id: event.id,
        session_id: event.session_id.into_owned(),
        event_index: event.event_index.into_owned(),
        event_type: event.event_type.map(std::borrow::Cow::into_owned),
        created_at,
        at,
    }))
}

/// Brings the events of a page into the order of their times, which the index has in seconds only; those of a session
/// at one time into that of their numbers.
pub(super) fn sort(events: &mut [Found], order: Order) {
    events.sort_by(|a, b| {
        let number = |event: &Found| event.event_index.parse::<i128>().unwrap_or_default();
        let ascending = (a.at, &a.session_id, number(a)).cmp(&(b.at, &b.session_id, number(b)));
        match order {
            Order::Ascending => ascending,
            Order::Descending => ascending.reverse(),
        }
    });
}
