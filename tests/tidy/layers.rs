//! Reading order is layering: the import table of `src/ARCHITECTURE.md` against `lib.rs` and every `use`.

use std::collections::BTreeSet;

use super::rules::Finding;
use super::source::{Source, line_of};

/// The import table, a row a module, in reading order.
pub struct Table {
    pub rows: Vec<Row>,
}

pub struct Row {
    pub module: String,
    /// Paths below the crate it may use, with all below them.
    pub may: Vec<String>,
    /// Exceptions to `may`.
    pub not: Vec<String>,
}

impl Table {
    /// Reads `| module | may import | but not |`, names in backticks.
    pub fn read(document: &str) -> Self {
        let lines = document.lines().skip_while(|line| !line.starts_with("| module | may import |"));
        let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
        let rows = rows.map(|line| {
            let cells: Vec<Vec<String>> = line.trim_matches('|').split('|').map(names).collect();
            let [module, may, not] = &cells[..] else { panic!("three cells: {line}") };
            Row { module: module[0].clone(), may: may.clone(), not: not.clone() }
        });
        Self { rows: rows.collect() }
    }

    /// The modules of `lib.rs`, then `main`.
    pub fn modules(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.module.as_str()).collect()
    }

    fn allows(&self, from: &str, path: &str) -> bool {
        let Some(row) = self.rows.iter().find(|row| row.module == from) else { return false };
        let covers = |entry: &String| path == entry || path.starts_with(&format!("{entry}::"));
        path.split("::").next() == Some(from) || (row.may.iter().any(covers) && !row.not.iter().any(covers))
    }
}

fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every use of another module has its place in the table. Tests may build what they need.
pub fn imports(source: &Source, table: &Table) -> Vec<Finding> {
    let module = source.module();
    let Some(from) = module.first() else { return Vec::new() };
    let code = source.program();
    let tops: BTreeSet<&str> = table.modules().into_iter().collect();
    let mut findings = Vec::new();
    let mut check = |offset: usize, path: &str| {
        let top = path.split("::").next().unwrap_or_default();
        if tops.contains(top) && !table.allows(from, path) {
            findings.push(Finding::new(
                source,
                line_of(&code, offset),
                format!("`{from}` may not use `{path}`"),
            ));
        }
    };
    let root = if *from == "main" { "lucid::" } else { "crate::" };
    for (offset, _) in code.match_indices(root) {
        for path in paths(&code[offset + root.len()..]) {
            check(offset, &path);
        }
    }
    let up = "super::".repeat(module.len());
    for (offset, _) in code.match_indices(&up) {
        let rest = code[offset..].trim_start_matches("super::");
        for path in paths(rest) {
            check(offset, &path);
        }
    }
    findings
}

/// What a use tree names: `a::{b, c::D}` is `a::b` and `a::c::D`.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    tree(text, "", &mut found);
    found
}

/// Reads one tree and gives back what follows it.
fn tree<'a>(text: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(rest, prefix, found).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                Some(more) => return more.trim_start().strip_prefix('}').unwrap_or(more),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = if prefix.is_empty() || name.is_empty() {
        format!("{prefix}{name}")
    } else {
        format!("{prefix}::{name}")
    };
    match rest.strip_prefix("::") {
        Some(below) if below.starts_with(|c: char| c == '{' || c == '_' || c.is_alphabetic()) => {
            tree(below, &path, found)
        }
        Some(_) | None => {
            found.push(path);
            let renamed = rest.trim_start().strip_prefix("as ").unwrap_or(rest);
            renamed.trim_start_matches(|c: char| c == '*' || c == ':' || c == '_' || c.is_alphanumeric())
        }
    }
}

/// The modules of `lib.rs` are the table's, in its order, and each is a folder or a file.
pub fn reading_order(lib: &str, table: &Table, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let declared: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let told: Vec<&str> = table.modules().into_iter().filter(|module| *module != "main").collect();
    let mut wrong = Vec::new();
    if declared != told {
        wrong.push(format!("lib.rs has {declared:?}, the table {told:?}"));
    }
    for (index, row) in table.rows.iter().enumerate() {
        for path in row.may.iter().chain(&row.not) {
            let top = path.split("::").next().unwrap_or_default();
            if !told[..index.min(told.len())].contains(&top) {
                wrong.push(format!("the row of `{}` names `{path}`, which is not above it", row.module));
            }
            if !exists(path) {
                wrong.push(format!("the row of `{}` names `{path}`, which does not exist", row.module));
            }
        }
    }
    wrong
}

/// Each `module::file` that the document names exists.
pub fn mentions(document: &str, table: &Table, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let words =
        document.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':' && c != '/' && c != '.');
    let mut wrong = Vec::new();
    for word in words.filter(|word| word.contains("::")) {
        let parts: Vec<&str> = word.trim_matches(':').split("::").collect();
        let files: Vec<&str> =
            parts.iter().copied().take_while(|part| part.starts_with(|c: char| c.is_lowercase())).collect();
        if table.modules().contains(&files.first().copied().unwrap_or_default()) && !exists(&files.join("::"))
        {
            wrong.push(format!("`{word}` does not exist"));
        }
    }
    wrong
}

#[test]
fn use_trees_are_taken_apart() {
    assert_eq!(paths("store::Store;"), ["store::Store"]);
    assert_eq!(
        paths("{model::{run::Run, ids::*}, store, task as t};"),
        ["model::run::Run", "model::ids", "store", "task"]
    );
    assert_eq!(paths("{\n    model::ids,\n    store,\n};"), ["model::ids", "store"]);
    assert_eq!(paths("run::flight(x)"), ["run::flight"]);
}

#[test]
fn the_table_is_held_to() {
    let table = Table::read(
        "| module | may import | but not |\n|---|---|---|\n| `platform` | | |\n| `model` | nothing | |\n\
         | `api` | `platform` `model` | `platform::process` |\n| `main` | `api` | |\n\nafter",
    );
    assert_eq!(table.modules(), ["platform", "model", "api", "main"]);
    let bad = [
        ("platform/clock.rs", "use crate::model::ids::TaskId;"),
        ("platform/process/kill.rs", "use super::super::super::model::ids;"),
        ("model/run.rs", "fn f() { crate::api::x() }"),
        ("api/mod.rs", "use crate::{model::ids, platform::{clock, process::kill}};"),
        ("api/mod.rs", "use super::platform::process;"),
        ("main.rs", "use lucid::platform::clock;"),
        ("other/mod.rs", "use crate::model::ids;"),
    ];
    for (path, code) in bad {
        assert_eq!(imports(&Source::new(path, code), &table).len(), 1, "{path}: {code}");
    }
    let good = [
        ("platform/process/kill.rs", "use crate::platform::clock::Clock;"),
        ("api/mod.rs", "use crate::{model::ids, platform::clock}; // crate::platform::process"),
        ("api/mod.rs", "const TEXT: &str = \"crate::platform::process\";"),
        ("api/wire/run.rs", "use super::super::wire; use super::runs;"),
        ("main.rs", "use lucid::api;"),
    ];
    for (path, code) in good {
        assert_eq!(imports(&Source::new(path, code), &table), [], "{path}: {code}");
    }
    let exists = |path: &str| path != "platform::process";
    let lib = "pub mod model;\npub mod platform;\npub mod api;\n";
    assert_eq!(reading_order(lib, &table, exists).len(), 2);
    assert_eq!(mentions("`api::wire` `platform::process::Spec` `std::io`", &table, exists).len(), 1);
}
