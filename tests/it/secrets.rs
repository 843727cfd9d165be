//! A secret given to a run is in no byte of the state directory, of an answer or of the daemon's log, however
//! the run prints it.

use std::fs;
use std::path::Path;

use crate::world::World;

/// Characters that every encoding changes.
const CANARY: &str = "c4n/ry+\"v&lue=\\x 42%";

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[usize::try_from(group >> (18 - 6 * place) & 63).unwrap()];
            text.push(if place > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

fn url(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
        })
        .collect()
}

fn files_below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_below(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
fn a_secret_stays_out_of_everything_that_is_kept_or_shown() {
    let forms = [
        ("plain", CANARY.to_owned()),
        ("base64", base64(CANARY.as_bytes())),
        ("url", url(CANARY.as_bytes())),
        ("json", serde_json::to_string(CANARY).unwrap().trim_matches('"').to_owned()),
    ];
    let mut world = World::with("secrets: {file: secrets.env}");
    world.write("secrets.env", format!("CANARY={CANARY}\nOTHER=some-other-value\n"));
    let front = |script: &str| format!("secrets: [CANARY]\ncommand: |\n  {script}");
    world.task("echoed", &front("printf '%s\\n' \"$CANARY\"; printf '%s' \"$CANARY\" >&2"));
    world.task(
        "split",
        &front("printf '%s' \"${CANARY%lue*}\"; sleep 0.3; printf '%s\\n' \"lue${CANARY#*lue}\""),
    );
    world.task("base64", &front("printf '%s' \"$CANARY\" | base64"));
    // As a program would print it, so the file holds only its parts.
    for (task, form) in [("url", &forms[2].1), ("json", &forms[3].1)] {
        let (left, right) = form.split_at(form.len() / 2);
        world.write(&format!("{task}.left"), left);
        world.write(&format!("{task}.right"), right);
        world.task(task, &front(&format!("cat {task}.left {task}.right; echo")));
    }
    world.task("fails", &front("echo \"$CANARY\"; exec /nowhere/\"$CANARY\""));
    world.task("unnamed", "command: env");
    world.task("passed", "command: env | grep -c some-other\nsecrets: [OTHER]");
    world.serve();
    for task in ["echoed", "split", "base64", "url", "json", "fails", "unnamed"] {
        let row = world.run(task);
        let log = world.log_of(row.id);
        assert!(task == "unnamed" || log.contains("***"), "{task}: {log}");
        assert_eq!(row.exit_code, Some(if task == "fails" { 127 } else { 0 }), "{log}");
    }
    assert_eq!(world.log_of(world.run("passed").id).trim(), "1", "the run itself gets it");
    world.lucid(["backup"]).expect(0);
    let mut answers = String::new();
    for path in
        ["status", "tasks", "tasks/echoed", "runs", "activity", "problems", "logs", "config", "openapi.json"]
    {
        answers += &world.lucid(["api", "GET", &format!("/api/v1/{path}")]).expect(0).stdout;
    }
    for row in world.rows_where("true") {
        answers += &world.lucid(["api", "GET", &format!("/api/v1/runs/{}/log", row.id)]).stdout;
        answers += &world.lucid(["logs", &row.id.to_string()]).stdout;
        answers += &world.lucid(["runs", "--json"]).stdout;
    }
    answers += &world.lucid(["config", "--effective", "--json"]).stdout;
    let mut files = Vec::new();
    files_below(&world.path("state"), &mut files);
    assert!(files.len() > 20, "{files:?}");
    files.push(world.path("daemon.log"));
    for (form, text) in &forms {
        assert!(!holds(answers.as_bytes(), text), "{form} in an answer");
        for file in &files {
            assert!(!holds(&fs::read(file).unwrap(), text), "{form} in {}", file.display());
        }
    }
}

#[test]
fn a_secret_that_is_not_there_or_too_short_blocks_its_run() {
    let mut world = World::with("secrets: {file: secrets.env}");
    world.write("secrets.env", "SHORT=abc\n");
    world.task("missing", "secrets: [NOWHERE]\ncommand: touch ran");
    world.task("short", "secrets: [SHORT]\ncommand: touch ran");
    world.serve();
    for (task, name) in [("missing", "NOWHERE"), ("short", "SHORT")] {
        let done = world.lucid(["run", task, "--wait"]);
        let row = world.rows(task).pop().unwrap();
        assert_eq!((row.state.as_str(), done.code), ("blocked", 125), "{row:?}");
        assert!(row.reason.as_deref().is_some_and(|reason| reason.contains(name)), "{row:?}");
    }
    assert!(!world.path("ran").exists());
}
