//! Conditions that stand: which were raised and are not over. The event and the row that remembers it are
//! one transaction, so that a restarted daemon neither forgets to say that something is over nor says it
//! twice.

use crate::model::condition::Condition;
use crate::store::{StoreError, Tx};

use super::{Journal, table};

impl Journal {
    /// Says that `condition` holds, as often as it is found, and remembers it.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn raise(
        &self,
        tx: &Tx<'_>,
        now_ms: i64,
        condition: &Condition,
        actor: &str,
    ) -> Result<(), StoreError> {
        table::stand(tx, condition)?;
        self.record(tx, now_ms, condition.raised().actor(actor)).map(drop)
    }

    /// Says that the condition `key` is over, if it stood; `title` is how things are now.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn clear(
        &self,
        tx: &Tx<'_>,
        now_ms: i64,
        key: &str,
        title: &str,
        actor: &str,
    ) -> Result<bool, StoreError> {
        let Some(was) = table::standing(tx, key)?.into_iter().find(|was| was.key == key) else {
            return Ok(false);
        };
        table::fall(tx, key)?;
        let mut event = Condition::cleared(key, title).actor(actor);
        event.ticket = was.ticket;
        self.record(tx, now_ms, event)?;
        Ok(true)
    }

    /// The conditions that stand and whose key begins with `prefix`, by key.
    ///
    /// # Errors
    /// When the read fails.
    pub async fn standing(&self, prefix: &str) -> Result<Vec<Condition>, StoreError> {
        let prefix = prefix.to_owned();
        self.store.read(move |conn| Ok(table::standing(conn, &prefix)?)).await
    }
}
