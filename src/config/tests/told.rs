//! How a problem is told: its line, what to write there; and what the settings name on this machine.

use super::World;
use crate::config::ConfigErrors;

/// Each problem of a `lucid.yaml` of this text with its line and what it offers.
fn in_full(text: &str, env: &[(&str, &str)]) -> String {
    let world = World::new();
    world.write("here/lucid.yaml", text);
    let Err(ConfigErrors::Refused { problems }) = world.load(env) else { return "fine".to_owned() };
    let told = |problem: &crate::config::Problem| {
        let line = problem.line.as_deref().unwrap_or("-");
        format!("{problem}\n  {line}\n  {}\n", problem.help.as_deref().unwrap_or("-"))
    };
    problems.iter().map(told).collect()
}

#[test]
fn a_problem_brings_its_line_and_what_to_write() {
    let text = "scheduler:\n  tick: soon\npools:\n  main:\n    repo: a\n    slots: 0\ntelegram:\n  token_file: 123456:AAF-abcdefghijklmnopqrstuvw\n";
    insta::assert_snapshot!(in_full(text, &[("LUCID_LOG__LEVEL", "loud")]));
}

#[test]
fn a_command_of_several_words_is_a_list() {
    let text = "token_checks:\n  a: {command: check --mail}\n  b: {command: 'check | grep -q ok'}\n  c: {command: check}\n\
                \x20 d: {command: [check]}\n  e: {command: [/opt/my check/run]}\n  f: {command: 'a, b c'}\n\
                agents:\n  x: {command: claude -p, auth_check: claude auth status}\n  y: {command: [sh, -c, 'a b']}\n";
    insta::assert_snapshot!(in_full(text, &[("LUCID_AGENTS__Y__AUTH_CHECK", "a b")]));
    let world = World::new();
    world.write("here/lucid.yaml", "agents:\n  y: {command: [sh, -c, 'a b']}\n  z: {command: claude}\n");
    let config = world.load(&[("LUCID_AGENTS__Z__AUTH_CHECK", "claude, --status")]).unwrap();
    assert_eq!(config.agents[0].command, ["sh", "-c", "a b"]);
    assert_eq!(config.agents[1].command, ["claude"]);
    assert_eq!(config.agents[1].auth_check, ["claude", "--status"]);
}

#[test]
fn nothing_takes_a_nul_byte() {
    let told = in_full("telegram: {token_file: \"a\\0b\"}\nlog: {level: \"info\\0\"}\n", &[]);
    assert!(told.contains("lucid.yaml:1:24: telegram.token_file: holds a NUL byte"), "{told}");
    assert!(told.contains("lucid.yaml:2:14: log.level: holds a NUL byte"), "{told}");
}

#[test]
fn what_the_settings_name_is_looked_at_and_told_at_its_place() {
    let world = World::new();
    let text = "telegram:\n  token_file: empty\n  chat_id: 5\nsyncs:\n  notes: {repo: plain, ssh_key: no-key}\n  good: {repo: copy}\n\
                pools:\n  main: {repo: gone, dir: slots}\nhealth:\n  disks: [/, /nowhere/at/all]\n";
    world.write("here/lucid.yaml", text);
    world.write("here/empty", "\n");
    world.write("here/plain/file", "");
    world.write("here/copy/.git/HEAD", "ref: refs/heads/main\n");
    let told = |world: &World| -> Vec<String> {
        let config = world.load(&[]).unwrap();
        let doubts = crate::config::doubts(&config);
        let here = format!("{}/", world.path("here").display());
        let one = |doubt: &crate::config::Doubt| {
            let problem = &doubt.problem;
            let line = problem.line.as_deref().unwrap_or("-").trim();
            format!("{problem}\n  {line}\n  {}", problem.help.as_deref().unwrap_or("-")).replace(&here, "")
        };
        doubts.iter().map(one).collect()
    };
    insta::assert_snapshot!(told(&world).join("\n"));
    world.write("here/empty", "123:\0\0");
    assert!(told(&world)[0].contains("holds NUL bytes"), "{:?}", told(&world));
    world.write("here/lucid.yaml", "telegram: {chat_id: 5}\n");
    assert!(told(&world)[0].contains("telegram.chat_id: the chat is named"), "{:?}", told(&world));
    world.write(
        "here/lucid.yaml",
        "telegram: {token_file: '${CREDENTIALS_DIRECTORY}/telegram', chat_id: 5}\n",
    );
    assert_eq!(told(&world), Vec::<String>::new());
}

#[test]
fn the_socket_is_known_whatever_else_is_wrong() {
    let world = World::new();
    let socket = |env: &[(&str, &str)]| crate::config::socket_despite(&world.sources(env));
    world.write("here/lucid.yaml", "control: {socket: a.sock}\nscheduler: {tick: soon}\n");
    assert_eq!(socket(&[("LUCID_SCHEDULER__TIK", "1")]), Some(world.path("here/a.sock")));
    assert_eq!(socket(&[("LUCID_CONTROL__SOCKET", "b.sock")]), Some(world.path("here/b.sock")));
    // A text that is no YAML may have named any.
    world.write("here/lucid.yaml", "control: {socket: a.sock\n");
    assert_eq!(socket(&[]), None);
    world.write("here/.lucid/lucid.sock", "");
    assert_eq!(socket(&[]), Some(world.path("here/.lucid/lucid.sock")));
}
