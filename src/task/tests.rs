//! Reading as a whole: the corpus of malformed files, what is printed about each code, and bytes
//! that nobody would write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::codes::{PAGES, Page};
use super::diagnose::{Color, Diagnostic, Severity};
use super::parse::{Defaults, Known, Parsed, Rules, parse};
use crate::model::ids::TaskId;
use crate::model::task::{Command, Kind, Task};

pub fn rules() -> Rules {
    let pools = [("main", None), ("slow", Some(Duration::from_secs(90)))];
    Rules {
        defaults: Defaults::default(),
        known: Known {
            profiles: BTreeSet::from(["claude".to_owned()]),
            pools: pools.map(|(name, wait)| (name.to_owned(), wait)).into(),
            actions: &["heartbeat", "db-backup"],
        },
        now: "2026-11-26T11:30:00Z".parse().ok(),
        here: None,
    }
}

fn parsed(bytes: &[u8]) -> (Option<Task>, Vec<Diagnostic>, bool) {
    match parse(&TaskId::parse("x").unwrap(), Path::new("tasks/x.md"), bytes, &rules()) {
        Parsed::NotATask(warning) => (None, warning.into_iter().collect(), false),
        Parsed::Task { task, says_disabled, diagnostics } => {
            (task.map(|task| *task), diagnostics, says_disabled)
        }
    }
}

fn task(front: &str) -> Task {
    let (task, found, _) = parsed(format!("---\n{front}\n---\nBody.\n").as_bytes());
    task.unwrap_or_else(|| panic!("{front}\n{found:#?}"))
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// One line a file: the codes with their places, or what the file is.
fn verdict(bytes: &[u8]) -> String {
    let (task, found, says_disabled) = parsed(bytes);
    let mut line = String::new();
    for one in &found {
        let _ = write!(line, " {}:{}:{}", one.code, one.place.line, one.place.column);
    }
    let state = match (&task, found.is_empty(), says_disabled) {
        (None, true, _) => " no-task",
        (None, false, true) => " refused disabled",
        (None, false, false) => " refused",
        (Some(task), _, _) if task.blocked_by.is_some() => " blocked",
        (Some(_), _, _) => " runs",
    };
    line + state
}

/// `tests/corpus/expected.txt` says for each file which findings it must earn, and where.
#[test]
fn every_file_of_the_corpus_earns_what_is_expected() {
    let mut got = BTreeMap::new();
    for entry in std::fs::read_dir(corpus()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let start = Instant::now();
            let line = verdict(&std::fs::read(&path).unwrap());
            assert!(start.elapsed() < Duration::from_secs(2), "{name} took {:?}", start.elapsed());
            got.insert(name, line);
        }
    }
    let got: String = got.iter().map(|(name, line)| format!("{name}:{line}\n")).collect();
    let expected = std::fs::read_to_string(corpus().join("expected.txt")).unwrap_or_default();
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        std::fs::write(corpus().join("expected.txt"), &got).unwrap();
        return;
    }
    let differing: Vec<_> =
        got.lines().filter(|line| !expected.lines().any(|known| known == *line)).collect();
    assert!(differing.is_empty(), "not as expected:\n{}", differing.join("\n"));
    assert_eq!(got.lines().count(), expected.lines().count(), "a file of expected.txt is missing");
}

/// What people see, for every file of the corpus; the snapshot is the review.
#[test]
fn what_is_printed() {
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let mut text = String::new();
    let mut codes = BTreeSet::new();
    for path in names.iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let (_, found, _) = parsed(&std::fs::read(path).unwrap());
        let _ = writeln!(text, "## {}", path.file_stem().unwrap().display());
        for one in found {
            codes.insert(one.code);
            let _ = writeln!(text, "{}\n", one.human(Color::Never));
        }
    }
    insta::assert_snapshot!(text);
    // These need a folder or a machine, not a text; other tests earn them.
    let elsewhere = [
        "E112", "E119", "E122", "E123", "E124", "E126", "E127", "W104", "W304", "W305", "W306", "W307",
        "W308", "I102", "I204",
    ];
    for page in PAGES.iter().filter(|page| !elsewhere.contains(&page.code)) {
        assert!(codes.contains(page.code), "no file of the corpus earns {}", page.code);
    }
}

#[test]
fn every_finding_has_a_page_of_its_severity() {
    for entry in std::fs::read_dir(corpus()).unwrap() {
        let (_, found, _) = parsed(&std::fs::read(entry.unwrap().path()).unwrap());
        for one in found {
            let page = Page::find(one.code).unwrap_or_else(|| panic!("{} has no page", one.code));
            assert_eq!(page.severity(), one.severity, "{}", one.code);
        }
    }
}

#[test]
fn the_smallest_task_has_the_contracts_defaults() {
    let task = task("schedule: every 5m\ncommand: ./check.sh");
    assert_eq!(task.kind, Kind::Command(Command::Shell("./check.sh".into())));
    assert_eq!((&*task.name, &*task.description), ("x", "Body."));
    assert!(task.enabled && !task.schedule.is_manual());
    assert_eq!(task.settings.timeout, Duration::from_secs(600));
    assert_eq!(*task.settings.success_codes, [0]);
    assert_eq!(task.hash.to_string().len(), 64);
    assert_eq!(task.blocked_by, None);
}

#[test]
fn booleans_are_eight_words_in_any_case() {
    for (word, enabled) in [
        ("true", true),
        ("TRUE", true),
        ("yes", true),
        ("On", true),
        ("1", true),
        ("\"true\"", true),
        ("false", false),
        ("no", false),
        ("NO", false),
        ("oFF", false),
        ("0", false),
        ("'false'", false),
    ] {
        assert_eq!(task(&format!("command: ./x\nenabled: {word}")).enabled, enabled, "{word}");
    }
}

#[test]
fn a_broken_file_that_says_disabled_is_disabled() {
    for text in [
        "---\nenabled: false\ncommand: [\n---\n",
        "---\nenabled : No # off\ncommand: [\n---\n",
        "---\r\nenabled: \"off\"\r\nname: @\r\n---\r\n",
        "\u{feff}---\nenabled: 0\ntimeout: 1:30\n---\n",
        "---\nenabled: false\n",
        "---\nenabled: true\nenabled: false\ncommand: x\n---\n",
    ] {
        let (task, _, says_disabled) = parsed(text.as_bytes());
        assert!(task.is_none() && says_disabled, "{text:?}");
    }
    for text in [
        "---\nenabled: true\ncommand: [\n---\n",
        "---\nenabled_by: false\ncommand: [\n---\n",
        "---\ncommand: [\n---\nenabled: false\n",
        "enabled: false\n",
    ] {
        assert!(!parsed(text.as_bytes()).2, "{text:?}");
    }
}

#[test]
fn findings_point_at_what_is_wrong() {
    for slip in ["name: \"open", "tags: [a"] {
        let line = verdict(format!("---\ncommand: |\n  \tfoo\n{slip}\n---\n").as_bytes());
        assert!(line.starts_with(" E110"), "{slip}: {line}");
    }
    assert_eq!(verdict(b"---\ncommand: x\rname: y\rtimout: 1\n---\n"), " E101:4:1 refused");
    assert_eq!(verdict(b"---\ncommand: x\nschedule: \"\\u002a/5 61 * * *\"\n---\n"), " E202:3:11 refused");
    assert_eq!(verdict("\u{feff}\u{feff}---\ncommand: x\n---\n".as_bytes()), " W103:0:0 refused");
}

#[test]
fn what_is_said_is_short_and_says_that_there_is_more() {
    for key in ["timezone", "timeout", "log_max"] {
        let (_, found, _) =
            parsed(format!("---\ncommand: x\n{key}: {}\n---\n", "a".repeat(200_000)).as_bytes());
        let [one] = found.as_slice() else { panic!("{key}: {} findings", found.len()) };
        assert!(one.message.len() < 200 && one.human(Color::Never).len() < 2_000, "{key}");
    }
    let keys: String = (0..150).map(|n| format!("other{n}: 1\n")).collect();
    let (task, found, _) = parsed(format!("---\ncommand: x\n{keys}---\n").as_bytes());
    assert!(task.is_some() && found.len() == 101);
    assert_eq!(
        found.last().map(Diagnostic::short).as_deref(),
        Some("tasks/x.md: info[I204]: 50 more of its findings are not shown")
    );
}

#[test]
fn values_stay_what_was_written() {
    let task = task(
        "command: ./x\nname: 010\nenv: {A: 0x10, B: yes, C: , D: 1:30, E: \"a: b\"}\ntags: a, b\n\
         lock: [b, a, b]\nowner: 2027-01-01\nsuccess_codes: [0, 10]\nretries: 2\nlog_max: 500kB\n\
         alerts: off\nworking_dir: ~/x\nmeta: {any: [1, {b: c}]}\nx-own: 1",
    );
    assert_eq!((&*task.name, task.settings.owner.as_deref()), ("010", Some("2027-01-01")));
    let env: Vec<_> = task.settings.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=0x10", "B=yes", "C=", "D=1:30", "E=a: b"]);
    assert_eq!(task.settings.tags, ["a", "b"]);
    assert_eq!(task.settings.locks, ["a", "b"]);
    assert_eq!(
        (&*task.settings.success_codes, task.settings.retries.max, task.settings.log_max),
        (&[0, 10][..], 2, 500_000)
    );
    assert!(task.settings.alerts.events.is_empty());
}

#[test]
fn tools_are_text_or_list() {
    let tools = |text: &str| match task(&format!("agent: claude\ntools: {text}")).kind {
        Kind::Agent(agent) => agent.tools,
        Kind::Command(_) | Kind::Action(_) => panic!("an agent was written"),
    };
    let wanted = ["Read", "Bash(git diff:*, git log:*)", "Grep"];
    assert_eq!(tools("Read, Bash(git diff:*, git log:*), Grep"), wanted);
    assert_eq!(tools("[Read, \"Bash(git diff:*, git log:*)\", Grep]"), wanted);
}

#[test]
fn anchors_work_within_reason() {
    let task = task("command: ./x\nmeta: {a: &a \"5m\"}\ntimeout: *a\nenv: &e {A: 1}\nx-e: *e");
    assert_eq!(task.settings.timeout, Duration::from_secs(300));
}

fn codes(front: &str) -> Vec<&'static str> {
    let (_, found, _) = parsed(format!("---\ncommand: x\n{front}\n---\n").as_bytes());
    found.iter().map(|found| found.code).collect()
}

#[test]
fn what_one_instant_allows_is_no_error() {
    let late = "retries: {max: 1, delay: 2h, max_delay: 4h}";
    assert_eq!(codes(&format!("schedule: 0 9,10 * * 1-5\n{late}")), ["W303"]);
    assert_eq!(codes(&format!("schedule: 0 * * * *\n{late}")), ["E303"]);
    assert_eq!(codes("schedule: 0 9,10 * * 1-5\njitter: 90m"), [""; 0]);
    assert_eq!(codes("schedule: \"*/5 9-17 * * *\"\nretries: {max: 1, delay: 5m}"), ["W303"]);
    assert_eq!(codes("schedule: every 5m\njitter: 10m"), ["E305"]);
    assert_eq!(codes("schedule: in 2s\njitter: 36500d"), ["E305"]);
    assert_eq!(codes("schedule: in 2s\njitter: 1h"), [""; 0]);
}

#[test]
fn what_is_said_of_a_value_is_true_of_it() {
    let said = |front: &str| {
        let (_, found, _) = parsed(format!("---\n{front}\n---\n").as_bytes());
        let text = |found: &Diagnostic| format!("{}: {}", found.message, found.help.as_deref().unwrap_or(""));
        found.iter().map(text).collect::<Vec<_>>().join("; ")
    };
    let beside = said("command: x\nschedul: 2\nschedule: every 5m");
    assert!(beside.contains("`schedule` is there already") && !beside.contains("default"), "{beside}");
    assert!(said("command: [ls, null]").contains("item 2 of `command` is nothing"));
    assert!(said("command: [ -f /etc/hosts ]").contains("`-f /etc/hosts` is no program"));
    assert!(said("command: x\ncron: */5 * * * *").contains("did you mean `schedule`?"));
    assert_eq!(task("command: x\nsecrets: 'A, B'").settings.secrets, ["A", "B"]);
}

#[test]
fn a_missing_profile_blocks_runs_but_keeps_the_task() {
    let text = "---\nagent: cluade\n---\nDo it.\n";
    let (task, found, _) = parsed(text.as_bytes());
    assert_eq!(task.unwrap().blocked_by.as_deref(), Some("there is no agent profile `cluade`"));
    assert_eq!((found[0].code, found[0].severity), ("E307", Severity::Error));
    assert_eq!(found[0].help.as_deref(), Some("did you mean `claude`?"));
}

#[test]
fn short_github_and_json() {
    let (_, found, _) = parsed(b"---\ncommand: ./x\ntimout: 60\n---\n");
    assert_eq!(
        found[0].short(),
        "tasks/x.md:3:1: error[E101]: unknown key `timout`, did you mean `timeout`?"
    );
    assert_eq!(
        found[0].github(),
        "::error file=tasks/x.md,line=3,col=1,endColumn=7,title=E101::unknown key `timout`, did you mean \
         `timeout`?%0Awithout it the default of 10m applies"
    );
    insta::assert_json_snapshot!(found[0].json(), @r#"
    {
      "code": "E101",
      "column": 1,
      "end_column": 7,
      "end_line": 3,
      "file": "tasks/x.md",
      "help": "without it the default of 10m applies",
      "line": 3,
      "message": "unknown key `timout`, did you mean `timeout`?",
      "severity": "error"
    }
    "#);
}

#[test]
fn a_file_over_the_limit_says_its_size() {
    let mut bytes = b"---\ncommand: ./x\n---\n".to_vec();
    bytes.resize(300_000, b'x');
    let (task, found, _) = parsed(&bytes);
    assert!(task.is_none());
    assert!(found[0].message.contains("300000 bytes"), "{}", found[0].message);
}

/// The largest files that are read, made to cost as much as they can.
#[test]
fn the_worst_files_are_read_in_time() {
    let fill = |unit: &str| unit.repeat(250_000 / unit.len());
    let numbered = |form: fn(usize) -> String| (0..12_000).map(form).collect::<String>();
    for (name, front) in [
        ("many schedules", format!("schedule:\n{}", fill("  - @daily\n"))),
        ("many refused commands", fill("command: a: b\n")),
        ("many unknown keys", numbered(|n| format!("timoutx{n}: 1\n"))),
        ("one long line", format!("name: {}", fill("x"))),
        ("one long key", format!("{}: 1", fill("x"))),
        ("one long schedule", format!("schedule: {}", fill("*/5,"))),
        ("brackets", fill("[")),
        ("braces", fill("{a: ")),
        ("quotes", fill("'\"")),
        ("anchors", numbered(|n| format!("x-{n}: &a{n} *a{n}\n"))),
        ("question marks", fill("? ")),
        ("dashes", fill("- ")),
        ("comments", fill("# x\n")),
        ("colons", fill(": ")),
        ("tabs", fill("\t")),
        ("env", format!("env:\n{}", numbered(|n| format!("  A-{n}: 1\n")))),
    ] {
        let bytes = format!("---\ncommand: ./x\n{front}\n---\n");
        let start = Instant::now();
        let (_, found, _) = parsed(bytes.as_bytes());
        assert!(found.len() <= super::parse::FOUND_MAX);
        assert!(start.elapsed() < Duration::from_secs(8), "{name} took {:?}", start.elapsed());
        println!("{name}: {:?}", start.elapsed());
    }
}

#[test]
fn long_documentation_is_not_kept_but_a_prompt_is() {
    let body = "word ".repeat(1000);
    let with = |kind: &str| parsed(format!("---\n{kind}\n---\nFirst line\n{body}").as_bytes()).0.unwrap();
    let command = with("command: ./x");
    assert_eq!((&*command.body, &*command.description), ("", "First line"));
    assert!(with("agent: claude").body.len() > 4000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_or_hang(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = verdict(&bytes);
        let fenced = [b"---\n".as_slice(), &bytes, b"\n---\n"].concat();
        let _ = verdict(&fenced);
    }

    #[test]
    fn no_front_matter_panics(text in "([a-z_]{1,9}: ?)?[-\\[\\]{}:#&*!|>'\"%@`, \\t\\na-z0-9ü]{0,120}") {
        let bytes = format!("---\ncommand: x\n{text}\n---\n");
        let (_, found, _) = parsed(bytes.as_bytes());
        for one in found {
            let shown = one.human(Color::Always);
            prop_assert!(shown.contains(one.code));
        }
    }

    /// Whatever is broken in a good file, a person's `enabled: false` is obeyed.
    #[test]
    fn disabled_wins_over_any_damage(at in 0usize..60, junk in "[\\[\\]{}:*&!@%`'\"a-z]{1,8}") {
        let good = "name: a name\ntimeout: 5m\ncommand: echo hello\nenabled: false\ntags: [a, b]\n";
        let lines: Vec<&str> = good.lines().collect();
        let nth = at % (lines.len() + 1);
        let mut damaged: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        damaged.insert(nth, junk);
        let text = format!("---\n{}\n---\n", damaged.join("\n"));
        let (task, _, says_disabled) = parsed(text.as_bytes());
        prop_assert!(says_disabled);
        prop_assert!(task.is_none_or(|task| !task.enabled));
    }
}
