//! A directory, a nursery, and what the stories ask of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lucid::platform::process::spec::Cgroups;
use lucid::platform::process::{
    Exit, ForkError, Found, Gate, Keeper, Nursery, Private, Spec, Started, Stdin, Stdout, boot_id, examine,
};
use rustix::process::{Pid, Signal, kill_process};

/// Longest that any run of these tests may take, whatever its timeout.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What a kill may take beyond timeout and grace.
pub const KILL_SLACK: Duration = Duration::from_secs(2);

pub struct World {
    pub root: tempfile::TempDir,
    pub nursery: Nursery,
}

pub fn world() -> World {
    let nursery = Nursery::start(Path::new(env!("CARGO_BIN_EXE_lucid"))).expect("the nursery starts");
    World { root: tempfile::tempdir().expect("a directory"), nursery }
}

/// A cookie that no other test and no earlier run of these tests has.
pub fn cookie(id: &str) -> (String, String) {
    ("LUCID_RUN_ID".to_owned(), format!("{id}-{}", std::process::id()))
}

pub fn sh(id: &str, script: &str) -> Spec {
    Spec {
        cookie: cookie(id),
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        preflight: None,
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: "/".into(),
        timeout_ms: 15_000,
        kill_grace_ms: 300,
        idle_timeout_ms: None,
        log_max: 1_000_000,
        stdin: Stdin::Null,
        stdout: Stdout::Log,
        cgroups: Cgroups::Auto,
    }
}

impl World {
    pub fn dir(&self, id: &str) -> PathBuf {
        self.root.path().join(id)
    }

    pub async fn start(&self, id: &str, spec: &Spec, private: &Private) -> Keeper {
        spec.write(&self.dir(id)).expect("the spec is written");
        let gate = self.fork(id).await.expect("a keeper");
        gate.open(private).await.expect("the gate opens")
    }

    pub async fn fork(&self, id: &str) -> Result<Gate, ForkError> {
        let turn = self.nursery.turn().await?;
        self.nursery.fork(&turn, &self.dir(id)).await
    }

    pub async fn run(&self, id: &str, spec: &Spec) -> Exit {
        let keeper = self.start(id, spec, &Private::default()).await;
        self.end_of(id, &keeper).await
    }

    pub async fn end_of(&self, id: &str, keeper: &Keeper) -> Exit {
        tokio::time::timeout(PATIENCE, keeper.ended()).await.expect("the run ends in time");
        Exit::read(&self.dir(id)).expect("readable").expect("an exit")
    }

    pub fn log(&self, id: &str) -> String {
        // There is none of a run that printed nothing.
        String::from_utf8_lossy(&std::fs::read(self.dir(id).join("output.log")).unwrap_or_default())
            .into_owned()
    }

    pub fn marker(&self, id: &str) -> PathBuf {
        self.root.path().join(format!("{id}.marker"))
    }

    pub fn examine(&self, id: &str) -> Found {
        examine(&self.dir(id), boot_id().expect("a boot id")).expect("examined")
    }
}

/// Neither gone nor a zombie.
pub fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// The pids that a script has written, one a line, once there are `count`.
pub async fn pids_in(path: &Path, count: usize) -> Vec<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let pids: Vec<i32> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
        if pids.len() >= count && text.ends_with('\n') {
            return pids;
        }
        assert!(Instant::now() < deadline, "{} holds {text:?}", path.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub async fn all_die(pids: &[i32], within: Duration) {
    let deadline = Instant::now() + within;
    while pids.iter().any(|pid| alive(*pid)) {
        assert!(Instant::now() < deadline, "still alive: {pids:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("killed");
}

/// The run's cgroup, once it has begun; `None` where there are none.
pub async fn cgroup_of(dir: &Path) -> Option<PathBuf> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(Some(started)) = Started::read(dir) {
            return started.cgroup;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub async fn cgroup_goes(dir: &Path) {
    let cgroup = cgroup_of(dir).await;
    let deadline = Instant::now() + KILL_SLACK;
    while cgroup.as_ref().is_some_and(|cgroup| cgroup.exists()) {
        assert!(Instant::now() < deadline, "{cgroup:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Living processes with this cookie in their environment.
pub fn carriers(cookie: &(String, String)) -> Vec<i32> {
    let entry = format!("{}={}", cookie.0, cookie.1);
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|b| *b == 0).any(|e| e == entry.as_bytes()) && alive(*pid)
        })
        .collect()
}
