//! What the embedded file says of a key, for whoever has set it wrongly.

use super::EMBEDDED;
use super::family::MARK;

/// Columns by which a key stands below its section.
const INDENT: usize = 2;

/// The comment above `key` and its default; none for what the embedded file does not hold.
pub(super) fn remark(key: &str) -> Option<String> {
    let (comment, default) = find(&plain(key)).or_else(|| find(&example(key)))?;
    let default = match default.trim_matches('"') {
        "" | "[]" | "{}" => String::new(),
        // The comment tells what it is where.
        _ if comment.contains("default") => String::new(),
        text => format!(" (default: {text})"),
    };
    Some(format!("{comment}{default}"))
}

/// Lines of the file as they are, with the path of the key that is looked for.
fn plain(key: &str) -> (Vec<String>, Vec<&str>) {
    let lines = EMBEDDED.lines().filter(|line| !line.trim_start().starts_with(MARK));
    (lines.map(str::to_owned).collect(), key.split('.').collect())
}

/// Lines of the examples, whose names stand for any.
fn example(key: &str) -> (Vec<String>, Vec<&str>) {
    let line = |line: &str| match line.trim_start().strip_prefix(MARK) {
        Some(rest) => format!("{}{}", " ".repeat(INDENT), rest.strip_prefix(' ').unwrap_or(rest)),
        None => line.to_owned(),
    };
    let mut path: Vec<&str> = key.split('.').collect();
    if let [_, name, _] = &mut path[..] {
        *name = "";
    }
    (EMBEDDED.lines().map(line).collect(), path)
}

fn find((lines, wanted): &(Vec<String>, Vec<&str>)) -> Option<(String, String)> {
    let mut path: Vec<String> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in lines {
        let text = line.trim_start();
        if let Some(words) = text.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        if let Some((name, value)) = text.split_once(':') {
            path.truncate((line.len() - text.len()) / INDENT);
            path.push(name.to_owned());
            let is_it = path.len() == wanted.len()
                && path.iter().zip(wanted).all(|(name, wanted)| wanted.is_empty() || name == wanted);
            if is_it && !comment.is_empty() {
                return Some((comment.join(" "), value.trim().to_owned()));
            }
        }
        comment.clear();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_explained_by_its_own_comment() {
        let told =
            ["scheduler.tick", "telegram.topics.alerts", "pools.any.slots", "root", "nothing", "scheduler"]
                .map(|key| remark(key).unwrap_or_default());
        insta::assert_snapshot!(told.join("\n"), @r"
        Longest sleep between two looks at the wall clock, so that a step of it is seen. (default: 5s)
        Number of a forum's topic for alerts; empty is the chat itself.
        How many worktrees there are; each is made when it is first needed. (default: 3)
        Where relative paths start, itself relative to this file; in a file of yours the default is its folder.
        ");
    }
}
