//! How well the box is. `verdict`, `token` and `standing` decide from values alone; `look` gathers what anybody
//! can see from outside the daemon, so that a heartbeat works when the daemon does not; `direct` is the way
//! to a person then, and `memory` keeps what went that way, whatever the disk does.
//!
//! Nothing here mends anything: a login that was revoked is never tried again, only told of.

pub mod direct;
pub mod files;
pub mod look;
pub mod memory;
pub mod standing;
pub mod stopped;
pub mod table;
pub mod token;
pub mod verdict;

pub use standing::Standing;
pub use token::{TokenReport, TokenState};
