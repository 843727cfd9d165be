//! Every failure that a caller sees, as an RFC 9457 problem.
//!
//! A handler returns an [`ApiError`]; the outermost layer, [`describe`], adds the path that was
//! asked for and turns whatever else failed on the way (no route, wrong method, a panic) into the
//! same kind of document. Nothing leaves the daemon as a bare status line but what is no HTTP.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::wire::{FieldError, PROBLEM_JSON, Problem, SchemaVersion};
use crate::daemon::{Refused, RefusedKind};

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: String,
    detail: String,
    help: Option<String>,
    errors: Vec<FieldError>,
    retry_after_s: Option<u32>,
}

impl ApiError {
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            detail: detail.into(),
            help: None,
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    #[must_use]
    pub fn unauthorized(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    #[must_use]
    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// A value that is well formed and means nothing.
    #[must_use]
    pub fn invalid(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    #[must_use]
    pub fn unavailable(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }

    /// The daemon's own fault. What it was goes to the daemon's log, never to the caller: an error's
    /// text may hold a path or a value that is not theirs to read.
    #[must_use]
    pub fn internal(cause: &anyhow::Error) -> Self {
        tracing::error!(error = format!("{cause:#}"), "a request failed inside the daemon");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the daemon failed to do this")
            .help("lucid logs --daemon")
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn at(mut self, error: FieldError) -> Self {
        self.errors.push(error);
        self
    }

    /// Seconds after which trying again makes sense.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn problem(&self) -> Problem {
        Problem {
            schema_version: SchemaVersion::default(),
            kind: format!("/errors/{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: String::new(),
            code: self.code.clone(),
            help: self.help.clone(),
            errors: self.errors.clone(),
            retry_after_s: self.retry_after_s,
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let status = match refused.kind {
            RefusedKind::NotFound => StatusCode::NOT_FOUND,
            RefusedKind::Conflict | RefusedKind::Disabled | RefusedKind::Paused | RefusedKind::Draining => {
                StatusCode::CONFLICT
            }
            RefusedKind::Changed => StatusCode::PRECONDITION_FAILED,
            RefusedKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            RefusedKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let error = Self::new(status, refused.code, refused.message);
        if refused.help.is_empty() { error } else { error.help(refused.help) }
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(cause: anyhow::Error) -> Self {
        Self::internal(&cause)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let mut response = render(&problem);
        response.extensions_mut().insert(problem);
        response
    }
}

fn render(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if let Some(seconds) = problem.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Gives every failing response its problem document, with `instance`.
pub async fn describe(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let mut response = next.run(request).await;
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let mut problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None => bare(response.status(), method.as_str(), &path).problem(),
    };
    problem.instance = path;
    let mut described = render(&problem);
    for name in [ALLOW, CONNECTION] {
        if let Some(value) = response.headers().get(&name) {
            described.headers_mut().insert(name, value.clone());
        }
    }
    described
}

/// What a status means that the router or a layer gave without a word.
fn bare(status: StatusCode, method: &str, path: &str) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::not_found(format!("there is nothing at {path}"))
            .help("lucid api GET /api/v1/openapi.json lists every path"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ApiError::new(status, "method_not_allowed", format!("{path} does not answer to {method}"))
        }
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::INTERNAL_SERVER_ERROR => {
            ApiError::new(status, "internal", "the daemon failed to do this").help("lucid logs --daemon")
        }
        other => {
            let reason = other.canonical_reason().unwrap_or("error");
            ApiError::new(other, &reason.to_lowercase().replace([' ', '-'], "_"), reason)
        }
    }
}

/// A body over the limit.
#[must_use]
pub fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("a request body may have at most {} bytes", super::limits::BODY_MAX_BYTES),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use tower::ServiceExt as _;

    async fn ask(method: &str, path: &str) -> (StatusCode, Problem, Response) {
        let router = Router::new()
            .route(
                "/refused",
                get(async || ApiError::conflict("already_running", "#7 is running").help("lucid logs #7")),
            )
            .route("/busy", get(async || ApiError::unavailable("overloaded", "full").retry_after_s(2)))
            .route("/silent", get(async || StatusCode::INTERNAL_SERVER_ERROR))
            .layer(axum::middleware::from_fn(describe));
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let problem = serde_json::from_slice(&bytes).unwrap();
        (parts.status, problem, Response::from_parts(parts, Body::empty()))
    }

    #[tokio::test]
    async fn a_refusal_says_what_where_and_what_to_do() {
        let (status, problem, response) = ask("GET", "/refused").await;
        assert_eq!(status, 409);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(
            serde_json::to_value(problem).unwrap(),
            serde_json::json!({
                "schema_version": 1, "type": "/errors/already_running", "title": "Conflict", "status": 409,
                "detail": "#7 is running", "instance": "/refused", "code": "already_running",
                "help": "lucid logs #7",
            })
        );
    }

    #[tokio::test]
    async fn what_the_router_refuses_is_a_problem_too() {
        let (status, problem, _) = ask("GET", "/nowhere").await;
        assert_eq!(
            (status.as_u16(), problem.code.as_str(), problem.instance.as_str()),
            (404, "not_found", "/nowhere")
        );
        let (status, problem, response) = ask("DELETE", "/busy").await;
        assert_eq!((status.as_u16(), problem.code.as_str()), (405, "method_not_allowed"));
        assert_eq!(response.headers()[ALLOW], "GET,HEAD");
        let (status, problem, _) = ask("GET", "/silent").await;
        assert_eq!((status.as_u16(), problem.code.as_str()), (500, "internal"));
    }

    #[tokio::test]
    async fn waiting_is_said_in_header_and_body() {
        let (_, problem, response) = ask("GET", "/busy").await;
        assert_eq!(problem.retry_after_s, Some(2));
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }

    #[test]
    fn an_inner_error_keeps_its_cause_to_itself() {
        let error = ApiError::internal(&anyhow::anyhow!("reading /secret/path"));
        assert!(!serde_json::to_string(&error.problem()).unwrap().contains("secret"));
    }
}
