//! Where alerts go: the bot, the chat, and when it is quiet.

use std::path::{Path, PathBuf};

use jiff::civil::Time;

use super::reader::Reader;

/// Fewest characters behind the colon of what is taken for a token.
const TOKEN_CHARS: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telegram {
    /// None sends nothing.
    pub token_file: Option<PathBuf>,
    pub chat_id: Option<i64>,
    /// Who may press buttons and write to the bot.
    pub allowed_users: Vec<i64>,
    pub api_url: String,
    /// From and to.
    pub quiet_hours: Option<(Time, Time)>,
    pub topics: TelegramTopics,
}

/// Numbers of a forum's topics; none is the chat itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TelegramTopics {
    pub alerts: Option<i32>,
    pub tickets: Option<i32>,
    pub briefs: Option<i32>,
}

pub(super) fn read(reader: &mut Reader<'_>, root: &Path) -> Telegram {
    let users = reader.list("telegram.allowed_users", |user| number::<i64>(user).map(|_| ()));
    Telegram {
        token_file: reader.credential("telegram.token_file", root, check_token_file),
        chat_id: reader.optional_as("telegram.chat_id", number),
        allowed_users: users.iter().filter_map(|user| user.parse().ok()).collect(),
        api_url: reader.checked("telegram.api_url", check_api_url),
        quiet_hours: reader.optional_as("telegram.quiet_hours", hours),
        topics: TelegramTopics {
            alerts: reader.optional_as("telegram.topics.alerts", number),
            tickets: reader.optional_as("telegram.topics.tickets", number),
            briefs: reader.optional_as("telegram.topics.briefs", number),
        },
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number of Telegram's; names are not taken"))
}

/// The token itself in a setting would be shown by `lucid config`. What is told does not repeat it.
fn check_token_file(text: &str) -> Result<(), String> {
    let is_token = text.split_once(':').is_some_and(|(id, secret)| {
        !id.is_empty()
            && id.bytes().all(|b| b.is_ascii_digit())
            && secret.len() >= TOKEN_CHARS
            && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    });
    if is_token {
        return Err("this looks like the token itself; write it into a file that only you may read, and \
                    name that file"
            .to_owned());
    }
    Ok(())
}

/// The token is in every request: in the clear only within this machine.
fn check_api_url(url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() || authority.contains('@') {
        return Err(format!("`{url}` is no address such as https://api.telegram.org"));
    }
    match scheme {
        "https" => Ok(()),
        "http" if host == "localhost" || host == "::1" || host.starts_with("127.") => Ok(()),
        "http" => Err(format!("`{url}` would send the token in the clear; http is only for this machine")),
        _ => Err(format!("`{url}` is no address such as https://api.telegram.org")),
    }
}

/// `22:00-07:00`
fn hours(text: &str) -> Result<(Time, Time), String> {
    let bad = || format!("`{text}` are no hours such as 22:00-07:00");
    let (from, to) = text.split_once(['-', '–']).ok_or_else(bad)?;
    let time = |text: &str| {
        let (hour, minute) = text.trim().split_once(':').ok_or_else(bad)?;
        let digits = |text: &str| text.parse::<i8>().map_err(|_| bad());
        Time::new(digits(hour)?, digits(minute)?, 0, 0).map_err(|_| bad())
    };
    let (from, to) = (time(from)?, time(to)?);
    if from == to {
        return Err(format!("`{text}` begin and end at once; empty is never"));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_read_or_refused() {
        let time = |text: &str| text.parse::<Time>().unwrap();
        assert_eq!(hours("22:00-07:00"), Ok((time("22:00"), time("07:00"))));
        assert_eq!(hours("9:30 – 17:05"), Ok((time("09:30"), time("17:05"))));
        for bad in ["", "22:00", "22-7", "24:00-07:00", "22:60-07:00", "x-y", "09:00-09:00"] {
            assert!(hours(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_token_goes_nowhere_in_the_clear() {
        for good in
            ["https://api.telegram.org", "http://127.0.0.1:8081", "http://localhost/x", "http://[::1]:1"]
        {
            assert_eq!(check_api_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "api.telegram.org",
            "http://example.org",
            "http://127.0.0.1@example.org",
            "ftp://x",
            "https://",
        ] {
            assert!(check_api_url(bad).is_err(), "{bad}");
        }
        let token = "123456:AAF-abcdefghijklmnopqrstuvw";
        assert!(check_token_file(token).is_err_and(|why| !why.contains("AAF")));
        assert_eq!(check_token_file("${CREDENTIALS_DIRECTORY}/telegram"), Ok(()));
    }
}
