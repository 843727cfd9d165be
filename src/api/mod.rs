//! JSON over HTTP on the control socket: the wire types, one file a resource, and the listeners.
//!
//! A request comes through `listener`, which counts and times connections; then through the layers
//! of `router`: `error` describes what fails, `extract` bounds bodies, `auth` knows the caller and
//! looks the right up in `routes`, `idempotency` does a thing once; then to the file of its
//! resource, which asks the daemon and writes its answer with `convert`.

mod activity;
mod alerts;
pub mod auth;
pub mod bind;
mod check;
pub mod connections;
mod convert;
mod convert_health;
mod convert_ticket;
mod cursor;
pub mod error;
mod extract;
mod health;
mod idempotency;
pub mod limits;
pub mod listener;
mod log;
mod messages;
mod metrics;
mod openapi;
mod own;
pub mod peer;
mod place;
mod agents;
mod pool;
mod prometheus;
mod pulse;
pub mod router;
pub mod routes;
mod runs;
pub mod serve;
mod sse;
pub mod state;
mod status;
mod system;
mod tasks;
mod ticket_context;
mod ticket_events;
mod tickets;
mod upkeep;
pub mod wire;
