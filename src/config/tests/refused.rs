//! What is not accepted, and in which words.

use std::fs;

use super::World;
use crate::config::load;

/// What is told about a `lucid.yaml` of this text.
fn complaint(text: &str, env: &[(&str, &str)]) -> String {
    let world = World::new();
    world.write("here/lucid.yaml", text);
    world.load(env).map_or_else(|errors| errors.to_string(), |_| "fine".to_owned())
}

#[test]
fn a_fine_file_is_fine() {
    for text in ["", "# nothing\n", "---\n", "scheduler:\n", "control: {mode: 0600}\n", "timezone: utc\n"] {
        assert_eq!(complaint(text, &[]), "fine", "{text}");
    }
    // As YAML reads it `0600` is a number; the octal text is what counts.
    let world = World::new();
    world.write("here/lucid.yaml", "control: {mode: 0600}\nscheduler: {housekeeping: Off}\n");
    let config = world.load(&[]).unwrap();
    assert_eq!(config.control.mode, 0o600);
    assert!(!config.scheduler.housekeeping);
}

/// Each text, and below it what is told about it.
fn complaints(texts: &[&str]) -> String {
    let told =
        |text: &&str| format!("{}\n    {}\n", text.trim_end(), complaint(text, &[]).replace('\n', "\n    "));
    texts.iter().map(told).collect()
}

#[test]
fn an_unknown_key_is_told_with_the_one_that_was_meant() {
    let cases = [
        "tasks-dir: t\n",
        "scheduler:\n  tik: 5s\n",
        "tick: 5s\n",
        "scheduler: {color: red}\n",
        "colours:\n  main: {repo: x}\n",
        "scheduler: {tick: 5s}\nlog: {level: info}\nscheduler: {rescan: 1m}\n",
    ];
    insta::assert_snapshot!(complaints(&cases), @r"
    tasks-dir: t
        lucid.yaml:1:1: unknown key `tasks-dir`, did you mean `tasks_dir`?
    scheduler:
      tik: 5s
        lucid.yaml:2:3: unknown key `scheduler.tik`, did you mean `scheduler.tick`?
    tick: 5s
        lucid.yaml:1:1: unknown key `tick`, did you mean `scheduler.tick`?
    scheduler: {color: red}
        lucid.yaml:1:13: unknown key `scheduler.color`; below it are max_parallel_runs, tick, misfire_after, catch_up_max, catch_up_spacing, rescan, stale_for, housekeeping
    colours:
      main: {repo: x}
        lucid.yaml:1:1: unknown key `colours`; sections are scheduler, defaults, control, pools, agents, dispatch, janitor, tickets, messages, telegram, syncs, secrets, backup, health, token_checks, retention, limits, log
    scheduler: {tick: 5s}
    log: {level: info}
    scheduler: {rescan: 1m}
        lucid.yaml:3:1: `scheduler` is set again; line 1 has it already
    ");
}

#[test]
fn a_text_of_another_shape_is_refused() {
    let cases = [
        "scheduler: 5\n",
        "log: [text]\n",
        "root: {a: b}\n",
        "root:\n",
        "tasks_dir: [a, b]\n",
        "- a\n",
        "just words\n",
        "log: {level: info\n",
        "log:\n\tlevel: info\n",
        "1: x\n",
    ];
    insta::assert_snapshot!(complaints(&cases), @r"
    scheduler: 5
        lucid.yaml:1:12: `scheduler` is a section and takes no value itself; below it are max_parallel_runs, tick, misfire_after, catch_up_max, catch_up_spacing, rescan, stale_for, housekeeping
    log: [text]
        lucid.yaml:1:6: `log` is a section and takes no value itself; below it are level, format, file_max
    root: {a: b}
        lucid.yaml:1:7: `root` takes one value, not a section
    root:
        lucid.yaml:1:5: `root` has no value; remove the line to take the default
    tasks_dir: [a, b]
        lucid.yaml:1:12: `tasks_dir` takes one value, not a list
    - a
        lucid.yaml:1:1: a config is `key: value` lines
    just words
        lucid.yaml:1:1: a config is `key: value` lines
    log: {level: info
        lucid.yaml:1:6: not YAML: unclosed bracket '{'
    log:
    	level: info
        lucid.yaml:2:2: not YAML: tabs disallowed within this context (block indentation)
    1: x
        lucid.yaml:1:1: unknown key `1`; sections are scheduler, defaults, control, pools, agents, dispatch, janitor, tickets, messages, telegram, syncs, secrets, backup, health, token_checks, retention, limits, log
    ");
}

#[test]
fn a_value_is_held_to_its_type_and_bounds() {
    let cases = [
        "scheduler: {tick: 1:30}\n",
        "scheduler: {tick: 0}\n",
        "scheduler: {max_parallel_runs: many}\n",
        "scheduler: {max_parallel_runs: 0}\n",
        "scheduler: {max_parallel_runs: 1e9}\n",
        "scheduler: {housekeeping: maybe}\n",
        "defaults: {timeout: 0s}\n",
        "defaults: {log_max: 10 apples}\n",
        "defaults: {log_max: 1}\n",
        "defaults: {shell: ''}\n",
        "control: {mode: '0666'}\n",
        "control: {mode: '0060'}\n",
        "control: {mode: rw}\n",
        "control: {socket: ''}\n",
        "timezone: Europe/Berln\n",
        "root: ~other/x\n",
        "limits: {cgroup: on}\n",
        "log: {level: loud}\n",
    ];
    insta::assert_snapshot!(complaints(&cases), @r"
    scheduler: {tick: 1:30}
        lucid.yaml:1:19: scheduler.tick: `1:30` is a time of day, not a duration; write `1h30m` or `1m30s`
    scheduler: {tick: 0}
        lucid.yaml:1:19: scheduler.tick: 0s is less than 1s
    scheduler: {max_parallel_runs: many}
        lucid.yaml:1:32: scheduler.max_parallel_runs: `many` is not a whole number
    scheduler: {max_parallel_runs: 0}
        lucid.yaml:1:32: scheduler.max_parallel_runs: 0 is less than 1
    scheduler: {max_parallel_runs: 1e9}
        lucid.yaml:1:32: scheduler.max_parallel_runs: `1e9` is not a whole number
    scheduler: {housekeeping: maybe}
        lucid.yaml:1:27: scheduler.housekeeping: `maybe` is neither true nor false
    defaults: {timeout: 0s}
        lucid.yaml:1:21: defaults.timeout: 0s is less than 1s
    defaults: {log_max: 10 apples}
        lucid.yaml:1:21: defaults.log_max: `10 apples` is no size; write whole numbers such as `512`, `10MB` (10,000,000 bytes) or `64KiB`
    defaults: {log_max: 1}
        lucid.yaml:1:21: defaults.log_max: 1 B is less than 1 kB
    defaults: {shell: ''}
        lucid.yaml:1:19: defaults.shell: is empty
    control: {mode: '0666'}
        lucid.yaml:1:17: control.mode: `0666` lets everybody in; the last digit is 0
    control: {mode: '0060'}
        lucid.yaml:1:17: control.mode: `0060` shuts the owner out
    control: {mode: rw}
        lucid.yaml:1:17: control.mode: `rw` is not an octal mode such as 0660
    control: {socket: ''}
        lucid.yaml:1:19: control.socket: is empty; a path belongs here
    timezone: Europe/Berln
        lucid.yaml:1:11: timezone: there is no time zone `Europe/Berln`; did you mean `Europe/Berlin`?
    root: ~other/x
        lucid.yaml:1:7: root: `~other/x`: only `~/` is understood, no other user's home
    limits: {cgroup: on}
        lucid.yaml:1:18: limits.cgroup: `on` is none of auto, off
    log: {level: loud}
        lucid.yaml:1:14: log.level: `loud` is none of error, warn, info, debug, trace
    ");
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let cases = [
        "scheduler: {tick: 10s, misfire_after: 5s}\n",
        "scheduler: {misfire_after: 1s}\n",
        "scheduler: {catch_up_spacing: 1h}\n",
        "limits: {header_timeout: 2m}\n",
        "retention: {outputs_max: 1MB}\n",
    ];
    insta::assert_snapshot!(complaints(&cases), @r"
    scheduler: {tick: 10s, misfire_after: 5s}
        lucid.yaml:1:19: scheduler.misfire_after (5s) is less than scheduler.tick (10s): punctual runs would count as missed
    scheduler: {misfire_after: 1s}
        lucid.yaml:1:28: scheduler.misfire_after (1s) is less than scheduler.tick (5s): punctual runs would count as missed
    scheduler: {catch_up_spacing: 1h}
        lucid.yaml:1:31: scheduler.catch_up_max runs, one every scheduler.catch_up_spacing, take 4d4h: more than defaults.catch_up_window (6h)
    limits: {header_timeout: 2m}
        lucid.yaml:1:26: limits.idle_timeout (1m) is less than limits.header_timeout (2m)
    retention: {outputs_max: 1MB}
        lucid.yaml:1:26: retention.outputs_max (1 MB) is less than defaults.log_max (10 MB): it would not hold one run's output
    ");
}

#[test]
fn the_environment_is_held_to_the_same() {
    let cases: [&[(&str, &str)]; 11] = [
        &[("lucid_config", "x")],
        &[("LUCID_SCHEDULER__TIK", "5s")],
        &[("LUCID_LOG_LEVEL", "info")],
        &[("LUCID_LOG", "info")],
        &[("LUCID_TASKS", "x")],
        &[("LUCID_FROBNICATE", "x")],
        &[("LUCID_FOO", "x")],
        &[("LUCID_POOLS__MAIN__X", "x")],
        &[("LUCID_SCHEDULER__TICK", "soon")],
        &[("LUCID_ROOT", "/a"), ("lucid_root", "/b")],
        &[("LUCID_SCHEDULER__MISFIRE_AFTER", "2s")],
    ];
    let mut told = String::new();
    for env in cases {
        told += &complaint("", env);
        told += "\n";
    }
    insta::assert_snapshot!(told, @r"
    environment: lucid_config: no such setting, did you mean LUCID_CONFIG?
    environment: LUCID_SCHEDULER__TIK: no such setting, did you mean LUCID_SCHEDULER__TICK?
    environment: LUCID_LOG_LEVEL: no such setting, did you mean LUCID_LOG__LEVEL?
    environment: LUCID_LOG: is a section; its settings are LUCID_LOG__LEVEL, LUCID_LOG__FORMAT, LUCID_LOG__FILE_MAX
    environment: LUCID_TASKS: no such setting, did you mean LUCID_TASK?
    environment: LUCID_FROBNICATE: no such setting; `lucid config --effective` lists them, `.` is written `__`
    environment: LUCID_FOO: no such setting; `lucid config --effective` lists them, `.` is written `__`
    environment: LUCID_POOLS__MAIN__X: there is no `pools.main`: the file has none, and a variable only changes what is in the file
    environment: LUCID_SCHEDULER__TICK: scheduler.tick: `soon` is no duration; write `90s`, `5m`, `1h30m`, `2d` or a number of seconds
    environment: lucid_root: LUCID_ROOT sets the same key
    environment: LUCID_SCHEDULER__MISFIRE_AFTER: scheduler.misfire_after (2s) is less than scheduler.tick (5s): punctual runs would count as missed
    ");
}

#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let world = World::new();
    world.write("here/lucid.yaml", "");
    let mut sources = world.sources(&[]);
    sources.env.push(("LUCID_ROOT".into(), std::ffi::OsString::from_vec(vec![0xff])));
    assert_eq!(load(&sources).unwrap_err().to_string(), "environment: LUCID_ROOT: is not UTF-8");
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_text() {
    let text = "colour: blue\nscheduler:\n  tick: soon\n  max_parallel_runs: 0\nlog:\n  levle: info\n";
    let told = complaint(text, &[("LUCID_RETENTION__EVERY", "0"), ("LUCID_X", "1")]);
    insta::assert_snapshot!(told, @r"
    lucid.yaml:1:1: unknown key `colour`; sections are scheduler, defaults, control, pools, agents, dispatch, janitor, tickets, messages, telegram, syncs, secrets, backup, health, token_checks, retention, limits, log
    lucid.yaml:3:9: scheduler.tick: `soon` is no duration; write `90s`, `5m`, `1h30m`, `2d` or a number of seconds
    lucid.yaml:4:22: scheduler.max_parallel_runs: 0 is less than 1
    lucid.yaml:6:3: unknown key `log.levle`, did you mean `log.level`?
    environment: LUCID_RETENTION__EVERY: retention.every: 0s is less than 1s
    environment: LUCID_X: no such setting; `lucid config --effective` lists them, `.` is written `__`
    ");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let world = World::new();
    fs::create_dir_all(world.path("here/lucid.yaml")).unwrap();
    assert_eq!(
        world.load(&[]).unwrap_err().to_string(),
        "lucid.yaml: cannot be read: Is a directory (os error 21)"
    );
    fs::remove_dir(world.path("here/lucid.yaml")).unwrap();
    world.write("here/lucid.yaml", &"#".repeat(300 * 1024));
    assert_eq!(world.load(&[]).unwrap_err().to_string(), "lucid.yaml: is larger than 256 KiB");
    fs::write(world.path("here/lucid.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(
        world.load(&[]).unwrap_err().to_string(),
        "lucid.yaml: cannot be read: stream did not contain valid UTF-8"
    );
}

#[test]
fn what_makes_no_pool_is_told_at_its_place() {
    let cases = [
        "pools:\n  main: {}\n",
        "pools:\n  main: {repo: a, slot: 2}\n",
        "pools:\n  Main_1: {repo: a}\n",
        "pools:\n  main: 5\n",
        "pools: [main]\n",
        "pools:\n  main: {repo: a, dir: a/slots}\n",
        "pools:\n  main: {repo: a, base: main, slots: 0, keep: [../x, .git], claim_wait: 0}\n",
    ];
    insta::assert_snapshot!(complaints(&cases), @r"
    pools:
      main: {}
        lucid.yaml:2:3: pools.main.repo: is empty; a path belongs here
    pools:
      main: {repo: a, slot: 2}
        lucid.yaml:2:19: unknown key `pools.main.slot`, did you mean `pools.main.slots`?
    pools:
      Main_1: {repo: a}
        lucid.yaml:2:3: pools.Main_1: `Main_1` is no name; lower-case letters, digits and `-` make one, at most 32 of them
    pools:
      main: 5
        lucid.yaml:2:3: pools.main.repo: is empty; a path belongs here
        lucid.yaml:2:9: `pools.main` is a section and takes no value itself; below it are repo, dir, slots, base, keep, claim_wait
    pools: [main]
        lucid.yaml:1:8: `pools` is a section and takes no value itself; below it are sections under names of yours
    pools:
      main: {repo: a, dir: a/slots}
        lucid.yaml:2:16: pools.main.dir lies inside pools.main.repo: a worktree there that loses its .git would be taken for it
    pools:
      main: {repo: a, base: main, slots: 0, keep: [../x, .git], claim_wait: 0}
        lucid.yaml:2:25: pools.main.base: `main` is no remote-tracking branch such as origin/main
        lucid.yaml:2:38: pools.main.slots: 0 is less than 1
        lucid.yaml:2:47: pools.main.keep: `../x` is no path below a worktree's top, such as target or web/node_modules
        lucid.yaml:2:73: pools.main.claim_wait: 0s is less than 1s
    ");
}

#[test]
fn what_makes_no_health_is_told_at_its_place() {
    let cases = [
        "health: {disk_degraded_pct: 5}\n",
        "health: {disks: [/, data], ping_url: 'ftp://x/y'}\n",
        "health: {ping_url: 'http://u:p@x/'}\n",
        "health: {human: ''}\n",
        "token_checks:\n  mail: {}\n",
        "token_checks:\n  mail: {command: [x], file: y, portal: 'javascript:x'}\n",
        "token_checks:\n  mail: {file: y, status: status, needs_reauth_codes: [0, x], needs_reauth_on: ['']}\n",
    ];
    insta::assert_snapshot!(complaints(&cases), @r"
    health: {disk_degraded_pct: 5}
        lucid.yaml:1:29: health.disk_critical_pct (10) is more than health.disk_degraded_pct (5): a disk would be critical before it is degraded
    health: {disks: [/, data], ping_url: 'ftp://x/y'}
        lucid.yaml:1:38: health.ping_url: `ftp://x/y` is no http:// or https:// URL without a name in it
    health: {ping_url: 'http://u:p@x/'}
        lucid.yaml:1:20: health.ping_url: `http://u:p@x/` is no http:// or https:// URL without a name in it
    health: {human: ''}
        lucid.yaml:1:17: health.human: is empty
    token_checks:
      mail: {}
        lucid.yaml:2:3: token_checks.mail names neither a command nor a file; it is one of them that tells of the login
    token_checks:
      mail: {command: [x], file: y, portal: 'javascript:x'}
        lucid.yaml:2:3: token_checks.mail: a file is read at a `status` or an `expiry`, and both are empty
        lucid.yaml:2:19: token_checks.mail names a command and a file; it is one of them that tells of the login
        lucid.yaml:2:41: token_checks.mail.portal: `javascript:x` is no http:// or https:// link
    token_checks:
      mail: {file: y, status: status, needs_reauth_codes: [0, x], needs_reauth_on: ['']}
        lucid.yaml:2:27: token_checks.mail.status: `status` is no JSON pointer such as /status or /google/status
        lucid.yaml:2:55: token_checks.mail.needs_reauth_codes: `0` is no exit code from 1 to 255
    ");
}
