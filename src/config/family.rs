//! Sections of which there can be several, under names of the user's: `pools.NAME`.
//!
//! What one may hold stands in the embedded file like everything else, behind `#:`, as an example that a
//! person can take over; here it becomes the list of keys.

use std::path::Path;

use super::file::{self, Value};
use super::layers::{Known, Shape, list_text};
use super::{EMBEDDED, Origin, Place};

/// Marks a line of an example.
pub(super) const MARK: &str = "#:";
/// Longest name, in bytes.
const NAME_MAX: usize = 32;

/// One such section.
pub(super) struct Family {
    pub section: String,
    /// Names below a member, each with its default; one that has to be set has none.
    fields: Vec<(String, String, Shape)>,
}

impl Family {
    /// The keys of the member `name`, which stands at `place`.
    pub fn member(&self, name: &str, place: &Place) -> impl Iterator<Item = Known> {
        self.fields.iter().map(move |(field, default, shape)| Known {
            key: format!("{}.{name}.{field}", self.section),
            text: default.clone(),
            origin: Origin::Default,
            place: place.clone(),
            shape: *shape,
        })
    }
}

/// All that the embedded file shows.
pub(super) fn all() -> Vec<Family> {
    let mut families: Vec<(String, String)> = Vec::new();
    let mut section = "";
    for line in EMBEDDED.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with([' ', '#'])) {
            section = name;
        }
        let Some(example) = line.trim_start().strip_prefix(MARK) else { continue };
        match families.last_mut().filter(|(name, _)| name == section) {
            Some((_, text)) => text.push_str(&format!("{example}\n")),
            None => families.push((section.to_owned(), format!("{example}\n"))),
        }
    }
    families.into_iter().map(|(section, text)| Family { section, fields: fields(&text) }).collect()
}

/// `main.repo`, `main.dir`, … of the example, without its name.
fn fields(example: &str) -> Vec<(String, String, Shape)> {
    let (entries, _) = file::parse(example, Path::new("lucid.yaml"));
    let field = |entry: file::Entry| {
        let (_, name) = entry.key.split_once('.')?;
        match entry.value {
            Value::Text(text) => Some((name.to_owned(), text, Shape::One)),
            Value::Empty => Some((name.to_owned(), String::new(), Shape::One)),
            Value::List(items) => Some((name.to_owned(), list_text(&items), Shape::List)),
            // The example's own name is the only section without a dot.
            Value::Section => Some((name.to_owned(), String::new(), Shape::Map)),
        }
    };
    entries.into_iter().filter_map(field).collect()
}

/// Names stand in paths, in refs of git and in variables of the environment.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.starts_with('-') || name.len() > NAME_MAX || !name.bytes().all(good) {
        return Err(format!(
            "`{name}` is no name; lower-case letters, digits and `-` make one, at most {NAME_MAX} of them"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_a_pool_is_its_list_of_keys() {
        let families = all();
        let pools = families.iter().find(|family| family.section == "pools").unwrap();
        let keys: Vec<String> = pools.member("x", &Place::Embedded).map(|known| known.key).collect();
        assert_eq!(
            keys,
            ["repo", "dir", "slots", "base", "keep", "claim_wait"].map(|k| format!("pools.x.{k}"))
        );
        assert_eq!(pools.fields[0].1, "", "the repository has no default");
        assert_eq!(pools.fields[4].2, Shape::List);
    }
}
