//! Reading single items.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;

use super::attempts::Attempts;
use super::backend::Backend;
use super::fault::{Attributes, Fault};
use super::record::is_live;
use super::{Error, ErrorKind, Item, Key};

impl Backend {
    /// Reads an item. One request: a read unit for each 4 KB, rounded up; one if there is none.
    ///
    /// During an atomic write two reads may see the new value and then the old one.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none or it has expired; [`BadParameter`](ErrorKind::BadParameter)
    /// for a key that cannot be stored; what any request may end with.
    pub async fn get(&self, key: &Key) -> Result<Item, Error> {
        let mut attempts = Attempts::new(self, "get", Some(key));
        let (now, stored) = self.read(&mut attempts, key, None).await?;
        stored
            .filter(|stored| is_live(stored, now))
            .and_then(|stored| self.layout().unmarshal(stored))
            .ok_or_else(|| attempts.error(ErrorKind::NotFound, "there is no such item"))
    }

    /// What is stored under a key, expired or not, and the second just before it was read. `only` names the
    /// attributes that are wanted; the price is that of the whole item all the same.
    pub(super) async fn read(
        &self,
        attempts: &mut Attempts<'_>,
        key: &Key,
        only: Option<&str>,
    ) -> Result<(i64, Option<Attributes>), Error> {
        let primary = self
            .layout()
            .primary(key)
            .map_err(|wrong| attempts.error(ErrorKind::BadParameter, wrong))?;
        loop {
            let now = attempts.now();
            let request = self
                .client()
                .get_item()
                .table_name(self.table())
                .set_key(Some(primary.clone()))
                .consistent_read(true)
                .set_projection_expression(only.map(str::to_owned))
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = attempts
                .send(async move { request.send().await.map_err(Fault::of) })
                .await;
            match answer {
                Ok(answer) => {
                    self.charge("get", answer.consumed_capacity());
                    return Ok((now, answer.item));
                }
                Err(fault) => attempts.again_read(&fault).await?,
            }
        }
    }
}
