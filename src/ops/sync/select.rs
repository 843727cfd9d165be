//! What of a working copy may be committed: included, not excluded, and none of what never is. Pure.

use std::path::Path;

use crate::config::Sync;

/// What becomes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    Taken,
    NotIncluded,
    Excluded,
    /// Whatever the settings say; what it looks like.
    Never(&'static str),
}

const ENVIRONMENT: &str = "an environment file";
const DATABASE: &str = "a database";
const LOG: &str = "a log";
const KEY: &str = "a key";
const CREDENTIALS: &str = "credentials";
const WORKTREES: &str = "an agent's worktrees";
const OURS: &str = "lucid's own state";

/// Endings of names, lower case.
const ENDINGS: [(&str, &str); 22] = [
    (".db", DATABASE),
    (".db-wal", DATABASE),
    (".db-shm", DATABASE),
    (".db-journal", DATABASE),
    (".sqlite", DATABASE),
    (".sqlite-wal", DATABASE),
    (".sqlite-shm", DATABASE),
    (".sqlite-journal", DATABASE),
    (".sqlite3", DATABASE),
    (".sqlite3-wal", DATABASE),
    (".sqlite3-shm", DATABASE),
    (".log", LOG),
    (".pem", KEY),
    (".key", KEY),
    (".p12", KEY),
    (".pfx", KEY),
    (".ppk", KEY),
    (".jks", KEY),
    (".keystore", KEY),
    (".kdbx", KEY),
    (".gpg", KEY),
    (".asc", KEY),
];
/// Beginnings of names.
const BEGINNINGS: [(&str, &str); 7] = [
    (".env", ENVIRONMENT),
    ("id_rsa", KEY),
    ("id_dsa", KEY),
    ("id_ecdsa", KEY),
    ("id_ed25519", KEY),
    ("id_xmss", KEY),
    (".git-credentials", CREDENTIALS),
];
/// Whole names, of a file or a folder on the way to it.
const NAMES: [(&str, &str); 6] = [
    (".netrc", CREDENTIALS),
    (".pgpass", CREDENTIALS),
    (".credentials.json", CREDENTIALS),
    (".ssh", KEY),
    (".gnupg", KEY),
    (".lucid", OURS),
];

/// What never goes to a remote, and what it looks like.
#[must_use]
pub fn never(path: &Path) -> Option<&'static str> {
    let parts: Vec<String> =
        path.components().map(|part| part.as_os_str().to_string_lossy().to_lowercase()).collect();
    let agents = |pair: &[String]| pair[0] == ".claude" && pair[1] == "worktrees";
    if parts.windows(2).any(agents) {
        return Some(WORKTREES);
    }
    parts.iter().find_map(|name| {
        let by_name = NAMES.iter().find(|(whole, _)| name == whole);
        let by_begin = || BEGINNINGS.iter().find(|(begin, _)| name.starts_with(begin));
        let by_end = || ENDINGS.iter().find(|(end, _)| name.ends_with(end));
        by_name.or_else(by_begin).or_else(by_end).map(|(_, what)| *what)
    })
}

/// What becomes of `path`, relative to the top.
#[must_use]
pub fn choose(path: &Path, sync: &Sync) -> Choice {
    let text = path.to_string_lossy();
    if let Some(what) = never(path) {
        return Choice::Never(what);
    }
    if !sync.include.is_empty() && !sync.include.iter().any(|pattern| matches(pattern, &text)) {
        return Choice::NotIncluded;
    }
    if sync.exclude.iter().any(|pattern| matches(pattern, &text)) {
        return Choice::Excluded;
    }
    Choice::Taken
}

/// Whether `pattern` names `path` or a folder that it lies in. With a slash before its end it begins at the
/// top, without one it may stand anywhere.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    let body = pattern.trim_end_matches('/');
    let is_anchored = body.contains('/');
    let wanted: Vec<&str> = body.trim_start_matches('/').split('/').collect();
    let parts: Vec<&str> = path.split('/').collect();
    let begins = if is_anchored { 0..=0 } else { 0..=parts.len().saturating_sub(1) };
    begins.into_iter().any(|begin| begins_with(&wanted, &parts[begin..]))
}

/// Whether the parts begin with what is wanted; the rest lies below.
fn begins_with(wanted: &[&str], parts: &[&str]) -> bool {
    match (wanted, parts) {
        ([], _) => true,
        (["**", rest @ ..], _) => (0..=parts.len()).any(|skip| begins_with(rest, &parts[skip..])),
        (_, []) => false,
        ([first, rest @ ..], [part, below @ ..]) => {
            is_like(first.as_bytes(), part.as_bytes()) && begins_with(rest, below)
        }
    }
}

/// `*` is any letters, `?` is one byte; no more work than pattern times name.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::config::SyncAction;

    fn sync(include: &[&str], exclude: &[&str]) -> Sync {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Sync {
            name: "notes".to_owned(),
            repo: PathBuf::from("/notes"),
            action: SyncAction::GitSync,
            remote: "origin".to_owned(),
            branch: None,
            include: list(include),
            exclude: list(exclude),
            pull: true,
            ssh_key: None,
            message: "x".to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn patterns() {
        let table = [
            ("scripts/", "scripts/a.py", true),
            ("scripts", "scripts", true),
            ("scripts", "x/scripts/a", true),
            ("/scripts", "x/scripts/a", false),
            ("scripts", "scripts2/a", false),
            ("projects/smart", "projects/smart/deep/a", true),
            ("projects/smart", "x/projects/smart/a", false),
            ("*.bak", "a.bak", true),
            ("*.bak", "x/y/a.bak", true),
            ("*.bak", "a.bak.txt", false),
            ("a/*/c", "a/b/c/d", true),
            ("a/*/c", "a/b/b/c", false),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "a/c", true),
            ("**/c", "x/y/c", true),
            ("?.md", "a.md", true),
            ("?.md", "ab.md", false),
            ("*", "anything/at all", true),
            ("a*b*c", "aXbYc", true),
            ("[x]", "[x]", true),
            ("ü.md", "ü.md", true),
        ];
        for (pattern, path, wanted) in table {
            assert_eq!(matches(pattern, path), wanted, "{pattern} {path}");
        }
        let (pattern, name) = ("*a".repeat(60), "a".repeat(20_000));
        assert!(!matches(&format!("{pattern}b"), &name), "and is done at once");
    }

    #[test]
    fn what_never_goes_whatever_the_settings_say() {
        let everything = sync(&["*", ".env", "secrets/"], &[]);
        let never = [
            ".env",
            ".env.local",
            "deep/.ENV",
            ".envrc",
            "mc.db",
            "x/mc.db-wal",
            "a.sqlite3",
            "run.log",
            "server.pem",
            "id_rsa",
            "id_ed25519_notes",
            "id_ed25519.pub",
            ".ssh/config",
            ".claude/worktrees/a/b.rs",
            ".netrc",
            "cert.key",
            "x/.git-credentials",
            ".lucid/lucid.lock",
        ];
        for path in never {
            assert!(matches!(choose(Path::new(path), &everything), Choice::Never(_)), "{path}");
        }
        let may =
            ["env", "environment.md", "id_mapping.py", "db.md", "catalog", "logs.md", ".claude/skills/a.md"];
        for path in may {
            assert_eq!(choose(Path::new(path), &everything), Choice::Taken, "{path}");
        }
    }

    #[test]
    fn included_but_not_excluded() {
        let some = sync(&["scripts/", "tasks/", "*.md"], &["*.bak", "/tasks/private"]);
        let table = [
            ("scripts/a.py", Choice::Taken),
            ("notes.md", Choice::Taken),
            ("other/a.py", Choice::NotIncluded),
            ("scripts/a.bak", Choice::Excluded),
            ("tasks/private/a.md", Choice::Excluded),
            ("tasks/public/a", Choice::Taken),
        ];
        for (path, wanted) in table {
            assert_eq!(choose(Path::new(path), &some), wanted, "{path}");
        }
        assert_eq!(choose(Path::new("anything"), &sync(&[], &[])), Choice::Taken);
    }
}
