//! Whose token is it? Runs show theirs to act for their task; the ledger holds only the hashes.

use sha2::{Digest as _, Sha256};

use crate::config::SyncAction;
use crate::model::grant;
use crate::model::ids::{RunId, TaskId};
use crate::model::task::{Kind, Task};
use crate::ops;
use crate::run::table;
use crate::store::StoreError;
use crate::ticket::Worker;

use super::App;

/// What a token turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Unknown,
    /// Its run is over.
    Spent(RunId),
    Live {
        run: RunId,
        task: TaskId,
        /// Rights beyond reading.
        grants: Vec<String>,
        /// Set when the run works on a ticket: its token is for that ticket and nothing else.
        work: Option<Worker>,
    },
}

impl App {
    /// Looks `token` up. What is compared is a digest of 256 random bits, so that the time it takes
    /// tells nothing about the token.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn judge_token(&self, token: &str) -> Result<Token, StoreError> {
        let hash = Sha256::digest(token.as_bytes()).to_vec();
        let found = self.store.read(move |conn| Ok::<_, StoreError>(table::by_token(conn, &hash)?)).await?;
        let Some(run) = found else { return Ok(Token::Unknown) };
        if !run.state().is_live() {
            return Ok(Token::Spent(run.id));
        }
        let snapshot = self.snapshot();
        let definition = snapshot.get(&run.task).and_then(|entry| entry.definition.clone());
        // A grant that has been taken out of the file is taken from the run as well.
        let grants = definition.map(|task| grants(&task)).unwrap_or_default();
        let ticket = run.ticket.as_deref().and_then(|id| id.parse().ok());
        let work = ticket.map(|ticket| Worker { ticket, run: run.id, fence: run.fence });
        Ok(Token::Live { run: run.id, task: run.task, grants, work })
    }
}

fn is_sync(action: &str) -> bool {
    SyncAction::parse(action).is_some()
}

/// A built-in gets what it is built to do, whatever its file says.
fn grants(task: &Task) -> Vec<String> {
    match &task.kind {
        Kind::Action(name) if name == super::dispatch::TICKET_PICKUP => vec![grant::DISPATCH_PASS.to_owned()],
        Kind::Action(name) if name == super::health::HEARTBEAT || name == super::health::TOKEN_HEALTH => {
            vec![grant::HEALTH_REPORT.to_owned()]
        }
        Kind::Action(name) if ops::UPKEEP.contains(&name.as_str()) || is_sync(name) => {
            vec![grant::UPKEEP_RUN.to_owned()]
        }
        Kind::Action(_) => Vec::new(),
        Kind::Command(_) | Kind::Agent(_) => task.settings.grants.clone(),
    }
}
