//! The rules of house style that a machine can hold. Each is shown to fail below.

use super::source::{Source, item_end};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// Names under which anything could be put.
const BANNED_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "misc", "errors"];

/// What a rule has found.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding(pub String);

impl Finding {
    pub fn new(source: &Source, line: usize, what: impl Into<String>) -> Self {
        Self(format!("{}/{}:{line}: {}", source.folder, source.path, what.into()))
    }
}

/// Words that only the home of an effect may say.
struct Effect {
    name: &'static str,
    words: &'static [&'static str],
    /// Files and folders below `src/`.
    homes: &'static [&'static str],
}

/// One home an effect, or as few as there can be.
const EFFECTS: [Effect; 8] = [
    Effect {
        name: "the wall clock is read",
        words: &["Timestamp::now", "SystemTime::now", "Zoned::now", "clock_gettime"],
        homes: &["platform/clock.rs"],
    },
    Effect {
        // How long something took or may take, never when: decisions get that as a value.
        name: "elapsed time is measured",
        words: &["Instant::now"],
        homes: &["platform/", "store/", "run/", "daemon/", "api/", "cli/", "task/watch.rs"],
    },
    Effect {
        name: "processes are made and killed",
        words: &["process::Command", "tokio::process", "libc::", "kill_process", "pidfd_send_signal"],
        // `lucid stop` asks systemctl whether this is a restart; the fake agent stands in for a foreign program.
        homes: &["platform/process/", "cli/stop.rs", "cli/fake_agent/"],
    },
    Effect { name: "code is unsafe", words: &["unsafe"], homes: &["platform/process/"] },
    Effect { name: "SQLite is opened", words: &["Connection::open"], homes: &["store/"] },
    Effect {
        name: "git is known and helper programs are asked",
        words: &["git2", "bounded::run", "bounded::run_capped"],
        homes: &["platform/git/", "dispatch/probe.rs", "health/look.rs"],
    },
    Effect { name: "YAML is known", words: &["serde_yaml"], homes: &["config/", "task/"] },
    Effect {
        name: "the environment is read",
        words: &["env::var", "env::var_os", "env::vars", "env::vars_os"],
        homes: &["config/sources.rs", "cli/", "platform/process/"],
    },
];

/// What looks like an effect and is a number.
const FLAGS: [&str; 1] = ["libc::O_"];

/// Beginnings of SQL as it is written here, in capitals.
const SQL: [&str; 9] = [
    "SELECT ",
    "INSERT INTO ",
    "INSERT OR ",
    "DELETE FROM ",
    "CREATE TABLE ",
    "ALTER TABLE ",
    "DROP TABLE ",
    "BEGIN IMMEDIATE",
    "PRAGMA ",
];

/// Effects at home.
pub fn effects(source: &Source) -> Vec<Finding> {
    let program = source.program();
    let mut findings = Vec::new();
    for effect in &EFFECTS {
        if effect.homes.iter().any(|home| source.path.starts_with(home)) {
            continue;
        }
        for word in effect.words {
            for (offset, _) in
                program.match_indices(word).filter(|(at, found)| is_whole(&program, *at, found))
            {
                if FLAGS.iter().any(|flag| program[offset..].starts_with(flag)) {
                    continue;
                }
                let what = format!("`{word}`: {} only in {}", effect.name, effect.homes.join(", "));
                findings.push(Finding::new(source, source.line_of(offset), what));
            }
        }
    }
    findings
}

/// Whether the match is not the middle of a longer word.
fn is_whole(text: &str, at: usize, found: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let before = text[..at].chars().next_back().is_some_and(word);
    let after = text[at + found.len()..].chars().next().is_some_and(word);
    let cut_off = before && found.starts_with(word) || after && found.ends_with(word);
    !cut_off
}

/// SQL only in `store` and in files named `table.rs`.
pub fn sql(source: &Source) -> Vec<Finding> {
    if source.path.starts_with("store/") || source.path.ends_with("/table.rs") {
        return Vec::new();
    }
    let speaks = |text: &str| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ") + " ";
        SQL.iter().any(|word| text.contains(word)) || (text.contains("UPDATE ") && text.contains(" SET "))
    };
    let found = source.strings.iter().filter(|(_, text)| speaks(text));
    found.map(|(line, _)| Finding::new(source, *line, "SQL only in store/ and table.rs")).collect()
}

/// Files stay on a few screens, functions on one.
pub fn lengths(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(Finding::new(
            source,
            FILE_LINES_MAX,
            format!("{lines} lines; at most {FILE_LINES_MAX}"),
        ));
    }
    for (offset, _) in source.code.match_indices("fn ").filter(|(at, _)| is_whole(&source.code, *at, "fn ")) {
        let end = item_end(&source.code, offset);
        let code = source.code[offset..end].lines().filter(|line| !line.trim().is_empty()).count();
        if code > FUNCTION_LINES_MAX {
            let what = format!("a function of {code} lines of code; at most {FUNCTION_LINES_MAX}");
            findings.push(Finding::new(source, source.line_of(offset), what));
        }
    }
    findings
}

/// A file is named after what it holds, and says first what that is.
pub fn names(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(name) = source.module().into_iter().find(|name| BANNED_NAMES.contains(name)) {
        findings.push(Finding::new(source, 1, format!("`{name}` says nothing about what is in it")));
    }
    if source.path != "lib.rs" && !source.text.starts_with("//!") {
        findings.push(Finding::new(source, 1, "starts without `//!`: what it owns, what it must not do"));
    }
    findings
}

/// Nothing unfinished, nothing left out.
pub fn finished(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for word in ["todo!", "unimplemented!", "#[ignore]"] {
        for (offset, _) in source.code.match_indices(word) {
            findings.push(Finding::new(
                source,
                source.line_of(offset),
                format!("`{word}` without an end or a reason"),
            ));
        }
    }
    findings
}

#[test]
fn each_effect_has_one_home() {
    let bad = [
        ("run/flight.rs", "let now = Timestamp::now();"),
        ("task/due.rs", "let now = std::time::Instant::now();"),
        ("model/run.rs", "let now = tokio::time::Instant::now();"),
        ("platform/files.rs", "let now = SystemTime::now();"),
        ("daemon/boot.rs", "use std::process::Command;"),
        ("daemon/boot.rs", "unsafe { libc::kill(1, 9) };"),
        ("cli/mod.rs", "let pid = libc::fork();"),
        ("api/mod.rs", "let c = rusqlite::Connection::open(path);"),
        ("api/mod.rs", "use serde_yaml::Spanned;"),
        ("pool/claim.rs", "let repo = git2::Repository::open(path);"),
        ("run/mod.rs", "let home = std::env::var(NAME);"),
    ];
    for (path, code) in bad {
        assert!(!effects(&Source::new(path, code)).is_empty(), "{path}: {code}");
    }
    let good = [
        ("platform/clock.rs", "Timestamp::now()"),
        ("run/supervise.rs", "let at = tokio::time::Instant::now();"),
        ("run/supervise.rs", "// Timestamp::now()"),
        ("run/supervise.rs", "#[cfg(test)]\nmod tests { fn f() { Timestamp::now(); } }"),
        ("task/scan.rs", "let flags = libc::O_NONBLOCK;"),
        ("platform/process/kill.rs", "unsafe { libc::kill(1, 9) };"),
        ("model/mod.rs", "#![deny(unsafe_code)]"),
        ("cli/mod.rs", "let key = std::env::var_os(NAME);"),
    ];
    for (path, code) in good {
        assert_eq!(effects(&Source::new(path, code)), [], "{path}: {code}");
    }
}

#[test]
fn sql_has_two_homes() {
    for text in ["SELECT 1", "UPDATE run\\n   SET a = 1", "DELETE FROM run", "PRAGMA wal_checkpoint"] {
        let code = format!("const A: &str = \"{text}\";");
        assert_eq!(sql(&Source::new("run/flight.rs", &code)).len(), 1, "{text}");
        assert_eq!(sql(&Source::new("run/table.rs", &code)), []);
        assert_eq!(sql(&Source::new("store/mod.rs", &code)), []);
    }
    assert_eq!(sql(&Source::new("api/mod.rs", "match m { \"DELETE\" => 1, \"please select\" => 2 }")), []);
}

#[test]
fn long_is_too_long() {
    let long = "//! x\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(lengths(&Source::new("a.rs", &long)).len(), 1);
    assert_eq!(lengths(&Source::new("a.rs", &"//! x\n".repeat(FILE_LINES_MAX))), []);
    let function = |lines: usize| format!("pub fn f() {{\n{}}}\n", "x();\n".repeat(lines));
    assert_eq!(lengths(&Source::new("a.rs", &function(FUNCTION_LINES_MAX - 1))).len(), 1);
    assert_eq!(lengths(&Source::new("a.rs", &function(FUNCTION_LINES_MAX - 2))), []);
    let snapshot = format!("fn f() {{\nassert!(r\"\n{}\");\n}}\n", "line\n".repeat(100));
    assert_eq!(lengths(&Source::new("a.rs", &snapshot)), []);
}

#[test]
fn names_say_something() {
    assert_eq!(names(&Source::new("run/util.rs", "//! x")).len(), 1);
    assert_eq!(names(&Source::new("common/mod.rs", "//! x")).len(), 1);
    assert_eq!(names(&Source::new("run/flight.rs", "use x;")).len(), 1);
    assert_eq!(names(&Source::new("run/flight.rs", "//! Flights.")), []);
}

#[test]
fn nothing_is_left_open() {
    for code in ["todo!()", "unimplemented!(\"x\")", "#[ignore]\nfn f() {}"] {
        assert_eq!(finished(&Source::new("a.rs", code)).len(), 1, "{code}");
    }
    assert_eq!(finished(&Source::new("a.rs", "#[ignore = \"takes an hour\"]\nfn f() {} // todo!")), []);
}
