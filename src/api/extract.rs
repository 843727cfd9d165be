//! Reads requests into wire types; what does not fit is a problem that says where.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{self, ApiError};
use super::limits::{BODY_MAX_BYTES, BODY_READ_WITHIN};
use super::wire::FieldError;
use crate::model::alert::AlertId;
use crate::model::ids::{RunId, TaskId, TicketId};
use crate::model::message::MessageId;

/// A JSON body. No body at all reads as `{}`, so that a call whose every field may be left out
/// needs none.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(body).await?;
        if bytes.is_empty() {
            return parse(b"{}").map(Self);
        }
        require_json(&parts.headers)?;
        parse(&bytes).map(Self)
    }
}

/// No body, or `{}`: whatever else somebody sends to a call that takes nothing was meant to change what it does.
#[derive(Debug)]
pub struct NoBody;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Json(Nothing {}) = Json::from_request(request, state).await?;
        Ok(Self)
    }
}

/// Holds the declared type of a body to JSON.
///
/// # Errors
/// 415
pub fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    if is_json(headers) {
        return Ok(());
    }
    let what = "the body must be JSON";
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", what)
        .help("Content-Type: application/json"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Serde would take a list for the fields of an object in their order.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        return Err(ApiError::invalid("invalid_body", "the body is a list; a JSON object belongs here"));
    }
    serde_json::from_slice(bytes).map_err(|cause| {
        let column = u32::try_from(cause.column()).ok();
        let place = FieldError { pointer: String::new(), column, message: cause.to_string(), help: None };
        let error = match cause.classify() {
            serde_json::error::Category::Data => ApiError::invalid("invalid_body", format!("{cause}")),
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => ApiError::new(
                StatusCode::BAD_REQUEST,
                "invalid_json",
                format!("the body is no JSON: {cause}"),
            ),
        };
        error.at(place)
    })
}

/// Reads a whole body within the limits of size and time.
///
/// # Errors
/// 413, 408, or 400 when it breaks off.
pub async fn read(body: Body) -> Result<Vec<u8>, ApiError> {
    let collected =
        tokio::time::timeout(BODY_READ_WITHIN, Limited::new(body, BODY_MAX_BYTES).collect()).await;
    match collected {
        Ok(Ok(bytes)) => Ok(bytes.to_bytes().to_vec()),
        Ok(Err(cause)) if cause.is::<LengthLimitError>() => Err(error::too_large()),
        Ok(Err(_)) => Err(ApiError::new(StatusCode::BAD_REQUEST, "broken_body", "the body broke off")),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_too_slow",
            format!("the body did not come within {} s", BODY_READ_WITHIN.as_secs()),
        )),
    }
}

/// Refuses a body that is too large before a byte of it is read, on every route.
pub async fn refuse_large(request: Request, next: Next) -> Response {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match declared.map(str::parse::<u64>) {
        Some(Ok(length)) if length > BODY_MAX_BYTES as u64 => error::too_large().into_response(),
        Some(Ok(_) | Err(_)) | None => next.run(request).await,
    }
}

/// A query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::invalid("invalid_query", rejection.body_text())),
        }
    }
}

/// `{id}` of a task; `/` in it is written `%2F`.
#[derive(Debug)]
pub struct TaskPath(pub TaskId);

impl<S: Send + Sync> FromRequestParts<S> for TaskPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = id_text(parts, state).await?;
        // What cannot be an id is the id of nothing.
        TaskId::parse(&text)
            .map(Self)
            .map_err(|cause| ApiError::not_found(cause.to_string()).help("lucid tasks"))
    }
}

/// `{id}` of a run.
#[derive(Debug)]
pub struct RunPath(pub RunId);

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = id_text(parts, state).await?;
        text.parse().map(Self).map_err(|cause: crate::model::ids::IdError| {
            ApiError::not_found(cause.to_string()).help("lucid runs")
        })
    }
}

/// `{id}` of a ticket.
#[derive(Debug)]
pub struct TicketPath(pub TicketId);

impl<S: Send + Sync> FromRequestParts<S> for TicketPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        ticket_id(&id_text(parts, state).await?).map(Self)
    }
}

fn ticket_id(text: &str) -> Result<TicketId, ApiError> {
    text.parse().map_err(|cause: crate::model::ids::IdError| {
        ApiError::not_found(cause.to_string()).help("lucid tickets")
    })
}

/// `{id}` and `{ctx_id}` of a ticket's file.
#[derive(Debug)]
pub struct LinkPath {
    pub ticket: TicketId,
    pub link: i64,
}

impl<S: Send + Sync> FromRequestParts<S> for LinkPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((ticket, link)) = path.map_err(|rejection| ApiError::not_found(rejection.body_text()))?;
        let link = link.parse().map_err(|_| ApiError::not_found("the ticket has no such file"))?;
        Ok(Self { ticket: ticket_id(&ticket)?, link })
    }
}

/// `{id}` of a message.
#[derive(Debug)]
pub struct MessagePath(pub MessageId);

impl<S: Send + Sync> FromRequestParts<S> for MessagePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = id_text(parts, state).await?;
        let number = text
            .parse()
            .map_err(|_| ApiError::not_found("a message is a number such as `12`").help("lucid messages"))?;
        Ok(Self(MessageId(number)))
    }
}

/// `{id}` of an alert.
#[derive(Debug)]
pub struct AlertPath(pub AlertId);

impl<S: Send + Sync> FromRequestParts<S> for AlertPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = id_text(parts, state).await?;
        let number = text
            .parse()
            .map_err(|_| ApiError::not_found("an alert is a number such as `12`").help("lucid alerts"))?;
        Ok(Self(AlertId(number)))
    }
}

async fn id_text<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, ApiError> {
    match Path::<String>::from_request_parts(parts, state).await {
        Ok(Path(text)) => Ok(text),
        Err(rejection) => Err(ApiError::not_found(rejection.body_text())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::{KillRun, Problem, RunFilter, TaskPatch};
    use axum::Router;
    use axum::routing::{get, post};
    use tower::ServiceExt as _;

    fn router() -> Router {
        Router::new()
            .route("/kill", post(async |Json(kill): Json<KillRun>| format!("{:?}", kill.grace_ms)))
            .route("/patch", post(async |Json(patch): Json<TaskPatch>| patch.enabled.to_string()))
            .route("/runs", get(async |Query(filter): Query<RunFilter>| format!("{:?}", filter.limit)))
            .route("/tasks/{id}", get(async |TaskPath(id): TaskPath| id.to_string()))
            .route("/runs/{id}", get(async |RunPath(id): RunPath| id.to_string()))
            .layer(axum::middleware::from_fn(refuse_large))
            .layer(axum::middleware::from_fn(error::describe))
    }

    async fn send(request: Request) -> (u16, String) {
        let response = router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => (status, problem.code),
            Err(_) => (status, text),
        }
    }

    async fn json(path: &str, body: &'static str) -> (u16, String) {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json; charset=utf-8");
        send(request.body(Body::from(body)).unwrap()).await
    }

    fn is((got, said): (u16, String), status: u16, text: &str) {
        assert_eq!((got, said), (status, text.to_owned()));
    }

    #[tokio::test]
    async fn bodies_are_read_or_refused_by_their_fault() {
        is(json("/kill", r#"{"grace_ms":5}"#).await, 200, "Some(5)");
        is(send(Request::post("/kill").body(Body::empty()).unwrap()).await, 200, "None");
        is(send(Request::post("/patch").body(Body::empty()).unwrap()).await, 422, "invalid_body");
        is(json("/kill", r#"{"grace":5}"#).await, 422, "invalid_body");
        is(json("/kill", r#"{"grace_ms":-5}"#).await, 422, "invalid_body");
        is(json("/kill", "[5]").await, 422, "invalid_body");
        is(json("/kill", " [").await, 422, "invalid_body");
        is(json("/kill", r#"{"grace_ms":"#).await, 400, "invalid_json");
        is(json("/kill", "\u{0}").await, 400, "invalid_json");
        let plain = Request::post("/kill").header(CONTENT_TYPE, "text/plain");
        is(send(plain.body(Body::from("{}")).unwrap()).await, 415, "unsupported_media_type");
    }

    #[tokio::test]
    async fn a_large_body_is_refused_declared_or_not() {
        let declared = Request::get("/runs").header(CONTENT_LENGTH, "1000000000");
        is(send(declared.body(Body::empty()).unwrap()).await, 413, "body_too_large");
        let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 4096]));
        let undeclared = Request::post("/kill").header(CONTENT_TYPE, "application/json");
        is(send(undeclared.body(Body::from_stream(endless)).unwrap()).await, 413, "body_too_large");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        let silent = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        let request = Request::post("/kill").header(CONTENT_TYPE, "application/json");
        is(send(request.body(Body::from_stream(silent)).unwrap()).await, 408, "body_too_slow");
    }

    #[tokio::test]
    async fn queries_and_ids() {
        let get = |path: &str| send(Request::get(path).body(Body::empty()).unwrap());
        is(get("/runs?limit=7").await, 200, "Some(7)");
        is(get("/runs?limit=x").await, 422, "invalid_query");
        is(get("/runs?limt=7").await, 422, "invalid_query");
        is(get("/tasks/sub%2Fname").await, 200, "sub/name");
        is(get("/tasks/..%2F..%2Fetc").await, 404, "not_found");
        is(get("/tasks/a%00").await, 404, "not_found");
        is(get("/tasks/%FF").await, 404, "not_found");
        is(get("/runs/%238132").await, 200, "#8132");
        is(get("/runs/0").await, 404, "not_found");
    }
}
