//! A world in which orders for failpoints are laid out, whose daemon is started again whenever it has died of one.

use std::fs;
use std::time::{Duration, Instant};

use crate::fake_telegram::{FakeTelegram, TOKEN};
use crate::processes;
use crate::workers::git;
use crate::world::{Output, World};

/// For whatever a daemon that dies, stalls and fails on the way may need.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(40);
/// More starts than orders can explain.
const STARTS_MAX: u32 = 60;

const SETTINGS: &str = "
scheduler: {max_parallel_runs: 8}
defaults: {kill_grace: 1s, timeout: 20s}
pools:
  main:
    repo: repo
    slots: 3
agents:
  fake:
    command: [lucid, fake-agent]
    dialect: claude
    end_grace: 1s
    env:
      FAKE_STEP_MS: 100
dispatch:
  pool: main
  agent: fake
  max_attempts: 9
";

/// An order: what is to happen at a point, and at which visit.
#[derive(Debug, Clone)]
pub struct Order {
    pub point: String,
    pub action: &'static str,
    pub visit: u32,
}

pub struct Stage {
    pub world: World,
    pub fake: FakeTelegram,
    orders: Vec<Order>,
    starts: u32,
}

impl Stage {
    /// A world with a repository, its origin, a pool and a Telegram; nothing runs yet.
    pub fn new(orders: Vec<Order>) -> Self {
        let fake = FakeTelegram::start();
        let world = World::with(&format!("{SETTINGS}{}", fake.settings())).with_failpoints();
        world.write("token", format!("{TOKEN}\n"));
        git(world.root(), &["init", "-q", "--bare", "origin.git"]);
        git(world.root(), &["clone", "-q", "origin.git", "repo"]);
        let repo = world.path("repo");
        fs::write(repo.join("tracked.txt"), "first\n").expect("a file");
        git(&repo, &["add", "."]);
        git(&repo, &["commit", "-q", "-m", "First"]);
        git(&repo, &["push", "-q", "origin", "HEAD:main"]);
        git(&repo, &["fetch", "-q"]);
        let stage = Self { world, fake, orders: Vec::new(), starts: 0 };
        stage.with(orders)
    }

    fn with(mut self, orders: Vec<Order>) -> Self {
        orders.iter().for_each(|order| self.arm(order));
        self.orders = orders;
        self
    }

    pub fn arm(&self, order: &Order) {
        let text = format!("{} {}", order.action, order.visit);
        // In one step: whoever passes by must not read half of it.
        let new = self.folder("armed").join(format!(".{}", order.point));
        fs::write(&new, text).expect("an order");
        fs::rename(&new, self.folder("armed").join(&order.point)).expect("an order");
    }

    pub fn disarm(&self, point: &str) {
        let _ = fs::remove_file(self.folder("armed").join(point));
    }

    /// The point may fire anew.
    pub fn forget(&self, point: &str) {
        let _ = fs::remove_file(self.folder("fired").join(point));
    }

    pub fn has_fired(&self, point: &str) -> bool {
        self.folder("fired").join(point).exists()
    }

    pub fn has_passed(&self, point: &str) -> bool {
        self.folder("visited").join(point).exists()
    }

    /// Orders for points that nothing has passed. A later visit may never come: that is no miss.
    pub fn unpassed(&self) -> Vec<Order> {
        self.orders.iter().filter(|order| !self.has_passed(&order.point)).cloned().collect()
    }

    /// Orders that nothing has come by to carry out.
    pub fn left(&self) -> Vec<String> {
        let left = self.orders.iter().filter(|order| !self.has_fired(&order.point));
        left.map(|order| format!("{} ({} at visit {})", order.point, order.action, order.visit)).collect()
    }

    /// The points that were passed.
    pub fn visited(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder("visited")).expect("a folder").flatten();
        files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
    }

    fn folder(&self, name: &str) -> std::path::PathBuf {
        self.world.path("bin/failpoints").join(name)
    }

    /// Starts the daemon where it is down, until one serves.
    #[track_caller]
    pub fn keep_up(&mut self) {
        let began = Instant::now();
        loop {
            if self.world.is_down() || self.world.daemon_ended().is_some() {
                self.starts += 1;
                assert!(self.starts < STARTS_MAX, "it dies again and again\n{}", self.tale());
                let child = self.world.serve_command().spawn().expect("lucid starts");
                self.world.adopt(child);
            }
            if self.world.lucid(["api", "GET", "/healthz"]).code == 0 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the daemon does not come up\n{}", self.tale());
            std::thread::sleep(LOOK);
        }
    }

    /// `lucid ARGS…` until it works.
    #[track_caller]
    pub fn insist(&mut self, args: &[&str]) -> Output {
        let began = Instant::now();
        loop {
            self.keep_up();
            let done = self.world.lucid(args.iter().copied());
            if done.code == 0 {
                return done;
            }
            assert!(began.elapsed() < PATIENCE, "lucid {args:?}: {done:?}\n{}", self.tale());
            std::thread::sleep(LOOK * 5);
        }
    }

    /// Waits until `look` finds what it looks for, and keeps the daemon up meanwhile.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if self.world.is_down() || self.world.daemon_ended().is_some() {
                self.keep_up();
            }
            if let Some(found) = look(self) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", self.tale());
            std::thread::sleep(LOOK);
        }
    }

    /// Everything that helps to understand a failure.
    pub fn tale(&self) -> String {
        let below: Vec<String> = processes::all()
            .iter()
            .filter(|p| p.command.contains("nursery"))
            .map(|p| format!("{p:?}"))
            .collect();
        format!(
            "orders: {:?}\nnot carried out: {:?}\nnurseries and keepers: {below:#?}\n{}",
            self.orders,
            self.left(),
            self.world.picture()
        )
    }
}
