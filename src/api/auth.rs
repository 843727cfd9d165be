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
use super::peer::{Level, Peer};
use super::routes;
use crate::model::ids::{RunId, TaskId};

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
    EditTasks,
    Reload,
    Drain,
    Stop,
    /// The effective config, which tells paths and names of secrets.
    ReadConfig,
    Backup,
}

impl Right {
    pub const ALL: [Self; 12] = [
        Self::Alive,
        Self::Read,
        Self::RunTasks,
        Self::StopRuns,
        Self::PauseTasks,
        Self::HealPools,
        Self::EditTasks,
        Self::Reload,
        Self::Drain,
        Self::Stop,
        Self::ReadConfig,
        Self::Backup,
    ];

    /// What a peer needs.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::Alive => Level::None,
            Self::Read => Level::Read,
            Self::RunTasks | Self::StopRuns | Self::PauseTasks | Self::HealPools => Level::Operate,
            Self::EditTasks | Self::Reload | Self::Drain | Self::Stop | Self::ReadConfig | Self::Backup => {
                Level::Admin
            }
        }
    }

    /// What a run's token needs.
    #[must_use]
    pub fn grant(self) -> Need {
        match self {
            Self::Alive | Self::Read => Need::Nothing,
            Self::RunTasks => Need::Grant("tasks:run"),
            Self::StopRuns => Need::Grant("runs:stop"),
            Self::PauseTasks => Need::Grant("tasks:pause"),
            Self::HealPools => Need::Grant("pools:heal"),
            Self::EditTasks => Need::Grant("tasks:edit"),
            Self::Reload => Need::Grant("daemon:reload"),
            Self::Backup => Need::Grant("daemon:backup"),
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
    let right = match request.extensions().get::<MatchedPath>() {
        Some(path) => routes::right(request.method(), path.as_str()),
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
    match caller.may(right) {
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
mod tests {
    use super::*;

    fn peer(level: Level) -> Caller {
        Caller::Peer(Peer { uid: 1000, name: "alice".into(), pid: None, level })
    }

    fn run(grants: &[&str]) -> Caller {
        Caller::Run(RunCaller {
            run: RunId(7),
            task: TaskId::parse("t").unwrap(),
            grants: grants.iter().map(|&g| g.to_owned()).collect(),
        })
    }

    /// The whole policy on one screen: a right × a caller.
    #[test]
    fn rights_by_caller() {
        let callers = [
            ("stranger", peer(Level::None)),
            ("read", peer(Level::Read)),
            ("operate", peer(Level::Operate)),
            ("admin", peer(Level::Admin)),
            ("run", run(&[])),
            ("run+tasks:run", run(&["tasks:run"])),
            (
                "run+all",
                run(&[
                    "tasks:run",
                    "runs:stop",
                    "tasks:pause",
                    "pools:heal",
                    "tasks:edit",
                    "daemon:reload",
                    "daemon:backup",
                ]),
            ),
        ];
        let table: Vec<String> = Right::ALL
            .into_iter()
            .map(|right| {
                let may: Vec<&str> =
                    callers.iter().filter(|(_, c)| c.may(right).is_ok()).map(|(name, _)| *name).collect();
                format!("{right:?}: {}", may.join(" "))
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        Alive: stranger read operate admin run run+tasks:run run+all
        Read: read operate admin run run+tasks:run run+all
        RunTasks: operate admin run+tasks:run run+all
        StopRuns: operate admin run+all
        PauseTasks: operate admin run+all
        HealPools: operate admin run+all
        EditTasks: admin run+all
        Reload: admin run+all
        Drain: admin
        Stop: admin
        ReadConfig: admin
        Backup: admin run+all
        ");
    }

    #[test]
    fn actors_are_named() {
        assert_eq!(peer(Level::Read).actor(), "user:alice");
        assert_eq!(run(&[]).actor(), "run:#7");
    }
}
