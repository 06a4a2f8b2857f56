//! Reading ranges: a page at a time, merged over the partitions.

use std::collections::VecDeque;
use std::time::SystemTime;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, Select};
use futures_util::future::try_join_all;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};

use super::attempts::Attempts;
use super::backend::Backend;
use super::expression::Expression;
use super::fault::{Attributes, Fault};
use super::{Entry, Error, ErrorKind, Item, ItemsParams, Key, Range};

/// The most items that one query is asked for.
const PAGE: usize = 1000;

/// What a query brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Items,
    /// Everything but the value, live items only.
    Entries,
    /// Primary keys of all items, expired ones too.
    Keys,
    /// All of all items, expired ones too.
    Everything,
    Count,
}

impl Backend {
    /// The items of a range, in order, read as they are asked for: a page (1,000 items or 1 MB, expired ones counted)
    /// a partition is held, never more. With a limit no more items are asked for than can still be used, but for those in
    /// the place of expired ones.
    ///
    /// Requests: one a page and partition, each a read unit for each 4 KB of the page, expired items included, and one at
    /// least. A page is consistent, the range as a whole is not: what is written meanwhile may or may not be seen. Expiry is
    /// judged by the clock as each page is asked for. Dropping the stream ends it.
    ///
    /// # Errors
    /// Each in its place, after which the stream ends. [`BadParameter`](ErrorKind::BadParameter) for a range without
    /// start or end, or with an end before its start.
    pub fn items(&self, params: ItemsParams) -> impl Stream<Item = Result<Item, Error>> + Send + use<> {
        let layout = self.layout().clone();
        self.merged("items", params, Want::Items)
            .try_filter_map(move |(_, stored, _)| std::future::ready(Ok(layout.unmarshal(stored))))
    }

    /// As [`items`](Self::items), each with the times between which its page was read.
    pub(crate) fn items_read(
        &self,
        params: ItemsParams,
    ) -> impl Stream<Item = Result<(Item, SystemTime, SystemTime), Error>> + Send + use<> {
        let layout = self.layout().clone();
        self.merged("items", params, Want::Items)
            .try_filter_map(move |(_, stored, (asked, answered))| {
                let item = layout.unmarshal(stored);
                std::future::ready(Ok(item.map(|item| (item, asked, answered))))
            })
    }

    /// As [`items`](Self::items), without the values: what is read costs the same, what is sent back is less.
    ///
    /// # Errors
    /// As [`items`](Self::items).
    pub fn entries(&self, params: ItemsParams) -> impl Stream<Item = Result<Entry, Error>> + Send + use<> {
        let layout = self.layout().clone();
        self.merged("entries", params, Want::Entries)
            .try_filter_map(move |(_, stored, _)| std::future::ready(Ok(layout.entry(&stored))))
    }

    /// All items of a range, collected. Cost and errors as [`items`](Self::items).
    ///
    /// # Errors
    /// The first that [`items`](Self::items) meets.
    pub async fn get_range(&self, params: ItemsParams) -> Result<Vec<Item>, Error> {
        let backend = self.with_deadline(self.deadline());
        backend.items(params).try_collect().await
    }

    /// How many items a range has. Requests and price as [`items`](Self::items) over all of it: every item is read.
    ///
    /// # Errors
    /// The first that [`items`](Self::items) would meet.
    pub async fn count(&self, range: &Range) -> Result<u64, Error> {
        let params = ItemsParams::from(range.clone());
        let backend = self.with_deadline(self.deadline());
        let counts = (0..self.layout().partitions()).map(|partition| {
            let pages = backend.pages("count", partition, &params, Want::Count);
            async {
                let mut pages = pages?;
                let mut total: u64 = 0;
                while !pages.done {
                    total += u64::try_from(pages.next(0).await?.count).unwrap_or_default();
                }
                Ok(total)
            }
        });
        Ok(try_join_all(counts).await?.iter().sum())
    }

    /// The primary keys of everything stored in a range, expired or not, page by page, partition after partition.
    pub(super) fn primaries(
        &self,
        operation: &'static str,
        range: &Range,
    ) -> impl Stream<Item = Result<Vec<Attributes>, Error>> + Send + use<> {
        let (backend, params) = (self.clone(), ItemsParams::from(range.clone()));
        stream::iter(0..self.layout().partitions())
            .map(move |partition| backend.pages(operation, partition, &params, Want::Keys))
            .map_ok(|pages| {
                stream::try_unfold(pages, |mut pages| async move {
                    if pages.done {
                        return Ok(None);
                    }
                    let page = pages.next(0).await?;
                    Ok(Some((page.items, pages)))
                })
            })
            .try_flatten()
    }

    /// All that is stored in a range, expired or not, in order. Pages and price as [`items`](Self::items).
    pub(super) fn everything(
        &self,
        operation: &'static str,
        range: &Range,
    ) -> impl Stream<Item = Result<(Key, Attributes), Error>> + Send + use<> {
        self.merged(operation, range.clone().into(), Want::Everything)
            .map_ok(|(key, stored, _)| (key, stored))
    }

    fn merged(
        &self,
        operation: &'static str,
        params: ItemsParams,
        want: Want,
    ) -> impl Stream<Item = Result<Buffered, Error>> + Send + use<> {
        let left = if params.limit == 0 {
            usize::MAX
        } else {
            params.limit
        };
        let partitions: Result<Vec<Pages>, Error> = (0..self.layout().partitions())
            .map(|partition| self.pages(operation, partition, &params, want))
            .collect();
        let merge = partitions.map(|partitions| Merge {
            partitions,
            descending: params.descending,
            left,
        });
        stream::try_unfold(Some(merge), |merge| async move {
            let Some(merge) = merge else { return Ok(None) };
            let mut merge = merge?;
            let next = merge.next().await?;
            Ok(next.map(|next| (next, Some(Ok(merge)))))
        })
    }

    fn pages(
        &self,
        operation: &'static str,
        partition: u8,
        params: &ItemsParams,
        want: Want,
    ) -> Result<Pages, Error> {
        let wrong = |what: String| Error::new(ErrorKind::BadParameter, operation, self.table(), None, what);
        Ok(Pages {
            backend: self.clone(),
            operation,
            condition: self.condition(partition, &params.range).map_err(wrong)?,
            ascending: !params.descending,
            want,
            from: None,
            done: false,
            least: 0,
            buffer: VecDeque::new(),
        })
    }

    /// The key condition of a partition's share of a range.
    fn condition(&self, partition: u8, range: &Range) -> Result<Condition, String> {
        let layout = self.layout();
        let (text, values) = match range {
            Range::Prefix(prefix) => {
                let text = prefix.as_str().ok_or("the prefix is not UTF-8")?;
                let text = format!("{}{text}", layout.sort_prefix());
                if text.is_empty() {
                    ("#h = :h", Vec::new())
                } else {
                    ("#h = :h AND begins_with(#k, :from)", vec![(":from", text)])
                }
            }
            Range::Between { start, .. } if start.is_zero() => {
                return Err("missing parameter startKey".to_owned());
            }
            Range::Between { end, .. } if end.is_zero() => return Err("missing parameter endKey".to_owned()),
            Range::Between { start, end } if end < start => {
                return Err(format!(
                    "the range ends at \"{end}\" before it starts at \"{start}\""
                ));
            }
            Range::Between { start, end } => {
                let values = vec![
                    (":from", layout.sort_value(start)?),
                    (":to", layout.sort_value(end)?),
                ];
                ("#h = :h AND #k BETWEEN :from AND :to", values)
            }
        };
        Ok(Condition {
            text,
            partition: layout.partition_value(partition),
            values,
        })
    }
}

/// A key condition, without what a request adds to it.
struct Condition {
    text: &'static str,
    partition: String,
    values: Vec<(&'static str, String)>,
}

/// One partition's share of a range.
struct Pages {
    backend: Backend,
    operation: &'static str,
    condition: Condition,
    ascending: bool,
    want: Want,
    from: Option<Attributes>,
    done: bool,
    /// How many items the next page must be asked for at least, since the last one had expired ones among its own.
    least: usize,
    buffer: VecDeque<Buffered>,
}

struct Page {
    items: Vec<Attributes>,
    count: i32,
    /// When it was asked for, and answered.
    read: (SystemTime, SystemTime),
}

/// What was read under a key, and between which times.
type Buffered = (Key, Attributes, (SystemTime, SystemTime));

impl Pages {
    /// The next page; it may be empty with more to come. 0 asks for as many as fit.
    ///
    /// DynamoDB counts the limit before it leaves out what has expired: where something was, the next page is asked for
    /// twice as many, or a range that begins with many expired items would take a request for each.
    async fn next(&mut self, limit: usize) -> Result<Page, Error> {
        let limit = if limit > 0 {
            limit.max(self.least).min(PAGE)
        } else {
            0
        };
        let backend = &self.backend;
        let mut attempts = Attempts::new(backend, self.operation, None);
        loop {
            let asked = backend.clock().now();
            let now = attempts.now();
            let mut condition = match self.want {
                Want::Keys | Want::Everything => None,
                _ => Some(Expression::live(now)),
            };
            let mut request = backend
                .client()
                .query()
                .table_name(backend.table())
                .consistent_read(true)
                .scan_index_forward(self.ascending)
                .key_condition_expression(self.condition.text)
                .set_exclusive_start_key(self.from.clone())
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            if limit > 0 {
                request = request.limit(i32::try_from(limit).unwrap_or(i32::MAX));
            }
            let layout = backend.layout();
            let mut rest = condition.take().unwrap_or_else(Expression::empty);
            rest = rest.name("#h", layout.partition_name());
            if !self.condition.values.is_empty() || matches!(self.want, Want::Keys | Want::Entries) {
                rest = rest.name("#k", layout.sort_name());
            }
            rest = rest.value(":h", AttributeValue::S(self.condition.partition.clone()));
            for (name, value) in &self.condition.values {
                rest = rest.value(name, AttributeValue::S(value.clone()));
            }
            let (filter, names, values) = rest.parts();
            request = request
                .set_filter_expression(Some(filter).filter(|filter| !filter.is_empty()))
                .set_expression_attribute_names(names)
                .set_expression_attribute_values(values);
            request = match self.want {
                Want::Items | Want::Everything => request,
                Want::Entries => request.projection_expression("#k, Expires, Revision"),
                Want::Keys => request.projection_expression("#h, #k"),
                Want::Count => request.select(Select::Count),
            };
            let answer = attempts
                .send(async move { request.send().await.map_err(Fault::of) })
                .await;
            match answer {
                Ok(answer) => {
                    backend.charge(self.operation, answer.consumed_capacity());
                    self.from = answer.last_evaluated_key;
                    self.done = self.from.is_none();
                    self.least = if answer.count < answer.scanned_count {
                        2 * limit
                    } else {
                        0
                    };
                    return Ok(Page {
                        count: answer.count,
                        items: answer.items.unwrap_or_default(),
                        read: (asked, backend.clock().now()),
                    });
                }
                Err(fault) => attempts.again_read(&fault).await?,
            }
        }
    }

    /// Reads until something is buffered or the share is at its end.
    async fn fill(&mut self, limit: usize) -> Result<(), Error> {
        while self.buffer.is_empty() && !self.done {
            let page = self.next(limit).await?;
            for stored in page.items {
                if let Some(key) = self.backend.layout().key_of(&stored) {
                    self.buffer.push_back((key, stored, page.read));
                }
            }
        }
        Ok(())
    }
}

/// The shares of all partitions, merged.
struct Merge {
    partitions: Vec<Pages>,
    descending: bool,
    left: usize,
}

impl Merge {
    async fn next(&mut self) -> Result<Option<Buffered>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let limit = self.left.min(PAGE);
        if self
            .partitions
            .iter()
            .any(|pages| pages.buffer.is_empty() && !pages.done)
        {
            try_join_all(self.partitions.iter_mut().map(|pages| pages.fill(limit))).await?;
        }
        let first = self
            .partitions
            .iter_mut()
            .filter(|pages| !pages.buffer.is_empty());
        let first = first.min_by(|a, b| {
            let order = a
                .buffer
                .front()
                .map(|next| &next.0)
                .cmp(&b.buffer.front().map(|next| &next.0));
            if self.descending { order.reverse() } else { order }
        });
        self.left -= 1;
        Ok(first.and_then(|pages| pages.buffer.pop_front()))
    }
}
