//! Writes the sample traffic as Teleport would.

use std::sync::Mutex;
use std::sync::PoisonError;

use aws_sdk_dynamodb::Client;
use futures_util::future::try_join_all;

use super::tables::AUDIT_TABLE;
use super::traffic::Step;
use super::wire;

/// Writers at once; each has its own sessions, whose rows stay in order.
const WRITERS: usize = 4;

/// Stores one row, under Teleport's condition if it is new. Doing it again changes nothing.
///
/// # Errors
/// What the endpoint answered, after the SDK's retries.
pub(super) async fn write(client: &Client, step: &Step) -> Result<(), String> {
    let condition = match step.old {
        None => "attribute_not_exists(SessionID) AND attribute_not_exists(EventIndex)",
        Some(_) => "attribute_exists(SessionID)",
    };
    let put = client
        .put_item()
        .table_name(AUDIT_TABLE)
        .condition_expression(condition);
    match put
        .set_item(Some(wire::attributes(&step.item)))
        .send()
        .await
        .map_err(|error| error.into_service_error())
    {
        Ok(_) => Ok(()),
        Err(error) if error.is_conditional_check_failed_exception() && step.old.is_none() => Ok(()),
        Err(error) => Err(format!(
            "cannot write {}/{}: {error}",
            step.session(),
            step.index()
        )),
    }
}

/// Stores all rows from `from` on, the rows of a session in order, and tells `progress` how many are stored without
/// a gap.
///
/// # Errors
/// The first failure.
pub(super) async fn write_all(
    client: &Client,
    steps: &[Step],
    from: usize,
    progress: impl Fn(usize),
) -> Result<(), String> {
    let mut lanes: Vec<Vec<usize>> = vec![Vec::new(); WRITERS];
    for (place, step) in steps.iter().enumerate().skip(from) {
        let hash = step.session().bytes().fold(0_usize, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        if let Some(lane) = lanes.get_mut(hash % WRITERS) {
            lane.push(place);
        }
    }
    // Where each lane stands: the place it writes next.
    let next: Vec<usize> = lanes
        .iter()
        .map(|lane| lane.first().copied().unwrap_or(steps.len()))
        .collect();
    let next = Mutex::new(next);
    try_join_all(lanes.iter().enumerate().map(|(number, lane)| {
        let (next, progress) = (&next, &progress);
        async move {
            for (turn, place) in lane.iter().enumerate() {
                if let Some(step) = steps.get(*place) {
                    write(client, step).await?;
                }
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(mine) = next.get_mut(number) {
                    *mine = lane.get(turn + 1).copied().unwrap_or(steps.len());
                }
                progress(next.iter().copied().min().unwrap_or(steps.len()));
            }
            Ok(())
        }
    }))
    .await
    .map(|_: Vec<()>| ())
}
