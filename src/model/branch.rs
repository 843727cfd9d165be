//! The name of a branch that runs of a task work on, as its file says it: a text with a place for the run's id.

use super::ids::RunId;

/// What stands for the run's id.
pub const RUN_ID: &str = "${run_id}";

/// The branch of `run`.
///
/// # Errors
/// Why git takes no branch of that name, or which placeholder is none.
pub fn fill(template: &str, run: RunId) -> Result<String, String> {
    let name = template.replace(RUN_ID, &run.0.to_string());
    if name.contains("${") {
        return Err(format!("the one placeholder is `{RUN_ID}`"));
    }
    match flaw(&name) {
        Some(why) => Err(format!("git takes no such branch, {why}")),
        None => Ok(name),
    }
}

/// Whether runs can work on what `template` says.
///
/// # Errors
/// As [`fill`].
pub fn check(template: &str) -> Result<(), String> {
    fill(template, RunId(1)).map(drop)
}

/// By the rules of `git check-ref-format --branch`.
fn flaw(name: &str) -> Option<&'static str> {
    let odd = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let mut parts = name.split('/');
    if name.contains(odd) {
        Some("it holds a space or one of ~ ^ : ? * [ \\")
    } else if name.starts_with('-') {
        Some("it starts with `-`")
    } else if name == "@" || name == "HEAD" {
        Some("that means what is checked out")
    } else if name.contains("..") || name.contains("@{") {
        Some("it holds `..` or `@{`")
    } else if name.split('/').any(str::is_empty) {
        Some("it starts or ends with `/` or holds `//`")
    } else if name.ends_with('.') || parts.any(|part| part.starts_with('.') || part.ends_with(".lock")) {
        Some("a part of it starts with `.` or ends with `.lock`, or it ends with `.`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_named_after_its_run() {
        assert_eq!(fill("lucid/deps-${run_id}", RunId(42)).unwrap(), "lucid/deps-42");
        assert_eq!(fill("deps", RunId(42)).unwrap(), "deps");
        for typo in ["deps-${runid}", "deps-${run_id", "deps-${RUN_ID}"] {
            assert_eq!(check(typo).unwrap_err(), "the one placeholder is `${run_id}`");
        }
    }

    /// Git itself says which names it takes.
    #[test]
    fn names_are_judged_as_git_does() {
        let names = [
            "a", "a/b", "a-b_c.d", "ä", "$x", "{x}", "a@b", "a/@", "head", "a/HEAD", "a b", "a\tb", "~a",
            "a^", "a:b", "a?", "a*", "a[", "a\\b", "-a", "a/-b", "a..b", "a@{b", "/a", "a/", "a//b", ".a",
            "a/.b", "a.", "a./b", "a.lock", "a.lock/b", "a.lockb", "\u{7f}",
        ];
        for name in names {
            let git = std::process::Command::new("git").args(["check-ref-format", "--branch", name]).output();
            assert_eq!(check(name).is_ok(), git.unwrap().status.success(), "{name:?}: {:?}", check(name));
        }
        // Names that git takes for others before it judges them.
        assert!(check("@").is_err() && check("HEAD").is_err() && check("@{-1}").is_err());
    }
}
