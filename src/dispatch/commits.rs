//! What a worker has committed when it ends.

use std::time::Duration;

use tracing::warn;

use super::finish::AGAIN;
use super::table::Worker;
use super::{Dispatch, DispatchError};
use crate::model::ticket::Ticket;
use crate::platform::failpoint;
use crate::pool::{LeaseId, PoolError};

/// Waits before a worker's commits are looked for again where git did not answer; then its end goes without.
const LOOK_AGAIN: [Duration; 3] = [AGAIN, Duration::from_secs(1), Duration::from_secs(2)];
/// Digits of a commit's id that people see.
const SHORT_ID: usize = 12;

/// What an attempt leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// What the gate to done will look at.
    pub commit: Option<String>,
    /// The commit that the ticket's report names and that was not made in this slot.
    pub strange: Option<String>,
}

impl Dispatch {
    pub(super) async fn left(&self, worker: &Worker, ticket: Option<&Ticket>) -> Left {
        let Some(lease) = worker.place.as_ref().map(|place| place.lease) else { return Left::default() };
        let mut waits = LOOK_AGAIN.into_iter();
        let made = loop {
            let error = match self.made(lease).await {
                Ok(made) => break made,
                Err(e) => e,
            };
            let is_over = matches!(error, DispatchError::Pool(PoolError::LeaseOver(_)));
            let Some(wait) = waits.next().filter(|_| !is_over) else {
                warn!(run = worker.run.0, error = %error, "cannot see what a worker has committed");
                return Left::default();
            };
            tokio::time::sleep(wait).await;
        };
        chosen(&made, ticket.and_then(|ticket| ticket.report.as_ref()?.commit.as_deref()))
    }

    async fn made(&self, lease: LeaseId) -> Result<Vec<String>, DispatchError> {
        failpoint::hit("dispatch.commits")?;
        Ok(self.pools.run_commits(lease).await?)
    }
}

/// The commit of the report if it was `made` in the slot, else the slot's HEAD if it was moved at all.
fn chosen(made: &[String], named: Option<&str>) -> Left {
    let is_named =
        |commit: &&String| named.is_some_and(|name| commit.starts_with(&name.to_ascii_lowercase()));
    match made.iter().find(is_named) {
        Some(commit) => Left { commit: Some(commit.clone()), strange: None },
        None => Left { commit: made.first().cloned(), strange: named.map(str::to_owned) },
    }
}

/// What people are told of a report that names another commit than those of its attempt.
pub(super) fn strange(attempt: u32, named: &str, recorded: Option<&str>) -> String {
    let recorded = match recorded {
        Some(commit) => format!("recorded is {}", commit.get(..SHORT_ID).unwrap_or(commit)),
        None => "none is recorded".to_owned(),
    };
    format!(
        "Attempt {attempt}: its report names the commit {named}, which is not among those that it made; {recorded}."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_where_it_names_a_commit_of_its_own() {
        let made = ["bbbbbbbbb2", "aaaaaaaaa1"].map(str::to_owned);
        let left = |commit: Option<&str>, strange: Option<&str>| Left {
            commit: commit.map(str::to_owned),
            strange: strange.map(str::to_owned),
        };
        assert_eq!(chosen(&made, None), left(Some("bbbbbbbbb2"), None));
        assert_eq!(chosen(&made, Some("AAAAAAA")), left(Some("aaaaaaaaa1"), None));
        assert_eq!(chosen(&made, Some("ccccccc")), left(Some("bbbbbbbbb2"), Some("ccccccc")));
        assert_eq!(chosen(&[], Some("ccccccc")), left(None, Some("ccccccc")));
        assert!(strange(2, "ccccccc", Some("bbbbbbbbb2")).ends_with("that it made; recorded is bbbbbbbbb2."));
    }
}
