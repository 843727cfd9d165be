//! What the keeper of a worker gets: argv by the profile, the prompt by standard input, and an environment
//! that says whose worker it is.

use std::collections::BTreeMap;
use std::path::Path;

use super::table::Worker;
use super::{Dispatch, dialect};
use crate::config;
use crate::model::run::Run;
use crate::model::time::millis_unsigned;
use crate::model::worker::Dialect;
use crate::platform::process::spec::{Spec, Stdin, Stdout};
use crate::run::command::{self, Blocked, COOKIE};
use crate::run::supervise::{Prepared, random_token};

/// Most of a worker's lines that are kept, in bytes.
pub(super) const EVENTS_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// This program, as a profile may name it.
const OURSELVES: &str = "lucid";

/// How a prompt reaches the program.
pub(super) struct Told {
    pub stdin: Stdin,
    pub input: Vec<String>,
}

pub(super) fn told(dialect: Dialect, prompt: &str) -> Told {
    if dialect.is_live() {
        Told { stdin: Stdin::Live, input: vec![dialect::input_line(0, prompt)] }
    } else {
        Told { stdin: Stdin::Text(prompt.to_owned()), input: Vec::new() }
    }
}

impl Dispatch {
    pub(super) fn prepare(
        &self,
        run: &Run,
        worker: &Worker,
        profile: &config::Agent,
        path: &Path,
        prompt: &str,
        session: Option<String>,
    ) -> Result<Prepared, Blocked> {
        let site = &self.runs.site;
        let token = random_token().map_err(|e| Blocked::Definition(e.to_string()))?;
        let wishes = dialect::Wishes { model: profile.model.clone(), resume: session, ..Default::default() };
        let Told { stdin, input } = told(profile.dialect, prompt);
        let spec = Spec {
            cookie: (COOKIE.to_owned(), command::cookie(&token)),
            argv: self.argv(profile, &wishes),
            preflight: None,
            env: self.environment(run, worker, profile).into_iter().collect(),
            cwd: path.to_owned(),
            timeout_ms: millis_unsigned(profile.max_runtime),
            kill_grace_ms: millis_unsigned(self.kill_grace),
            idle_timeout_ms: None,
            log_max: self.log_max,
            stdin,
            stdout: Stdout::Lines { max_bytes: EVENTS_MAX_BYTES },
            cgroups: site.cgroups,
        };
        let private = command::private(site, &profile.secrets, &token)?;
        Ok(Prepared { spec, private, token, input })
    }

    /// The profile's command with the dialect's flags; `lucid` is this program, wherever it lies.
    pub(super) fn argv(&self, profile: &config::Agent, wishes: &dialect::Wishes) -> Vec<String> {
        self.ours(dialect::argv(profile.dialect, &profile.command, wishes))
    }

    /// `lucid` as a program is this one.
    pub(super) fn ours(&self, mut argv: Vec<String>) -> Vec<String> {
        if let Some(first) = argv.first_mut().filter(|first| *first == OURSELVES) {
            *first = self.runs.site.exe.to_string_lossy().into_owned();
        }
        argv
    }

    fn environment(&self, run: &Run, worker: &Worker, profile: &config::Agent) -> BTreeMap<String, String> {
        let site = &self.runs.site;
        let mut env = site.inherited.clone();
        env.extend(profile.env.clone());
        let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
        set("LUCID_TASK", run.task.to_string());
        set("LUCID_RUN_ID", run.id.0.to_string());
        set("LUCID_ATTEMPT", worker.attempt.to_string());
        set("LUCID_TRIGGER", run.trigger.name().to_owned());
        set("LUCID_TIMEOUT_SECS", profile.max_runtime.as_secs().to_string());
        set("LUCID_SOCKET", site.worker_socket.to_string_lossy().into_owned());
        set("LUCID_FENCE", worker.fence.0.to_string());
        if let Some(ticket) = &worker.ticket {
            set("LUCID_TICKET", ticket.to_string());
        }
        if let Some(place) = &worker.place {
            set("LUCID_SLOT", place.slot.clone());
            if let Some(branch) = &place.branch {
                set("LUCID_BRANCH", branch.clone());
            }
        }
        env
    }
}
