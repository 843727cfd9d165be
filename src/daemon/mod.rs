//! The composition: everything below, put to work together. Decides nothing that a layer below could.

pub mod actions;
mod alerts;
pub mod answers;
mod app;
mod backups;
mod believed;
pub mod boot;
pub mod carry;
mod claims;
mod copy;
pub mod dispatch;
mod drift;
mod dropped;
#[cfg(test)]
mod flight_tests;
mod follow;
pub mod health;
mod housekeeping;
mod lock;
pub mod logins;
pub mod logs;
pub mod looks;
mod message;
pub mod phone;
pub mod problems;
mod refused;
pub mod reload;
#[cfg(test)]
mod reload_tests;
pub mod replies;
mod returned;
pub mod ring;
mod said;
pub mod service;
mod settings;
mod shutdown;
pub mod signals;
mod site;
mod startup;
mod tick;
pub mod tickets;
pub mod tokens;
pub mod upkeep;
mod verbs;
pub mod view;
pub mod why;

pub use actions::ACTIONS;
pub use app::{App, Leave};
pub use boot::{BootError, Daemon, Surroundings, boot, rules};
pub use drift::Drift;
pub use health::HealthView;
pub use lock::STATE_LOCK;
pub use refused::{Refused, RefusedKind};
pub use reload::{ReloadError, anchor_text};
pub use site::secret_names;
pub use verbs::{ManualRun, PauseFor};
pub use view::{StatusView, TaskView};
pub use why::Why;

/// The socket that takes run tokens and nothing else, in the state directory.
pub const WORKER_SOCKET: &str = "worker.sock";
