//! Answers already given, kept by `Idempotency-Key`: who asks again gets the same answer, and what
//! was asked for happens once.
//!
//! It knows neither HTTP nor what the answers say. The key's owner is part of the key, so that
//! nobody can read another's answer by guessing.

mod table;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{Store, StoreError};

/// How many requests with a key may be under way.
const UNDER_WAY_MAX: usize = 1024;

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// What is known about a key.
#[derive(Debug)]
pub enum Known {
    /// Nothing: do it, then [`Reservation::keep`] the answer.
    New(Reservation),
    /// The same was asked before.
    Same(Answer),
    /// Something else was asked under this key.
    Other,
    /// It is being done right now.
    UnderWay,
}

/// The kept answers; clones share them.
#[derive(Clone)]
pub struct Answers {
    store: Store,
    under_way: Arc<Mutex<HashSet<String>>>,
}

impl Answers {
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, under_way: Arc::default() }
    }

    /// Looks `key` up; `asked` is a digest of all that was asked under it. Answers from before
    /// `since_ms` count as forgotten.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn look_up(&self, key: &str, asked: [u8; 32], since_ms: i64) -> Result<Known, StoreError> {
        // Taken before the look at the table: two that ask at once cannot both find nothing.
        let Some(reservation) = self.reserve(key, asked) else { return Ok(Known::UnderWay) };
        let wanted = key.to_owned();
        let kept = self.store.read(move |db| table::find(db, &wanted, since_ms)).await?;
        Ok(match kept {
            None => Known::New(reservation),
            Some(kept) if kept.asked == asked => Known::Same(kept.answer),
            Some(_) => Known::Other,
        })
    }

    /// Forgets the answers from before `before_ms`. Returns how many those were.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget(&self, before_ms: i64) -> Result<usize, StoreError> {
        self.store.write(move |tx| table::forget(tx, before_ms)).await
    }

    fn reserve(&self, key: &str, asked: [u8; 32]) -> Option<Reservation> {
        let mut under_way = self.under_way();
        let free = under_way.len() < UNDER_WAY_MAX && under_way.insert(key.to_owned());
        free.then(|| Reservation { answers: self.clone(), key: key.to_owned(), asked })
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to do what a key stands for. Dropped without an answer, it leaves the key free: what
/// failed may be tried again.
pub struct Reservation {
    answers: Answers,
    key: String,
    asked: [u8; 32],
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Reservation {
    /// Keeps the answer; it is durable when this returns.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn keep(self, answer: Answer, now_ms: i64) -> Result<(), StoreError> {
        let (key, asked) = (self.key.clone(), self.asked);
        self.answers.store.write(move |tx| table::keep(tx, &key, asked, &answer, now_ms)).await
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.answers.under_way().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: [u8; 32] = [1; 32];

    fn answers() -> (tempfile::TempDir, Answers) {
        let dir = tempfile::tempdir().unwrap();
        let opened = Store::open(dir.path(), 0).unwrap();
        (dir, Answers::new(opened.store))
    }

    fn answer() -> Answer {
        Answer { status: 202, body: "{}".to_owned() }
    }

    #[tokio::test]
    async fn who_asks_again_gets_the_same_answer() {
        let (_dir, answers) = answers();
        let Known::New(reservation) = answers.look_up("k", ASKED, 0).await.unwrap() else { panic!("new") };
        assert!(matches!(answers.look_up("k", ASKED, 0).await.unwrap(), Known::UnderWay));
        reservation.keep(answer(), 1000).await.unwrap();
        match answers.look_up("k", ASKED, 0).await.unwrap() {
            Known::Same(same) => assert_eq!(same, answer()),
            other => panic!("{other:?}"),
        }
        assert!(matches!(answers.look_up("k", [2; 32], 0).await.unwrap(), Known::Other));
        assert!(matches!(answers.look_up("other", ASKED, 0).await.unwrap(), Known::New(_)));
    }

    #[tokio::test]
    async fn what_failed_may_be_tried_again_and_what_is_old_is_forgotten() {
        let (_dir, answers) = answers();
        drop(answers.look_up("k", ASKED, 0).await.unwrap());
        let Known::New(reservation) = answers.look_up("k", ASKED, 0).await.unwrap() else { panic!("new") };
        reservation.keep(answer(), 1000).await.unwrap();
        let Known::New(again) = answers.look_up("k", [2; 32], 1001).await.unwrap() else { panic!("old") };
        again.keep(answer(), 2000).await.unwrap();
        assert_eq!(answers.forget(2000).await.unwrap(), 0);
        assert_eq!(answers.forget(2001).await.unwrap(), 1);
    }
}
