//! Holds `src/` to its own `ARCHITECTURE.md`: layers, homes of effects, lengths and names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use lucid::config::{Sources, without_file};

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use layers::Table;
use rules::Finding;
use source::Source;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn architecture() -> String {
    fs::read_to_string(root().join("src/ARCHITECTURE.md")).expect("src/ARCHITECTURE.md")
}

/// Whether `a::b` is a file or folder below `src/`.
fn exists(path: &str) -> bool {
    let path = root().join("src").join(path.replace("::", "/"));
    path.is_dir() || path.with_extension("rs").is_file()
}

fn assert_none(findings: &[Finding]) {
    let told: Vec<&str> = findings.iter().map(|finding| finding.0.as_str()).collect();
    assert!(told.is_empty(), "\n{}", told.join("\n"));
}

#[test]
fn modules_use_only_what_is_above_them() {
    let table = Table::read(&architecture());
    assert!(table.rows.len() > 5, "the import table is not found");
    let sources = Source::all(&root().join("src"));
    let findings: Vec<Finding> = sources.iter().flat_map(|source| layers::imports(source, &table)).collect();
    assert_none(&findings);
}

#[test]
fn the_document_and_the_code_name_the_same_modules() {
    let document = architecture();
    let table = Table::read(&document);
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let mut wrong = layers::reading_order(&lib, &table, exists);
    wrong.extend(layers::mentions(&document, &table, exists));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn house_style() {
    let sources = Source::all(&root().join("src"));
    assert!(sources.len() > 10);
    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(rules::effects(source));
        findings.extend(rules::sql(source));
        findings.extend(rules::lengths(source));
        findings.extend(rules::names(source));
        findings.extend(rules::finished(source));
    }
    for source in Source::all(&root().join("tests")) {
        findings.extend(rules::lengths(&source));
        findings.extend(rules::names(&source));
        findings.extend(rules::finished(&source));
    }
    assert_none(&findings);
}

/// A setting that is not read lies to whoever sets it.
#[test]
fn every_setting_is_read_outside_config() {
    let sources = Sources {
        config: None,
        env: Vec::new(),
        cwd: root(),
        home: None,
        machine_zone: None,
        system_file: PathBuf::from("/etc/lucid/lucid.yaml"),
    };
    let config = without_file(&sources).expect("the built-in defaults");
    let programs: Vec<String> = Source::all(&root().join("src"))
        .iter()
        .filter(|source| !source.path.starts_with("config/"))
        .map(|source| chains(&source.program()))
        .collect();
    let unread: BTreeSet<&str> = config
        .effective()
        .iter()
        .map(|setting| setting.key.as_str())
        .filter(|key| !programs.iter().any(|program| reads(program, key)))
        .collect();
    assert_eq!(unread, BTreeSet::new(), "settings that nothing reads");
}

/// The code with each chain of fields on one line.
fn chains(code: &str) -> String {
    let lines: Vec<&str> = code.split('\n').map(str::trim).collect();
    lines.join("\n").replace("\n.", ".")
}

/// Whether code reads a setting: `config.scheduler.tick`, or `.tick` where the section is at hand.
fn reads(program: &str, key: &str) -> bool {
    let (section, field) = match key {
        "timezone" => ("config", "zone"),
        _ => key.split_once('.').unwrap_or(("config", key)),
    };
    let names = |text: &str| {
        let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '(');
        program.match_indices(text).any(|(at, _)| !goes_on(&program[at + text.len()..]))
    };
    let (first, rest) = section.split_at(1);
    let at_hand = names(&format!(".{section}")) || names(&(first.to_uppercase() + rest));
    names(&format!("{section}.{field}")) || (at_hand && names(&format!(".{field}")))
}

#[test]
fn reading_is_told_from_naming() {
    let good = [
        ("let x = config.scheduler.tick;", "scheduler.tick"),
        ("config\n    .backup\n    .keep_daily as usize", "backup.keep_daily"),
        ("fn f(s: &Scheduler) { s.tick }", "scheduler.tick"),
        ("let limits = &app.config.retention; limits.outputs", "retention.outputs"),
        ("config.zone.clone()", "timezone"),
    ];
    for (code, key) in good {
        assert!(reads(&chains(code), key), "{code}");
    }
    let bad = [
        ("let tick = 1; clock.tick()", "scheduler.tick"),
        ("config.scheduler.ticks", "scheduler.tick"),
        ("config.scheduler; clock.tick()", "scheduler.tick"),
        ("config.state_dirs", "state_dir"),
        ("let mode = file.mode;", "control.mode"),
    ];
    for (code, key) in bad {
        assert!(!reads(&chains(code), key), "{code}");
    }
}

#[test]
fn a_module_is_a_file_or_a_folder() {
    assert!(exists("platform::clock") && exists("platform::process") && !exists("platform::clocks"));
}
