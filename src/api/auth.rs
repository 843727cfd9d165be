//! Who asks, and whether they may. Denied unless the table of routes names a right and the caller
//! has it.
//!
//! A request that carries a token is judged by the token alone, whatever socket it came through;
//! one without is judged by its peer's credentials, and only on the control socket. Processes of
//! one uid are no security boundary: scopes keep a worker from doing harm by accident.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::listener::{Door, Origin};
use super::own;
use super::peer::{Level, Peer};
use super::routes;
use crate::model::grant;
use crate::model::ids::{RunId, TaskId, TicketId};
use crate::ticket::{Author, Worker};

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Anyone who can connect: that the daemon lives is no secret.
    Alive,
    Read,
    RunTasks,
    StopRuns,
    PauseTasks,
    HealPools,
    /// Has tickets dispatched and profiles taken up again.
    Dispatch,
    /// Takes note of alerts, mutes them, sends a test.
    TendAlerts,
    EditTasks,
    Reload,
    Drain,
    Stop,
    /// The effective config, which tells paths and names of secrets.
    ReadConfig,
    Backup,
    /// One ticket; a worker's own.
    ReadTicket,
    /// What a worker does on its own ticket: events, comments, questions, files, receipts.
    WorkOnTicket,
    /// Making, moving and sending to any ticket.
    WriteTickets,
    /// Says how the box was found.
    ReportHealth,
    /// Having the built-in actions carried out.
    Upkeep,
    /// Telling of requests that a provider refused: any run may, a worker of its own ticket.
    TellErrors,
}

impl Right {
    pub const ALL: [Self; 20] = [
        Self::Alive,
        Self::Read,
        Self::RunTasks,
        Self::StopRuns,
        Self::PauseTasks,
        Self::HealPools,
        Self::Dispatch,
        Self::TendAlerts,
        Self::EditTasks,
        Self::Reload,
        Self::Drain,
        Self::Stop,
        Self::ReadConfig,
        Self::Backup,
        Self::ReadTicket,
        Self::WorkOnTicket,
        Self::WriteTickets,
        Self::ReportHealth,
        Self::Upkeep,
        Self::TellErrors,
    ];

    /// What a peer needs.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::Alive => Level::None,
            Self::Read | Self::ReadTicket => Level::Read,
            Self::RunTasks
            | Self::StopRuns
            | Self::PauseTasks
            | Self::HealPools
            | Self::WorkOnTicket
            | Self::WriteTickets
            | Self::TendAlerts
            | Self::ReportHealth
            | Self::Upkeep
            | Self::TellErrors
            | Self::Dispatch => Level::Operate,
            Self::EditTasks | Self::Reload | Self::Drain | Self::Stop | Self::ReadConfig | Self::Backup => {
                Level::Admin
            }
        }
    }

    /// What a run's token needs.
    #[must_use]
    pub fn grant(self) -> Need {
        match self {
            Self::Alive | Self::Read | Self::ReadTicket | Self::TellErrors => Need::Nothing,
            Self::WorkOnTicket | Self::WriteTickets => Need::Grant(grant::TICKETS_WRITE),
            Self::RunTasks => Need::Grant(grant::TASKS_RUN),
            Self::StopRuns => Need::Grant(grant::RUNS_STOP),
            Self::PauseTasks => Need::Grant(grant::TASKS_PAUSE),
            Self::HealPools => Need::Grant(grant::POOLS_HEAL),
            Self::ReportHealth => Need::Grant(grant::HEALTH_REPORT),
            Self::Dispatch => Need::Grant(grant::DISPATCH_PASS),
            Self::TendAlerts => Need::Grant(grant::ALERTS_WRITE),
            Self::Upkeep => Need::Grant(grant::UPKEEP_RUN),
            Self::EditTasks => Need::Grant(grant::TASKS_EDIT),
            Self::Reload => Need::Grant(grant::DAEMON_RELOAD),
            Self::Backup => Need::Grant(grant::DAEMON_BACKUP),
            Self::Drain | Self::Stop | Self::ReadConfig => Need::Never,
        }
    }
}

/// What a right asks of a run's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Nothing,
    /// The name as it stands under `grants:` in a task's file.
    Grant(&'static str),
    /// No run may, whatever its task says.
    Never,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Peer(Peer),
    Run(RunCaller),
}

/// A run that shows its own token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCaller {
    pub run: RunId,
    pub task: TaskId,
    pub grants: Vec<String>,
    /// Set for a worker: its token is for this ticket and nothing else.
    pub work: Option<Worker>,
}

impl Caller {
    /// Their name in the ledger and the journal.
    #[must_use]
    pub fn actor(&self) -> String {
        match self {
            Self::Peer(peer) => format!("user:{}", peer.name),
            Self::Run(caller) => format!("run:{}", caller.run),
        }
    }

    /// Who they are to a ticket that is not theirs to work on.
    #[must_use]
    pub fn person(&self) -> Author {
        Author::Person(self.actor())
    }

    /// The worker, if they are one.
    #[must_use]
    pub fn worker(&self) -> Option<&Worker> {
        match self {
            Self::Run(caller) => caller.work.as_ref(),
            Self::Peer(_) => None,
        }
    }

    /// Who they are to `ticket`.
    ///
    /// # Errors
    /// 403 for the worker of another ticket.
    pub fn author(&self, ticket: &TicketId) -> Result<Author, ApiError> {
        match self.worker() {
            None => Ok(self.person()),
            Some(worker) if worker.ticket == *ticket => Ok(Author::Worker(worker.clone())),
            Some(worker) => Err(own::refusal(worker)),
        }
    }

    /// Whether they may do what asks for `right`.
    ///
    /// # Errors
    /// 403 that says what is missing.
    pub fn may(&self, right: Right) -> Result<(), ApiError> {
        match self {
            Self::Peer(peer) if peer.level >= right.level() => Ok(()),
            Self::Peer(peer) => Err(ApiError::forbidden(format!(
                "the user `{}` is not permitted to do this",
                peer.name
            ))
            .help("be root, the daemon's own user, or a member of the group under `control:` in the config")),
            Self::Run(RunCaller { work: Some(worker), .. }) => own::may(worker, right),
            Self::Run(caller) => match right.grant() {
                Need::Nothing => Ok(()),
                Need::Grant(grant) if caller.grants.iter().any(|has| has == grant) => Ok(()),
                Need::Grant(grant) => {
                    Err(ApiError::forbidden(format!("the token of run {} has no `{grant}`", caller.run))
                        .help(format!("add `grants: [{grant}]` to the task {}", caller.task)))
                }
                Need::Never => Err(ApiError::forbidden("no run may do this")),
            },
        }
    }
}

/// What a token turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Unknown,
    /// Its run has ended or been replaced by a later attempt.
    Superseded(RunId),
    Live(RunCaller),
}

/// Looks a token up; the daemon keeps hashes and compares them in constant time.
pub type TokenJudge =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = anyhow::Result<Verdict>> + Send>> + Send + Sync>;

/// Lets a request through to its route with its [`Caller`] in the extensions, or answers 401, 403
/// or 409.
pub async fn authorize(State(judge): State<TokenJudge>, mut request: Request, next: Next) -> Response {
    // Beyond the table (no such path) even reading is more than `Alive` allows.
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let right = match &matched {
        Some(path) => routes::right(request.method(), path),
        None => Some(Right::Read),
    };
    let origin = request.extensions().get::<Origin>().cloned();
    let headers = request.headers().clone();
    let caller = match identify(&headers, origin.as_ref(), &judge).await {
        Ok(caller) => caller,
        Err(refused) if right == Some(Right::Alive) && !has_token(request.headers()) => {
            tracing::trace!(?refused, "an unknown caller asks whether the daemon lives");
            return next.run(request).await;
        }
        Err(refused) => return challenge(refused),
    };
    let Some(right) = right else {
        return undecided(&caller, request.method()).into_response();
    };
    let allowed = caller
        .may(right)
        .and_then(|()| own::hold(&caller, matched.as_deref().unwrap_or_default(), request.uri().path()));
    match allowed {
        Ok(()) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

/// A path whose row in the table lacks this method: 405 for those who may know, 403 for others.
fn undecided(caller: &Caller, method: &Method) -> ApiError {
    match caller.may(Right::Read) {
        Ok(()) => ApiError::new(
            axum::http::StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("this path does not answer to {method}"),
        ),
        Err(refused) => refused,
    }
}

fn challenge(refused: ApiError) -> Response {
    let mut response = refused.into_response();
    if response.status() == axum::http::StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn has_token(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION)
}

async fn identify(
    headers: &HeaderMap,
    origin: Option<&Origin>,
    judge: &TokenJudge,
) -> Result<Caller, ApiError> {
    if has_token(headers) {
        return by_token(headers, judge).await;
    }
    match origin {
        Some(origin) => match origin.door {
            Door::Control => Ok(Caller::Peer(origin.peer.clone())),
            Door::Worker => {
                Err(ApiError::unauthorized("no_token", "this socket takes nothing but run tokens")
                    .help("send `Authorization: Bearer $LUCID_TOKEN`"))
            }
        },
        None => Err(ApiError::unauthorized("no_token", "the request came from nowhere")),
    }
}

async fn by_token(headers: &HeaderMap, judge: &TokenJudge) -> Result<Caller, ApiError> {
    let unknown = || ApiError::unauthorized("unknown_token", "the token is unknown");
    let mut values = headers.get_all(AUTHORIZATION).iter();
    // Two tokens are no token: which of them counts would be a guess.
    let (Some(value), None) = (values.next(), values.next()) else { return Err(unknown()) };
    let text = value.to_str().map_err(|_| unknown())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(unknown());
    }
    match judge(token.trim().to_owned()).await? {
        Verdict::Unknown => Err(unknown()),
        Verdict::Superseded(run) => {
            Err(ApiError::conflict("superseded", format!("run {run} is over; its token counts no more")))
        }
        Verdict::Live(caller) => Ok(Caller::Run(caller)),
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
