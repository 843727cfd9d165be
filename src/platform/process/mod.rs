//! The one place that starts and ends processes, with hard limits that hold when the daemon is dead.
//!
//! The daemon asks its [`Nursery`] (a single-threaded child) for a keeper; the keeper takes the run's lock,
//! says that it is ready and waits at the [`Gate`]. Only "go" starts the command. From there the keeper alone
//! enforces the run's limits, keeps its output and leaves `exit.json`; the daemon merely looks on.
//!
//! Daemon's side: `gate`, `watch`, `kill`, `output`. Other side: `nursery`, `keeper` and what they use.

pub mod bounded;
mod cgroup;
mod child;
mod control;
mod ending;
mod feed;
mod gate;
mod idle;
mod inside;
mod keeper;
mod kill;
mod lines;
mod log;
mod mask;
mod nursery;
pub mod output;
mod pump;
mod request;
mod resident;
pub mod spec;
mod supervise;
mod sys;
mod tree;
mod watch;

pub use control::STDIN_END;
pub use control::{append_stdin, begin_stdin, close_stdin, stop};
pub use gate::{ForkError, Gate, NURSERY_COMMAND, Nursery, Turn};
pub use inside::processes_inside;
#[cfg(debug_assertions)]
pub use kill::die;
pub use kill::{clear, kill_tree, sweep_cookie};
pub use mask::{MASK_MIN_BYTES, Masker};
pub use nursery::nursery_main;
pub use resident::give_memory_back;
pub use spec::{Cause, End, Exit, Private, Spec, Started, Stdin, Stdout};
pub use sys::spare_heap;
pub use watch::{Found, Keeper, boot_id, examine, is_kept, kill_failed, this_process};
