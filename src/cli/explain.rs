//! `lucid explain CODE|KEY`: the page of a diagnostic's code or of a front-matter key.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::json;

use crate::task::codes::{PAGES, Page};
use crate::task::keys::{self, KEYS, Key, NESTED};
use crate::task::names;

/// How the page is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// No such code or key: the contract's exit code for an id that does not exist.
const UNKNOWN: i32 = 4;

/// Prints the page of `word`, or the list of pages without one; gives 0, or 4 for an unknown word.
///
/// # Errors
/// When `out` or `err` cannot be written.
pub fn run(
    word: Option<&str>,
    format: Format,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<i32> {
    let Some(word) = word else {
        out.write_all(contents().as_bytes())?;
        return Ok(0);
    };
    let word = word.trim().trim_end_matches(':');
    let page = Page::find(word);
    let text = page.map(Page::text).or_else(|| keys::explain(word));
    let Some(text) = text else {
        writeln!(err, "there is no code or key `{word}`{}", offer(word))?;
        return Ok(UNKNOWN);
    };
    match (format, page) {
        (Format::Text, _) => out.write_all(text.as_bytes())?,
        (Format::Json, Some(page)) => {
            let document = json!({
                "schema_version": 1,
                "code": page.code,
                "severity": page.severity(),
                "title": page.title,
                "why": page.why,
                "mend": page.mend,
                "example": page.example,
            });
            writeln!(out, "{document:#}")?;
        }
        (Format::Json, None) => {
            let key = find_key(word);
            let document = json!({
                "schema_version": 1,
                "key": word,
                "type": key.map(Key::type_text),
                "default": key.map(|key| key.default),
                "meaning": key.map(|key| key.meaning),
            });
            writeln!(out, "{document:#}")?;
        }
    }
    Ok(0)
}

fn find_key(word: &str) -> Option<&'static Key> {
    match word.split_once('.') {
        Some((outer, inner)) => {
            NESTED.iter().find(|(holder, _)| *holder == outer).and_then(|(_, keys)| Key::find(keys, inner))
        }
        None => Key::find(KEYS, word),
    }
}

fn offer(word: &str) -> String {
    let names = KEYS.iter().map(|key| key.name).chain(PAGES.iter().map(|page| page.code));
    match names::synonym(word).or_else(|| names::near(names, word)) {
        Some(near) => format!(", did you mean `{near}`?"),
        None => "; `lucid explain` lists them".to_owned(),
    }
}

fn contents() -> String {
    let mut text = String::from("Keys of a task file\n");
    for key in KEYS {
        let _ = writeln!(text, "  {:<16} {}", key.name, key.meaning);
    }
    text.push_str("\nCodes\n");
    for page in PAGES {
        let _ = writeln!(text, "  {}  {}", page.code, page.title);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(word: Option<&str>, format: Format) -> (i32, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(word, format, &mut out, &mut err).unwrap();
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn codes_and_keys_have_pages_and_strangers_an_offer() {
        let (exit, page, _) = explained(Some("e301"), Format::Text);
        assert_eq!(exit, 0);
        assert!(page.starts_with("error E301: claim_wait not below timeout\n"), "{page}");
        let (exit, page, _) = explained(Some("retries.delay"), Format::Json);
        assert_eq!(exit, 0);
        assert!(page.contains("\"default\": \"10s\""), "{page}");
        let (exit, page, error) = explained(Some("timout"), Format::Text);
        assert_eq!((exit, page.as_str()), (4, ""));
        assert!(error.contains("did you mean `timeout`?"), "{error}");
        let (_, _, error) = explained(Some("cron"), Format::Text);
        assert!(error.contains("did you mean `schedule`?"), "{error}");
        let (exit, list, _) = explained(None, Format::Text);
        assert_eq!(exit, 0);
        assert!(list.contains("E301") && list.contains("catch_up_window"));
    }
}
