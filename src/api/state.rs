//! What every handler can reach.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use super::metrics::Tallies;
use crate::daemon::App;

/// The daemon as the API sees it. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub app: App,
    /// Of every listener, for the count of streams.
    pub connections: Arc<[Connections]>,
    /// Ends every stream.
    pub closing: CancellationToken,
    pub tallies: Tallies,
}

impl Api {
    /// The daemon, reached over `connections`.
    #[must_use]
    pub fn new(app: App, connections: Arc<[Connections]>) -> Self {
        let closing = app.shutdown.closed.clone();
        Self { app, connections, closing, tallies: Tallies::default() }
    }
}
