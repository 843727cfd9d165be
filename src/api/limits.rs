//! Every bound of the listeners and the router that is no setting, with its unit, in one place.

use std::time::Duration;

/// A request body; more is 413.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;
/// From the end of the headers to the end of the body.
pub const BODY_READ_WITHIN: Duration = Duration::from_secs(10);
/// Request line and headers; more is 431.
pub const HEADER_MAX_BYTES: usize = 16 * 1024;
/// A connection that has not yet sent anything is not evicted this soon after it came.
pub const NEW_SPARED_FOR: Duration = Duration::from_secs(2);
/// Connections beyond those, which get `/healthz` or 503 and are closed.
pub const RESERVE_CONNECTIONS_MAX: usize = 32;
/// How long one of the reserve may take over its request.
pub const RESERVE_READ_WITHIN: Duration = Duration::from_secs(2);
/// A socket that takes no byte for this long, while there are bytes for it, is closed.
pub const WRITE_STALLED_AFTER: Duration = Duration::from_secs(20);
/// How often the hung ones are looked for.
pub const HUNG_CHECK_EVERY: Duration = Duration::from_secs(1);
/// How often a socket is looked for where it belongs: sooner than a heartbeat gives up asking, which is after 4 s.
pub const SOCKET_LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long connections may take to finish when the daemon stops.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// What a caller is told to wait when there is no place.
pub const OVERLOAD_RETRY_AFTER_S: u32 = 1;
/// After an error of `accept` (no descriptor left, say).
pub const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(50);

/// Rows of a page when none are asked for, and at most.
pub const PAGE_DEFAULT: u32 = 50;
pub const PAGE_MAX: u32 = 500;
/// Tasks of a page at most: they are all in memory.
pub const TASK_PAGE_MAX: u32 = 1000;
/// Instants of `next` when none are asked for, and at most.
pub const FIRES_DEFAULT: u32 = 5;
pub const FIRES_MAX: u32 = 500;
/// Lines of the daemon's log when none are asked for, and at most.
pub const LOG_LINES_DEFAULT: u32 = 200;
pub const LOG_LINES_MAX: u32 = 1000;
/// Bytes of a run's log in one answer or stream event.
pub const LOG_CHUNK_MAX_BYTES: usize = 64 * 1024;
/// Lines of `tail`.
pub const LOG_TAIL_MAX_LINES: u32 = 100_000;

/// Silence on a stream after which a comment is sent.
pub const STREAM_PING_EVERY: Duration = Duration::from_secs(15);
/// Frames between a stream's source and its socket.
pub const STREAM_BUFFER_FRAMES: usize = 32;
/// Events that a reader may be behind before it is told to read again.
pub const STREAM_REPLAY_MAX: u32 = 10_000;
/// How soon a browser comes back to a stream that ended, told in `retry:`.
pub const STREAM_RETRY_MS: u32 = 2000;
/// How often a stream of a run looks at a log that grows without a sign.
pub const LOG_POLL_EVERY: Duration = Duration::from_millis(250);

/// How long an answer is kept under its `Idempotency-Key`.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;
/// How often those past that are deleted.
pub const FORGET_ANSWERS_EVERY: Duration = Duration::from_secs(60 * 60);
/// After a read of the journal that failed, while counting for the metrics.
pub const COUNT_RETRY_AFTER: Duration = Duration::from_secs(5);
