//! One field of a cron expression: checked with a message that names the field and its range, and
//! rewritten in plain numbers, so that the cron library only sees what it reads as we do.

use super::{Finding, code};

/// A piece of text and where it stands, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    pub text: &'t str,
    pub column: usize,
}

impl<'t> Token<'t> {
    /// The words of `text`.
    pub fn words(text: &'t str) -> Vec<Self> {
        text.split_whitespace().map(|word| Self { text: word, column: offset_in(text, word) }).collect()
    }

    fn split(self, separator: char) -> impl Iterator<Item = Self> {
        self.text
            .split(separator)
            .map(move |part| Self { text: part, column: self.column + offset_in(self.text, part) })
    }

    pub fn finding(self, code: &'static str, message: String, help: impl Into<String>) -> Finding {
        Finding { code, item: 0, column: self.column, len: self.text.len(), message, help: help.into() }
    }
}

/// Where `part`, a slice of `whole`, begins in it.
fn offset_in(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

/// What one field may hold.
#[derive(Debug)]
pub(super) struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    /// Names for the values from `min` on.
    names: &'static [&'static str],
    days: Days,
}

/// Which of the day extensions a field knows.
#[derive(Debug, PartialEq, Eq)]
enum Days {
    None,
    /// `L`, `LW`, `15W`
    OfMonth,
    /// `MON#2`, `5L`; Sunday is 0 and 7
    OfWeek,
}

const fn plain(name: &'static str, min: u8, max: u8) -> Field {
    Field { name, min, max, names: &[], days: Days::None }
}

/// The six fields in their order; five-field expressions start at the second.
pub(super) const FIELDS: [Field; 6] = [
    plain("second", 0, 59),
    plain("minute", 0, 59),
    plain("hour", 0, 23),
    Field { days: Days::OfMonth, ..plain("day of month", 1, 31) },
    Field {
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        ..plain("month", 1, 12)
    },
    Field {
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
        days: Days::OfWeek,
        ..plain("day of week", 0, 7)
    },
];

/// Checks one field and gives it back in numbers.
pub(super) fn normalise(field: &Field, token: Token<'_>) -> Result<String, Finding> {
    if token.text == "*" {
        return Ok("*".to_owned());
    }
    let parts = token.split(',').map(|part| field.part(part)).collect::<Result<Vec<_>, _>>()?;
    if parts.iter().any(|part| part == "LW") && parts.iter().any(|part| part == "L") {
        return Err(field.error(token, "`L` and `LW` in one field", "write two schedules"));
    }
    Ok(parts.join(","))
}

impl Field {
    fn error(&self, token: Token<'_>, what: &str, help: impl Into<String>) -> Finding {
        token.finding(code::CRON_FIELD, format!("{} field: {what}", self.name), help)
    }

    fn range_help(&self) -> String {
        match self.names {
            [] => format!("{} to {}", self.min, self.max),
            [first, .., last] => {
                format!("{} to {}, or {first} to {last}", self.min, self.max)
            }
            [only] => format!("{} to {}, or {only}", self.min, self.max),
        }
    }

    /// One element of a comma list.
    fn part(&self, token: Token<'_>) -> Result<String, Finding> {
        let Some((base, step)) = token.text.split_once('/') else {
            return self.unstepped(token);
        };
        let base_token = Token { text: base, column: token.column };
        let step_token = Token { text: step, column: token.column + base.len() + 1 };
        if base != "*" && !base.contains('-') {
            let repair = match base {
                "" => format!("*/{step}"),
                // A week that starts on the second Sunday is over.
                "7" if self.days == Days::OfWeek => format!("0-{}/{step}", self.last()),
                _ => format!("{base}-{}/{step}", self.last()),
            };
            let help = self.offer(&repair);
            return Err(self.error(token, &format!("`{}` steps from no range", token.text), help));
        }
        let n = step.parse::<u8>().ok().filter(|n| *n > 0 && *n <= self.max - self.min && digits_only(step));
        let Some(n) = n else {
            return Err(self.error(
                step_token,
                &format!("`{step}` is no step"),
                format!("a step is 1 to {}", self.max - self.min),
            ));
        };
        if base == "*" {
            return Ok(format!("*/{n}"));
        }
        let range = match self.special(base_token)? {
            Some(special) => special,
            None => self.range(base_token, n, token)?,
        };
        Ok(format!("{range}/{n}"))
    }

    /// A repair, or the values that there are when it would be refused as well.
    fn offer(&self, repair: &str) -> String {
        match normalise(self, Token { text: repair, column: 0 }) {
            Ok(_) => format!("write `{repair}`"),
            Err(_) => self.range_help(),
        }
    }

    /// The largest value a person would write.
    fn last(&self) -> u8 {
        if self.days == Days::OfWeek { 6 } else { self.max }
    }

    fn unstepped(&self, token: Token<'_>) -> Result<String, Finding> {
        if token.text == "*" {
            return Ok(format!("{}-{}", self.min, self.last()));
        }
        if let Some(special) = self.special(token)? {
            return Ok(special);
        }
        if token.text.contains('-') {
            return self.range(token, 1, token);
        }
        self.value(token).map(|n| n.to_string())
    }

    /// `1-5`, of which every `step`th value is meant; `whole` has the step with it.
    fn range(&self, token: Token<'_>, step: u8, whole: Token<'_>) -> Result<String, Finding> {
        let Some((from, to)) = token.text.split_once('-') else { return self.unstepped(token) };
        let to_token = Token { text: to, column: token.column + from.len() + 1 };
        let from = self.value(Token { text: from, column: token.column })?;
        let to = match self.value(to_token)? {
            // A range that ends on Sunday ends the week.
            0 if self.days == Days::OfWeek && from > 0 => 7,
            to => to,
        };
        if from > to {
            let what = format!("`{}` runs backwards", whole.text);
            return Err(self.error(whole, &what, self.offer(&self.wrapped(from, to, step))));
        }
        Ok(format!("{from}-{to}"))
    }

    /// A range that runs over the end of the field, as a list of ranges that do not.
    fn wrapped(&self, from: u8, to: u8, step: u8) -> String {
        let span = |from: u8, to: u8| match (from == to, step) {
            (true, _) => from.to_string(),
            (false, 1) => format!("{from}-{to}"),
            (false, _) => format!("{from}-{to}/{step}"),
        };
        if self.days == Days::OfWeek && from == self.max {
            return span(self.min, to);
        }
        // The step goes on from the last value before the end.
        let last = self.last();
        let reached = last.saturating_sub(from) / step * step + from;
        let again = reached + step - (last - self.min) - 1;
        let head = span(from, if reached == from { from } else { last });
        if again > to { head } else { format!("{head},{}", span(again, to)) }
    }

    /// `L`, `LW`, `15W`, `MON#2`, `5L`; `None` when it is an ordinary value.
    fn special(&self, token: Token<'_>) -> Result<Option<String>, Finding> {
        let upper = token.text.to_ascii_uppercase();
        let prefix = |len: usize| Token { text: token.text.get(..len).unwrap_or_default(), ..token };
        match self.days {
            Days::None => Ok(None),
            Days::OfMonth => match upper.as_str() {
                "L" | "LW" => Ok(Some(upper)),
                "WL" => Err(self.error(token, "`WL` is no day", "write `LW`")),
                _ if upper.starts_with("L-") => {
                    Err(self.error(token, "days before the last are not known", "write `L` or `LW`"))
                }
                _ if upper.len() > 1 && upper.ends_with('W') => {
                    let day = self.value(prefix(upper.len() - 1))?;
                    Ok(Some(format!("{day}W")))
                }
                _ => Ok(None),
            },
            Days::OfWeek => {
                if let Some((day, nth)) = token.text.split_once('#') {
                    if day.contains('-') {
                        let help = format!("name each day: `MON#{nth},TUE#{nth}`");
                        return Err(self.error(token, "`#` stands behind one day", help));
                    }
                    let value = self.value(prefix(day.len()))?;
                    return match nth {
                        "1" | "2" | "3" | "4" | "5" => Ok(Some(format!("{value}#{nth}"))),
                        "l" | "L" => Ok(Some(format!("{value}#L"))),
                        _ => {
                            let help = format!("write `{day}#1` to `{day}#5`");
                            Err(self.error(token, &format!("`#{nth}` is no week"), help))
                        }
                    };
                }
                match upper.strip_suffix('L') {
                    Some("") => Err(self.error(
                        token,
                        "`L` needs a day here",
                        "write `6` for Saturday, `6L` for the last Saturday of the month",
                    )),
                    Some(day) => Ok(Some(format!("{}#L", self.value(prefix(day.len()))?))),
                    None => Ok(None),
                }
            }
        }
    }

    fn value(&self, token: Token<'_>) -> Result<u8, Finding> {
        let text = token.text.to_ascii_lowercase();
        if let Some(index) = self.names.iter().position(|name| *name == text) {
            return Ok(self.min + u8::try_from(index).unwrap_or(0));
        }
        if text.is_empty() {
            return Err(self.error(token, "a value is missing", self.range_help()));
        }
        if let Some(name) = self.names.iter().find(|name| text.starts_with(**name)) {
            return Err(self.error(
                token,
                &format!("`{}` is no value", token.text),
                format!("write `{}`", name.to_ascii_uppercase()),
            ));
        }
        if matches!(text.chars().next(), Some('h' | 'r')) || text.contains('~') {
            let what = format!("`{}` is no value", token.text);
            return Err(self.error(
                token,
                &what,
                "to spread tasks out, write a plain value and set `jitter:`",
            ));
        }
        match text.parse::<u8>() {
            Ok(n) if digits_only(&text) && (self.min..=self.max).contains(&n) => Ok(n),
            Ok(_) | Err(_) if digits_only(&text) => {
                let what = format!("{} is out of range", token.text);
                Err(self.error(token, &what, self.range_help()))
            }
            Ok(_) | Err(_) => {
                Err(self.error(token, &format!("`{}` is no value", token.text), self.range_help()))
            }
        }
    }
}

fn digits_only(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}
