//! What the config is made from, as values, and where its file is looked for.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::problem::{ConfigErrors, Place};
use crate::model::schedule::Zone;

/// Where a file of ours can lie below the current folder, in the order they are tried.
const LOCAL_FILES: [&str; 2] = ["config/lucid.yaml", "lucid.yaml"];
/// The file of the system service.
const SYSTEM_FILE: &str = "/etc/lucid/lucid.yaml";
const SYSTEM_STATE_DIR: &str = "/var/lib/lucid";
const SYSTEM_SOCKET: &str = "/run/lucid/lucid.sock";
const SOCKET_NAME: &str = "lucid.sock";
/// Where every machine takes small files: in memory, and else where it likes.
const SCRATCH_DIRS: [&str; 2] = ["/dev/shm", "/tmp"];

/// Everything outside the file that has a say.
#[derive(Debug, Clone)]
pub struct Sources {
    /// What `--config` names.
    pub config: Option<PathBuf>,
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    pub home: Option<PathBuf>,
    /// IANA name of the machine's time zone, where it has one.
    pub machine_zone: Option<String>,
    pub system_file: PathBuf,
}

/// Whose service a file describes; the paths it leaves out follow from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    System,
    User,
    Anywhere,
}

impl Placement {
    /// What a person types to have a daemon that does not answer started again.
    #[must_use]
    pub fn restart(self) -> &'static str {
        match self {
            Self::System => "systemctl restart lucid",
            Self::User => "systemctl --user restart lucid",
            Self::Anywhere => "lucid serve",
        }
    }

    /// What a person types to have the daemon `pid` started again, which costs no run: `lucid stop` would end them.
    #[must_use]
    pub fn replace(self, pid: u32) -> String {
        match self {
            Self::System | Self::User => self.restart().to_owned(),
            Self::Anywhere => format!("kill {pid}; lucid serve"),
        }
    }

    /// What a person types to start the daemon that was stopped.
    #[must_use]
    pub fn start(self) -> &'static str {
        match self {
            Self::System => "systemctl start lucid",
            Self::User => "systemctl --user start lucid",
            Self::Anywhere => "lucid serve",
        }
    }

    /// What a person types to see how the daemon is doing.
    #[must_use]
    pub fn look(self) -> &'static str {
        match self {
            Self::System => "systemctl status lucid",
            Self::User => "systemctl --user status lucid",
            Self::Anywhere => "lucid status",
        }
    }
}

impl Sources {
    /// The environment, home and folder of this process.
    ///
    /// # Errors
    /// The current folder is gone or may not be read.
    pub fn from_process(config: Option<PathBuf>) -> io::Result<Self> {
        Ok(Self {
            config,
            env: std::env::vars_os().collect(),
            cwd: std::env::current_dir()?,
            home: std::env::home_dir(),
            machine_zone: jiff::tz::TimeZone::system().iana_name().map(str::to_owned),
            system_file: PathBuf::from(SYSTEM_FILE),
        })
    }

    /// The first file there is; one that is named has to be there.
    pub(super) fn find(&self) -> Result<PathBuf, ConfigErrors> {
        if let Some(named) = &self.config {
            return self.named(named, "--config");
        }
        if let Some(named) = self.variable("LUCID_CONFIG") {
            return self.named(Path::new(named), "LUCID_CONFIG");
        }
        let mut looked: Vec<PathBuf> = LOCAL_FILES.iter().map(|file| self.cwd.join(file)).collect();
        looked.extend(self.user_file());
        looked.push(self.system_file.clone());
        looked.iter().find(|path| may_be_there(path)).cloned().ok_or(ConfigErrors::NotFound { looked })
    }

    fn named(&self, path: &Path, by: &str) -> Result<PathBuf, ConfigErrors> {
        let full = tidy(&self.cwd.join(path));
        if may_be_there(&full) {
            return Ok(full);
        }
        Err(ConfigErrors::one(Place::Path(path.to_owned()), format!("no such file; {by} names it")))
    }

    /// As a person names it: from the current folder on when it lies below.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.cwd).unwrap_or(path).to_owned()
    }

    pub(super) fn placement(&self, file: &Path) -> Placement {
        if file == self.system_file {
            Placement::System
        } else if self.user_file().as_deref() == Some(file) {
            Placement::User
        } else {
            Placement::Anywhere
        }
    }

    /// The default of the few keys that depend on where the file lies. The embedded file, which holds
    /// all others, shows them as they are in the repository.
    pub(super) fn placed_default(&self, key: &str, placement: Placement) -> Option<String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        match (key, placement) {
            ("root", Placement::System | Placement::User | Placement::Anywhere) => Some(".".to_owned()),
            ("state_dir", Placement::System) => Some(SYSTEM_STATE_DIR.to_owned()),
            ("state_dir", Placement::User) => {
                self.xdg("XDG_STATE_HOME", ".local/state").map(|dir| text(dir.join("lucid")))
            }
            (_, Placement::System | Placement::User | Placement::Anywhere) => None,
        }
    }

    /// What `control.socket: auto` means.
    pub(super) fn default_socket(&self, placement: Placement, state_dir: &Path) -> PathBuf {
        match placement {
            Placement::System => PathBuf::from(SYSTEM_SOCKET),
            Placement::User => self
                .variable("XDG_RUNTIME_DIR")
                .map_or_else(|| state_dir.to_owned(), |dir| Path::new(dir).join("lucid"))
                .join(SOCKET_NAME),
            Placement::Anywhere => state_dir.join(SOCKET_NAME),
        }
    }

    /// What `timezone: auto` means: a machine whose zone has no name, or none that is known, is in UTC.
    pub(super) fn default_zone(&self) -> Zone {
        self.machine_zone.as_deref().and_then(|name| Zone::parse(name).ok()).unwrap_or(Zone::UTC)
    }

    /// Where systemd has put the service's credentials.
    pub(super) fn credentials(&self) -> Option<PathBuf> {
        self.variable("CREDENTIALS_DIRECTORY").map(PathBuf::from)
    }

    /// Folders for small files that need not outlive the machine, those of our own first.
    #[must_use]
    pub fn scratch_dirs(&self) -> Vec<PathBuf> {
        let set = |name| self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let own = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"].into_iter().filter_map(set);
        own.chain(SCRATCH_DIRS.map(PathBuf::from)).collect()
    }

    fn user_file(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("lucid/lucid.yaml"))
    }

    /// A folder of the XDG base directory specification, which ignores relative ones.
    fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let set = self.variable(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        set.or_else(|| self.home.as_ref().map(|home| home.join(below_home)))
    }

    fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str());
        found.filter(|value| !value.is_empty())
    }
}

/// Whether to try this file: one that may not be looked at is tried, so that its error is told.
fn may_be_there(path: &Path) -> bool {
    match path.metadata() {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// The path without `.` and `..`, by its words alone: `config/..` is what the reader of the file sees
/// there, even when `config` is a link to elsewhere.
pub(super) fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => out.push(part),
        }
    }
    out
}
