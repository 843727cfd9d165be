//! JSON over HTTP on the control socket: the wire types, one file a resource, and the listeners.

pub mod auth;
pub mod bind;
pub mod connections;
pub mod convert;
pub mod cursor;
pub mod error;
pub mod extract;
pub mod idempotency;
pub mod limits;
pub mod listener;
pub mod peer;
pub mod prometheus;
pub mod routes;
pub mod sse;
pub mod wire;
