//! `Idempotency-Key`: a POST that is sent again with the same key is answered as the first was, and
//! done once. And a write goes on to its end although its caller has left.
//!
//! Only answers that say "done" are kept: a refusal may well become a success, and a caller who
//! tries again after one means to try again.

use axum::body::{self, Body};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::auth::Caller;
use super::error::ApiError;
use super::extract;
use super::limits::{BODY_MAX_BYTES, IDEMPOTENCY_KEPT, IDEMPOTENCY_KEY_MAX_BYTES, OVERLOAD_RETRY_AFTER_S};
use crate::daemon::answers::{Answer, Answers, Known, Reservation};
use crate::model::text::hex;
use crate::platform::clock::Clock;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was kept from before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Where answers are kept, and what time it is.
#[derive(Clone)]
pub struct Keeper {
    pub answers: Answers,
    pub clock: Clock,
}

/// What is kept of an answer: its headers count too, but only those that say something.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    location: Option<String>,
    body: String,
}

/// The key of this request, its owner before it and a digest of what is asked behind, for a handler that can keep it in the transaction
/// of what it does: then not even a crash before the answer is kept makes it do the thing twice.
#[derive(Debug, Clone)]
pub struct RequestKey(pub String);

/// Does a POST with a key once.
pub async fn once(State(keeper): State<Keeper>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    match answer_once(&keeper, request, next).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn answer_once(keeper: &Keeper, request: Request, next: Next) -> Result<Response, ApiError> {
    let key = key_of(&request)?;
    let (parts, body) = request.into_parts();
    let body = extract::read(body).await?;
    let mut digest = Sha256::new();
    digest.update(parts.uri.path().as_bytes());
    digest.update([0]);
    digest.update(&body);
    let asked: [u8; 32] = digest.finalize().into();
    let since_ms = keeper.clock.wall_ms().saturating_sub(crate::model::time::millis(IDEMPOTENCY_KEPT));
    let known = keeper.answers.look_up(&key, asked, since_ms).await.map_err(anyhow::Error::from)?;
    match known {
        Known::New(reservation) => {
            let mut request = Request::from_parts(parts, Body::from(body));
            request.extensions_mut().insert(RequestKey(format!("{key} {}", hex(&asked))));
            let response = next.run(request).await;
            keep(keeper, reservation, response).await
        }
        Known::Same(answer) => replay(&answer),
        Known::Other => Err(ApiError::invalid(
            "idempotency_key_reused",
            "something else was asked under this Idempotency-Key before",
        )),
        Known::UnderWay => {
            Err(ApiError::conflict("under_way", "the first request with this key is under way")
                .retry_after_s(OVERLOAD_RETRY_AFTER_S))
        }
    }
}

/// The key, with its owner before it.
fn key_of(request: &Request) -> Result<String, ApiError> {
    let refuse = || {
        let what = format!("an Idempotency-Key is 1 to {IDEMPOTENCY_KEY_MAX_BYTES} visible characters");
        ApiError::invalid("bad_idempotency_key", what)
    };
    let mut values = request.headers().get_all(KEY).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(refuse()) };
    let key = value.to_str().map_err(|_| refuse())?.trim();
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX_BYTES {
        return Err(refuse());
    }
    let owner = request.extensions().get::<Caller>().map(Caller::actor).unwrap_or_default();
    Ok(format!("{owner} {key}"))
}

async fn keep(keeper: &Keeper, reservation: Reservation, response: Response) -> Result<Response, ApiError> {
    if !response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes = body::to_bytes(body, BODY_MAX_BYTES).await.map_err(anyhow::Error::from)?;
    let location = parts.headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let kept = Kept { location, body: String::from_utf8_lossy(&bytes).into_owned() };
    let body = serde_json::to_string(&kept).map_err(anyhow::Error::from)?;
    let answer = Answer { status: parts.status.as_u16(), body };
    // The thing is done: a caller who is told otherwise would do it again.
    if let Err(cause) = reservation.keep(answer, keeper.clock.wall_ms()).await {
        tracing::error!(%cause, "an answer could not be kept for its Idempotency-Key");
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replay(answer: &Answer) -> Result<Response, ApiError> {
    let kept: Kept = serde_json::from_str(&answer.body).map_err(anyhow::Error::from)?;
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(anyhow::Error::from)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(location) = kept.location.and_then(|location| location.parse().ok()) {
        headers.insert(LOCATION, location);
    }
    Ok(response)
}

/// Runs a write in a task of its own: its caller may leave, but half of it must not be done.
pub async fn to_the_end(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(panicked) => ApiError::internal(&anyhow::Error::from(panicked)).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::Problem;
    use crate::store::Store;
    use axum::Router;
    use axum::routing::post;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tower::ServiceExt as _;

    struct World {
        _dir: tempfile::TempDir,
        router: Router,
        done: Arc<AtomicUsize>,
    }

    fn world() -> World {
        let dir = tempfile::tempdir().unwrap();
        let answers = Answers::new(Store::open(dir.path(), 0).unwrap().store);
        let done = Arc::new(AtomicUsize::new(0));
        let (counter, slow_counter) = (done.clone(), done.clone());
        let make = async move |body: String| {
            let n = counter.fetch_add(1, Ordering::SeqCst) + 1;
            if body == "no" {
                return Err(ApiError::conflict("already_running", "not now"));
            }
            Ok((StatusCode::ACCEPTED, [(LOCATION, format!("/made/{n}"))], format!("{{\"n\":{n}}}")))
        };
        let slow = async move || {
            tokio::time::sleep(Duration::from_millis(50)).await;
            slow_counter.fetch_add(1, Ordering::SeqCst);
        };
        let keeper = Keeper { answers, clock: Clock::system() };
        let router = Router::new()
            .route("/make", post(make))
            .route("/slow", post(slow))
            .route("/panic", post(async || -> StatusCode { panic!("as a handler might") }))
            .layer(axum::middleware::from_fn_with_state(keeper, once))
            .layer(axum::middleware::from_fn(to_the_end));
        World { _dir: dir, router, done }
    }

    async fn send(world: &World, key: &str, path: &str, body: &'static str) -> (u16, String, Option<String>) {
        let request = Request::post(path).header(KEY, key).body(Body::from(body)).unwrap();
        let response = world.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let location = response.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        let bytes = body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let code = serde_json::from_str::<Problem>(&text).map(|problem| problem.code);
        (status, code.unwrap_or(text), location)
    }

    #[tokio::test]
    async fn a_repeated_request_is_answered_alike_and_done_once() {
        let world = world();
        let first = send(&world, "k1", "/make", "a").await;
        assert_eq!(first, (202, "{\"n\":1}".to_owned(), Some("/made/1".to_owned())));
        assert_eq!(send(&world, "k1", "/make", "a").await, first);
        assert_eq!(world.done.load(Ordering::SeqCst), 1);
        assert_eq!(send(&world, "k1", "/make", "b").await.1, "idempotency_key_reused");
        assert_eq!(send(&world, "k1", "/slow", "a").await.0, 422);
        assert_eq!(send(&world, "k2", "/make", "a").await.1, "{\"n\":2}");
    }

    #[tokio::test]
    async fn a_refusal_is_not_kept() {
        let world = world();
        assert_eq!(send(&world, "k", "/make", "no").await.0, 409);
        assert_eq!(send(&world, "k", "/make", "yes").await.1, "{\"n\":2}");
    }

    #[tokio::test]
    async fn twice_at_once_is_done_once() {
        let world = world();
        let (one, two) = tokio::join!(send(&world, "k", "/slow", ""), send(&world, "k", "/slow", ""));
        let mut statuses = [one.0, two.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        assert_eq!(world.done.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn keys_that_are_none_are_refused() {
        let world = world();
        for key in ["", " ", &"k".repeat(IDEMPOTENCY_KEY_MAX_BYTES + 1)] {
            assert_eq!(send(&world, key, "/make", "a").await.1, "bad_idempotency_key");
        }
        assert_eq!(world.done.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_write_ends_although_its_caller_left_or_it_panicked() {
        let world = world();
        let request = Request::post("/slow").body(Body::empty()).unwrap();
        let asked =
            tokio::time::timeout(Duration::from_millis(5), world.router.clone().oneshot(request)).await;
        assert!(asked.is_err(), "the caller is gone");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(world.done.load(Ordering::SeqCst), 1);
        assert_eq!(send(&world, "k", "/panic", "").await.1, "internal");
    }
}
