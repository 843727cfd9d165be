//! What is said over the socket: every request and response body, the same types for the daemon
//! that writes them and the command line that reads them.
//!
//! Documents grow and never change: a field is added, none is renamed, retyped or removed. Times
//! are RFC 3339 in UTC, durations integers named `*_ms`, absent facts `null`. Nothing here knows
//! the daemon; turning its values into these is `api::convert`.

mod agent;
mod alert;
mod diagnostic;
mod event;
mod health;
mod pool;
mod message;
mod problem;
mod run;
mod status;
mod system;
mod task;
mod ticket;
mod upkeep;

pub use agent::*;
pub use alert::*;
pub use diagnostic::*;
pub use event::*;
pub use health::*;
pub use message::*;
pub use pool::*;
pub use problem::*;
pub use run::*;
pub use status::*;
pub use system::*;
pub use task::*;
pub use ticket::*;
pub use upkeep::*;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The version every document carries as `schema_version`; it rises only when a field changes its
/// meaning, which is what this interface promises not to do.
pub const SCHEMA_VERSION: u32 = 1;

/// `schema_version`: written as [`SCHEMA_VERSION`], read as any number, so that a newer daemon's
/// document is still a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaVersion(u32);

impl Default for SchemaVersion {
    fn default() -> Self {
        Self(SCHEMA_VERSION)
    }
}

impl Serialize for SchemaVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for SchemaVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self)
    }
}

impl PartialSchema for SchemaVersion {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .description(Some("Version of this document's shape"))
            .enum_values(Some([SCHEMA_VERSION]))
            .into()
    }
}

impl ToSchema for SchemaVersion {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("SchemaVersion")
    }
}
