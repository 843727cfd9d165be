//! JSON over HTTP on the control socket: the wire types, one file a resource, and the listeners.
//!
//! A request comes through `listener`, which counts and times connections; then through the layers
//! of `router`: `error` describes what fails, `extract` bounds bodies, `auth` knows the caller and
//! looks the right up in `routes`, `idempotency` does a thing once; then to the file of its
//! resource, which asks the daemon and writes its answer with `convert`.

pub mod activity;
pub mod auth;
pub mod bind;
pub mod check;
pub mod connections;
pub mod convert;
pub mod cursor;
pub mod error;
pub mod extract;
pub mod idempotency;
pub mod limits;
pub mod listener;
pub mod log;
pub mod metrics;
pub mod openapi;
pub mod peer;
pub mod pool;
pub mod prometheus;
pub mod router;
pub mod routes;
pub mod runs;
pub mod serve;
pub mod sse;
pub mod state;
pub mod status;
pub mod system;
pub mod tasks;
pub mod wire;
