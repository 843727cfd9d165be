//! The router: handlers by path, and the layers that every request passes through.

use std::sync::Arc;

use axum::{Extension, Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{self, RunCaller, TokenJudge, Verdict};
use super::idempotency::{self, Keeper};
use super::openapi::Text;
use super::state::Api;
use super::{
    activity, agents, alerts, check, error, extract, health, log, messages, metrics, openapi, pool, runs,
    status, system, tasks, ticket_context, ticket_events, tickets, upkeep,
};
use crate::daemon::App;
use crate::daemon::answers::Answers;
use crate::daemon::tokens::Token;

/// Everything that answers, without its layers.
fn handlers() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(status::healthz))
        .routes(routes!(status::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(status::plain_health))
        .routes(routes!(openapi::openapi))
        .routes(routes!(status::status))
        .routes(routes!(health::health, health::report))
        .routes(routes!(health::tokens, health::report_tokens))
        .routes(routes!(status::problems))
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::show, tasks::patch))
        .routes(routes!(tasks::start))
        .routes(routes!(tasks::next))
        .routes(routes!(tasks::why))
        .routes(routes!(tasks::pause))
        .routes(routes!(tasks::resume))
        .routes(routes!(tasks::pause_all))
        .routes(routes!(tasks::resume_all))
        .routes(routes!(runs::list))
        .routes(routes!(runs::show))
        .routes(routes!(log::log))
        .routes(routes!(log::stream))
        .routes(routes!(runs::kill))
        .routes(routes!(runs::retry))
        .routes(routes!(pool::pool))
        .routes(routes!(pool::heal))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::ack))
        .routes(routes!(alerts::mute))
        .routes(routes!(alerts::unmute))
        .routes(routes!(alerts::test))
        .routes(routes!(agents::list))
        .routes(routes!(agents::enable))
        .routes(routes!(agents::usage))
        .routes(routes!(agents::api_errors, agents::add_api_error))
        .routes(routes!(agents::api_error_summary))
        .routes(routes!(agents::pass))
        .routes(routes!(upkeep::upkeep))
        .routes(routes!(upkeep::brief))
        .routes(routes!(upkeep::syncs))
        .merge(of_tickets())
        .routes(routes!(activity::activity))
        .routes(routes!(activity::stream))
        .routes(routes!(activity::logs))
        .routes(routes!(check::check))
        .routes(routes!(check::preview))
        .routes(routes!(system::reload))
        .routes(routes!(system::drain))
        .routes(routes!(system::undrain))
        .routes(routes!(system::stop))
        .routes(routes!(system::backup))
        .routes(routes!(system::config))
}

/// Tickets and messages.
fn of_tickets() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(tickets::list, tickets::create))
        .routes(routes!(tickets::show, tickets::patch))
        .routes(routes!(tickets::dispatch))
        .routes(routes!(tickets::comments, tickets::comment))
        .routes(routes!(tickets::ask))
        .routes(routes!(tickets::report))
        .routes(routes!(ticket_events::list, ticket_events::append))
        .routes(routes!(ticket_events::stream))
        .routes(routes!(ticket_context::list, ticket_context::link))
        .routes(routes!(ticket_context::unlink))
        .routes(routes!(messages::of_ticket, messages::send))
        .routes(routes!(messages::list))
        .routes(routes!(messages::claim))
        .routes(routes!(messages::ack))
        .routes(routes!(messages::fail))
        .routes(routes!(messages::retry))
        .routes(routes!(messages::remove))
}

/// The document of [`handlers`].
#[cfg(test)]
pub fn document() -> utoipa::openapi::OpenApi {
    handlers().into_openapi()
}

/// The router of every listener.
///
/// # Errors
/// When the OpenAPI document cannot be written.
pub fn router(api: Api) -> anyhow::Result<Router> {
    let keeper = Keeper { answers: Answers::new(api.app.store.clone()), clock: api.app.clock };
    let judge = token_judge(api.app.clone());
    let (router, document) = handlers().split_for_parts();
    let router = router.layer(Extension(Text(openapi::finish(document)?))).with_state(api);
    Ok(layered(router, keeper, judge))
}

/// Puts the layers on, the innermost first: a request passes them from the last to the first.
fn layered(router: Router, keeper: Keeper, judge: TokenJudge) -> Router {
    router
        .layer(middleware::from_fn_with_state(keeper, idempotency::once))
        .layer(middleware::from_fn(idempotency::to_the_end))
        .layer(middleware::from_fn_with_state(judge, auth::authorize))
        .layer(middleware::from_fn(extract::refuse_large))
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn(error::describe))
}

fn token_judge(app: App) -> TokenJudge {
    Arc::new(move |token| {
        let app = app.clone();
        Box::pin(async move {
            Ok(match app.judge_token(&token).await? {
                Token::Unknown => Verdict::Unknown,
                Token::Spent(run) => Verdict::Superseded(run),
                Token::Live { run, task, grants, work } => {
                    Verdict::Live(RunCaller { run, task, grants, work })
                }
            })
        })
    })
}
