//! From `tasks/*.md` to a registry of tasks: reading, judging, watching and the one-line edit.
//!
//! The order of the files is the way of a file: `front` cuts out the front-matter, `yaml` makes
//! places and nodes of it, `keys` says which keys there are, `names` which a wrong one was meant to
//! be, `fields` reads values by that table, `parse` builds the task, `contradict` judges it as a
//! whole, `registry` keeps the last good version of each, `watch` says when to look again. Nothing
//! here runs a task.

pub mod agenda;
mod build;
pub mod check;
pub mod codes;
mod contradict;
pub mod diagnose;
pub mod due;
pub mod edit;
mod fields;
mod fresh;
mod front;
mod here;
pub mod keys;
pub mod names;
mod off;
pub mod parse;
mod quotes;
pub mod registry;
mod scalars;
mod scan;
mod shapes;
mod share;
pub mod table;
#[cfg(test)]
pub mod testing;
pub mod watch;
mod yaml;

pub use diagnose::{Diagnostic, Severity};
pub use edit::{Edit, set_enabled};
pub use here::{Here, Secrets};
pub use parse::{Defaults, Known, Parsed, Rules, parse};
pub use registry::{Change, Entry, Registry, Snapshot};
pub use watch::Watch;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod registry_tests;
