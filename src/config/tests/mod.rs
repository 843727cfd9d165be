//! The config as its users meet it: files in temporary folders, environments as values.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::*;

mod refused;
mod told;

/// A machine: home, current folder and `/etc/lucid` below one temporary folder.
pub(in crate::config) struct World {
    dir: TempDir,
}

impl World {
    pub(in crate::config) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("here")).unwrap();
        Self { dir }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(in crate::config) fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn sources(&self, env: &[(&str, &str)]) -> Sources {
        Sources {
            config: None,
            env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            cwd: self.path("here"),
            home: Some(self.path("home")),
            machine_zone: Some("Europe/Vienna".to_owned()),
            system_file: self.path("etc/lucid/lucid.yaml"),
        }
    }

    pub(in crate::config) fn load(&self, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        load(&self.sources(env))
    }
}

fn value_of<'a>(config: &'a Config, key: &str) -> &'a str {
    &config.effective().iter().find(|setting| setting.key == key).unwrap().value
}

fn source_of(config: &Config, key: &str) -> String {
    config.effective().iter().find(|setting| setting.key == key).unwrap().source.to_string()
}

#[test]
fn the_embedded_file_is_the_schema() {
    let world = World::new();
    let config = without_file(&world.sources(&[])).unwrap();
    let keys: Vec<&str> = config.effective().iter().map(|setting| setting.key.as_str()).collect();
    let unique: BTreeSet<&str> = keys.iter().copied().collect();
    assert_eq!(keys.len(), unique.len());
    // A key whose name says that its value is a secret would have to be masked.
    for key in keys {
        // One that names the file of a secret is none.
        let word = key.strip_suffix("_file").map_or(key, |_| "");
        for secret in ["token", "password", "secret_"] {
            assert!(!word.contains(secret), "{key}");
        }
    }
}

/// `typed` reads each key once under its own name: a key of the file that it does not read would be a
/// setting without effect.
#[test]
fn every_key_is_read_and_every_read_key_exists() {
    // Keys of a profile are put together from its name.
    let (_, dispatch) = include_str!("../agents.rs").split_once("fn dispatch(").unwrap();
    let (health, _) = include_str!("../health.rs").split_once("fn tokens(").unwrap();
    let typed = [include_str!("../typed.rs"), include_str!("../telegram.rs"), dispatch, health].concat();
    let world = World::new();
    let config = without_file(&world.sources(&[])).unwrap();
    let mut read: BTreeSet<&str> = BTreeSet::new();
    for part in typed.split("reader.").skip(1).filter(|part| !part.starts_with("contradiction")) {
        let Some((_, rest)) = part.split_once("(\"") else { continue };
        read.insert(rest.split_once('"').unwrap().0);
    }
    let known: BTreeSet<&str> = config.effective().iter().map(|setting| setting.key.as_str()).collect();
    assert_eq!(known, read);
}

#[test]
fn every_key_has_one_comment_above_it() {
    let mut comments = 0;
    for line in EMBEDDED.lines().skip_while(|line| !line.is_empty()) {
        // An example is held to the same.
        let trimmed = line.trim_start();
        let trimmed = trimmed.strip_prefix("#:").unwrap_or(trimmed).trim_start();
        if trimmed.starts_with('#') {
            comments += 1;
        } else if trimmed.is_empty() || (trimmed.ends_with(':') && trimmed != "repo:") {
            assert_eq!(comments, 0, "a comment without a key before `{line}`");
        } else {
            assert_eq!(comments, 1, "`{line}`");
            comments = 0;
        }
    }
}

#[test]
fn defaults_are_what_the_file_says() {
    let world = World::new();
    world.write("here/config/lucid.yaml", EMBEDDED);
    let config = world.load(&[]).unwrap();
    assert_eq!(config.root, world.path("here"));
    assert_eq!(config.tasks_dir, world.path("here/tasks"));
    assert_eq!(config.state_dir, world.path("here/.lucid"));
    assert_eq!(config.control.socket, world.path("here/.lucid/lucid.sock"));
    assert_eq!(config.backup.dir, world.path("here/.lucid/backups"));
    assert_eq!(config.file, Some(world.path("here/config/lucid.yaml")));
    assert_eq!(config.zone.name(), "Europe/Vienna");
    assert_eq!(config.scheduler.max_parallel_runs, 16);
    assert_eq!(config.scheduler.tick, Duration::from_secs(5));
    assert!(config.scheduler.housekeeping);
    assert_eq!(config.defaults.log_max, 10_000_000);
    assert_eq!(config.control.mode, 0o660);
    assert_eq!(config.control.group, None);
    assert_eq!(config.secrets.file, SecretsFile::Nowhere);
    assert_eq!((config.health.disk_degraded_pct, config.health.disk_critical_pct), (20, 10));
    assert!(config.health.disks.is_empty() && config.health.ping_url.is_none());
    assert_eq!(config.limits.cgroup, CgroupUse::Auto);
    assert_eq!(config.log, Log { level: LogLevel::Info, format: LogFormat::Text, file_max: 10_000_000 });
    // The same values as without any of it being written down.
    world.write("here/config/lucid.yaml", "root: ..\n");
    let bare = world.load(&[]).unwrap();
    for (a, b) in config.effective().iter().zip(bare.effective()) {
        assert_eq!((&a.key, &a.value), (&b.key, &b.value));
    }
}

#[test]
fn files_are_found_in_the_order_of_the_contract() {
    let world = World::new();
    let found = |sources: &Sources| load(sources).map(|config| config.file.unwrap());
    let xdg = world.path("xdg");
    let env = [("XDG_CONFIG_HOME", xdg.to_str().unwrap())];
    let mut sources = world.sources(&env);

    let system = world.write("etc/lucid/lucid.yaml", "");
    assert_eq!(found(&sources).unwrap(), system);
    let user = world.write("xdg/lucid/lucid.yaml", "");
    assert_eq!(found(&sources).unwrap(), user);
    let local = world.write("here/lucid.yaml", "");
    assert_eq!(found(&sources).unwrap(), local);
    let repository = world.write("here/config/lucid.yaml", "");
    assert_eq!(found(&sources).unwrap(), repository);
    let by_variable = world.write("elsewhere/a.yaml", "");
    sources.env.push(("LUCID_CONFIG".into(), "../elsewhere/a.yaml".into()));
    assert_eq!(found(&sources).unwrap(), by_variable);
    let by_option = world.write("elsewhere/b.yaml", "");
    sources.config = Some(by_option.clone());
    assert_eq!(found(&sources).unwrap(), by_option);
    sources.config = Some("nowhere.yaml".into());
    assert_eq!(found(&sources).unwrap_err().to_string(), "nowhere.yaml: no such file; --config names it");
}

#[test]
fn without_a_file_it_says_what_to_do() {
    let world = World::new();
    let error = world.load(&[]).unwrap_err().to_string();
    let error = error.replace(world.dir.path().to_str().unwrap(), "");
    insta::assert_snapshot!(error, @r"
    no config found; looked at
      /here/config/lucid.yaml
      /here/lucid.yaml
      /home/.config/lucid/lucid.yaml
      /etc/lucid/lucid.yaml
    Write one there (an empty file takes every default) or name one with --config FILE.
    ");
}

#[test]
fn the_places_of_the_three_services() {
    let world = World::new();
    let runtime = world.path("run/1000");
    let runtime = [("XDG_RUNTIME_DIR", runtime.to_str().unwrap())];

    world.write("etc/lucid/lucid.yaml", "");
    let system = world.load(&runtime).unwrap();
    assert_eq!(system.tasks_dir, world.path("etc/lucid/tasks"));
    assert_eq!(system.state_dir, Path::new("/var/lib/lucid"));
    assert_eq!(system.control.socket, Path::new("/run/lucid/lucid.sock"));
    assert_eq!(system.backup.dir, Path::new("/var/lib/lucid/backups"));
    assert_eq!(source_of(&system, "state_dir"), "default");

    world.write("home/.config/lucid/lucid.yaml", "");
    let user = world.load(&runtime).unwrap();
    assert_eq!(user.tasks_dir, world.path("home/.config/lucid/tasks"));
    assert_eq!(user.state_dir, world.path("home/.local/state/lucid"));
    assert_eq!(user.control.socket, world.path("run/1000/lucid/lucid.sock"));
    assert_eq!(world.load(&[]).unwrap().control.socket, world.path("home/.local/state/lucid/lucid.sock"));

    world.write("here/lucid.yaml", "");
    let local = world.load(&runtime).unwrap();
    assert_eq!(local.root, world.path("here"));
    assert_eq!(local.tasks_dir, world.path("here/tasks"));
    assert_eq!(local.state_dir, world.path("here/.lucid"));
    assert_eq!(local.control.socket, world.path("here/.lucid/lucid.sock"));
}

#[test]
fn paths_start_at_the_root_and_the_socket_goes_with_the_state() {
    let world = World::new();
    world.write("here/config/lucid.yaml", "root: ../../project/.\ntasks_dir: ~/t\nsecrets: {file: s.env}\n");
    let config = world.load(&[("LUCID_STATE_DIR", "var"), ("LUCID_BACKUP__DIR", "/mnt/b")]).unwrap();
    assert_eq!(config.root, world.path("project"));
    assert_eq!(config.tasks_dir, world.path("home/t"));
    assert_eq!(config.state_dir, world.path("project/var"));
    assert_eq!(config.control.socket, world.path("project/var/lucid.sock"));
    assert_eq!(config.backup.dir, Path::new("/mnt/b"));
    assert_eq!(config.secrets.file, SecretsFile::Path(world.path("project/s.env")));
    assert_eq!(value_of(&config, "control.socket"), config.control.socket.to_str().unwrap());
}

#[test]
fn every_value_tells_where_it_comes_from() {
    let world = World::new();
    world.write("here/config/lucid.yaml", "scheduler:\n  tick: 2s\n  rescan:\n    15\nlog: {level: debug}\n");
    let config = world
        .load(&[
            ("LUCID_SCHEDULER__MAX_PARALLEL_RUNS", "3"),
            ("lucid_log__level", "trace"),
            ("LUCID_TOKEN", "hush"),
            ("LUCID_RUN_ID", "7"),
            ("LUCIDITY", "clear"),
        ])
        .unwrap();
    assert_eq!(config.scheduler.max_parallel_runs, 3);
    assert_eq!(config.scheduler.rescan, Duration::from_secs(15));
    assert_eq!(config.log.level, LogLevel::Trace);
    assert_eq!(source_of(&config, "scheduler.tick"), "config/lucid.yaml:2");
    assert_eq!(source_of(&config, "scheduler.rescan"), "config/lucid.yaml:4");
    assert_eq!(source_of(&config, "scheduler.max_parallel_runs"), "env LUCID_SCHEDULER__MAX_PARALLEL_RUNS");
    assert_eq!(source_of(&config, "log.level"), "env lucid_log__level");
    assert_eq!(source_of(&config, "log.format"), "default");
    assert_eq!(value_of(&config, "timezone"), "Europe/Vienna");
    assert!(config.effective().iter().all(|setting| setting.value != "hush"));
}

/// Each key of the embedded file can be set by the environment, to its own default at least.
#[test]
fn every_key_has_its_variable() {
    let world = World::new();
    world.write("here/config/lucid.yaml", EMBEDDED);
    let config = world.load(&[]).unwrap();
    let (entries, problems) = file::parse(EMBEDDED, Path::new(""));
    assert_eq!(problems, []);
    let mut env: Vec<(String, String)> = Vec::new();
    for entry in entries {
        match entry.value {
            file::Value::Text(text) => env.push((environment::name_of(&entry.key), text)),
            file::Value::List(items) => {
                env.push((environment::name_of(&entry.key), layers::list_text(&items)));
            }
            file::Value::Empty | file::Value::Section => {}
        }
    }
    let borrowed: Vec<(&str, &str)> =
        env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let by_env = world.load(&borrowed).unwrap();
    for (a, b) in config.effective().iter().zip(by_env.effective()) {
        assert_eq!((&a.key, &a.value), (&b.key, &b.value));
        assert!(matches!(b.source, Origin::Env { .. }), "{b:?}");
    }
}

#[test]
fn a_variable_of_a_profile_is_set_by_the_environment_and_shown_without_its_value() {
    let world = World::new();
    world.write(
        "here/config/lucid.yaml",
        "agents:\n  fa-x:\n    command: [x]\n    env: {API_KEY: old, Mode: plain, TWO: \"a, b\"}\n",
    );
    let config =
        world.load(&[("LUCID_AGENTS__FA_X__ENV__API_KEY", "hush"), ("lucid_agents__fa_x__env__Mode", "x y")]);
    let config = config.unwrap();
    let env: Vec<(&str, &str)> =
        config.agents[0].env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, [("API_KEY", "hush"), ("Mode", "x y"), ("TWO", "a, b")]);
    let setting = config.effective().iter().find(|setting| setting.key == "agents.fa-x.env").unwrap();
    assert_eq!(setting.shown(), "TWO=***,API_KEY=***,Mode=***");
    assert!(matches!(setting.source, Origin::Env { .. }));
    let others = config.effective().iter().filter(|setting| setting.key != "agents.fa-x.env");
    others.for_each(|setting| assert_eq!(setting.shown(), setting.value));
}

#[test]
fn a_list_in_a_variable_may_be_json() {
    for users in ["1,2", "[1,2]", "[\"1\", 2]"] {
        let config = World::new();
        config.write("here/config/lucid.yaml", "");
        let config = config.load(&[("LUCID_TELEGRAM__ALLOWED_USERS", users)]).unwrap();
        assert_eq!(config.telegram.allowed_users, [1, 2]);
    }
}

#[test]
fn without_a_machine_zone_it_is_utc() {
    let world = World::new();
    let mut sources = world.sources(&[]);
    for unknown in [None, Some("Etc/Unknown"), Some("Nowhere/Land")] {
        sources.machine_zone = unknown.map(str::to_owned);
        let config = without_file(&sources).unwrap();
        assert_eq!(config.zone.name(), "UTC", "{unknown:?}");
        assert_eq!(value_of(&config, "timezone"), "UTC");
    }
}

#[test]
fn defaults_do_without_a_file() {
    let world = World::new();
    let config = without_file(&world.sources(&[("LUCID_TASKS_DIR", "mine")])).unwrap();
    assert_eq!(config.file, None);
    assert_eq!(config.root, world.path("here"));
    assert_eq!(config.tasks_dir, world.path("here/mine"));
}

#[test]
fn the_process_is_a_source() {
    let sources = Sources::from_process(Some("x.yaml".into())).unwrap();
    assert_eq!(sources.config, Some("x.yaml".into()));
    assert_eq!(sources.cwd, std::env::current_dir().unwrap());
    assert!(sources.env.iter().any(|(name, _)| name == "PATH"));
}

#[test]
fn pools_are_named_by_the_user_and_each_has_all_keys() {
    let world = World::new();
    world.write(
        "here/lucid.yaml",
        "pools:\n  main:\n    repo: code\n    keep: [target, web/node_modules]\n  my-other:\n    repo: ~/x\n    \
         slots: 1\n    base: up/trunk\n    dir: /var/slots\n    claim_wait: 2m\n",
    );
    let env = [("LUCID_POOLS__MAIN__CLAIM_WAIT", "20s"), ("LUCID_POOLS__MY_OTHER__KEEP", "a, b")];
    let config = world.load(&env).unwrap();
    let main = Pool {
        name: "main".to_owned(),
        repo: world.path("here/code"),
        dir: world.path("here/.lucid/pools/main"),
        slots: 3,
        base: "origin/main".to_owned(),
        keep: vec!["target".to_owned(), "web/node_modules".to_owned()],
        claim_wait: Duration::from_secs(20),
    };
    let other = Pool {
        name: "my-other".to_owned(),
        repo: world.path("home/x"),
        dir: PathBuf::from("/var/slots"),
        slots: 1,
        base: "up/trunk".to_owned(),
        keep: vec!["a".to_owned(), "b".to_owned()],
        claim_wait: Duration::from_secs(120),
    };
    assert_eq!(config.pools, [main, other]);
    assert_eq!(source_of(&config, "pools.main.claim_wait"), "env LUCID_POOLS__MAIN__CLAIM_WAIT");
    assert_eq!(source_of(&config, "pools.main.slots"), "default");
    assert_eq!(value_of(&config, "pools.main.keep"), "target,web/node_modules");
}

#[test]
fn logins_are_declared_by_a_command_or_by_a_file() {
    let world = World::new();
    world.write(
        "here/lucid.yaml",
        "token_checks:\n  mail:\n    command: [gws, about]\n    needs_reauth_codes: [3, 4]\n    portal: https://portal.example/\n  \
         graph:\n    file: ~/.graph.json\n    expiry: /expires_at\n    expiring_before: 2d\nhealth: {disks: [/, data]}\n",
    );
    let config = world.load(&[("LUCID_TOKEN_CHECKS__GRAPH__STATUS", "/status")]).unwrap();
    assert_eq!(config.health.disks, [PathBuf::from("/"), world.path("here/data")]);
    let [mail, graph] = &config.token_checks[..] else { panic!("{:?}", config.token_checks) };
    assert_eq!(mail.source, TokenSource::Command(["gws", "about"].map(str::to_owned).into()));
    assert_eq!(
        (&mail.needs_reauth_codes[..], mail.portal.as_deref()),
        (&[3, 4][..], Some("https://portal.example/"))
    );
    assert_eq!(mail.needs_reauth_on, ["invalid_grant", "invalid_client"]);
    assert_eq!(graph.source, TokenSource::File(world.path("home/.graph.json")));
    assert_eq!((graph.expiry.as_deref(), graph.status.as_deref()), (Some("/expires_at"), Some("/status")));
    assert_eq!(graph.expiring_before, Duration::from_secs(2 * 86_400));
}
