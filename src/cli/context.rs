//! What every command has at hand: the global options, the daemon's socket, and where its output goes.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;

use super::args::{ColorChoice, Globals};
use super::failure::{Exit, Failure, Problem};
use super::instant::Instant;
use super::look::{Look, Paint, WIDTH_DEFAULT, clean};
use crate::platform::client::{Answer, Client, Request, Target};
use crate::platform::clock::Clock;

/// Narrowest terminal that is drawn for, in columns.
const WIDTH_MIN: usize = 40;

/// The state of one invocation.
#[derive(Debug)]
pub struct Context {
    pub globals: Globals,
    pub clock: Clock,
}

/// An answer as it came and as it reads.
#[derive(Debug)]
pub struct Document<T> {
    pub raw: Vec<u8>,
    pub value: T,
}

/// The path `/api/v1`, to be gone on with.
#[must_use]
pub fn api() -> Target {
    Target::new("/api/v1")
}

impl Context {
    #[must_use]
    pub fn new(globals: Globals) -> Self {
        Self { globals, clock: Clock::system() }
    }

    /// The zone times are shown in.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        if self.globals.utc { TimeZone::UTC } else { TimeZone::system() }
    }

    /// The instant that `written` is here and now.
    ///
    /// # Errors
    /// [`Failure::Usage`] beyond the end of time.
    pub fn resolve(&self, written: Instant) -> Result<Timestamp, Failure> {
        written.resolve(&self.zone(), self.clock.wall()).ok_or_else(out_of_range)
    }

    /// How standard output looks now.
    #[must_use]
    pub fn look(&self) -> Look {
        self.look_on(&std::io::stdout())
    }

    /// How standard error looks now.
    #[must_use]
    pub fn error_look(&self) -> Look {
        self.look_on(&std::io::stderr())
    }

    fn look_on<S: IsTerminal + std::os::fd::AsFd>(&self, stream: &S) -> Look {
        let terminal = stream.is_terminal();
        let colour = match self.globals.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                terminal && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        let columns = terminal.then(|| rustix::termios::tcgetwinsize(stream).ok()).flatten();
        let width = columns.map(|size| usize::from(size.ws_col)).filter(|&width| width >= WIDTH_MIN);
        Look {
            now: self.clock.wall(),
            zone: self.zone(),
            paint: if colour { Paint::Ansi } else { Paint::Plain },
            width: width.or_else(columns_wanted).unwrap_or(if terminal { WIDTH_DEFAULT } else { usize::MAX }),
        }
    }

    /// The daemon's socket: `--socket`, `LUCID_SOCKET`, the configuration; a file is read only for the last.
    ///
    /// # Errors
    /// When the configuration is needed and cannot be read.
    pub fn socket(&self) -> Result<PathBuf, Failure> {
        let named = self.globals.socket.clone();
        let named =
            named.or_else(|| std::env::var_os("LUCID_SOCKET").filter(|s| !s.is_empty()).map(PathBuf::from));
        match named {
            Some(socket) => Ok(socket),
            None => super::config::socket(self),
        }
    }

    /// # Errors
    /// As [`Context::socket`].
    pub fn client(&self) -> Result<Client, Failure> {
        let token = std::env::var("LUCID_TOKEN").ok().filter(|token| !token.is_empty());
        Ok(Client::new(self.socket()?, token))
    }

    /// Sends `request`; what the daemon refuses is a failure.
    ///
    /// # Errors
    /// [`Failure::Client`] without an answer, [`Failure::Refused`] with one of 400 and above.
    pub fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        accepted(self.client()?.send(request)?)
    }

    /// Sends `request` and reads the JSON of its answer.
    ///
    /// # Errors
    /// As [`Context::ask`], and when the answer is another document than was expected.
    pub fn fetch<T: DeserializeOwned>(&self, request: &Request) -> Result<Document<T>, Failure> {
        read(self.ask(request)?)
    }

    /// As [`Context::fetch`] for what may take the daemon up to `limit`.
    ///
    /// # Errors
    /// As [`Context::fetch`].
    pub fn fetch_within<T: DeserializeOwned>(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<Document<T>, Failure> {
        read(accepted(self.client()?.send_within(request, limit)?)?)
    }

    /// Prints the document as it came for `--json`, else as `render` draws it.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn show<T>(
        &self,
        document: &Document<T>,
        render: impl FnOnce(&T, &Look) -> String,
    ) -> Result<Exit, Failure> {
        if self.globals.json {
            self.print_json(&document.raw)?;
        } else {
            self.print(&render(&document.value, &self.look()))?;
        }
        Ok(Exit::Done)
    }

    /// As [`Context::show`], where all that is told is that it was done: no result, so `--quiet` keeps it back.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn confirm<T>(
        &self,
        document: &Document<T>,
        render: impl FnOnce(&T, &Look) -> String,
    ) -> Result<Exit, Failure> {
        if self.globals.quiet && !self.globals.json {
            return Ok(Exit::Done);
        }
        self.show(document, render)
    }

    /// # Errors
    /// [`Failure::Output`].
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        self.print_bytes(text.as_bytes())
    }

    /// A JSON document and its newline.
    ///
    /// # Errors
    /// [`Failure::Output`].
    pub fn print_json(&self, document: &[u8]) -> Result<(), Failure> {
        self.print_bytes(document)?;
        if document.ends_with(b"\n") { Ok(()) } else { self.print_bytes(b"\n") }
    }

    /// # Errors
    /// [`Failure::Output`].
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::Output)
    }

    /// A remark for the person, on standard error; `--quiet` keeps it back.
    pub fn note(&self, text: &str) {
        if !self.globals.quiet {
            // Nothing depends on a remark being read.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }
}

fn read<T: DeserializeOwned>(answer: Answer) -> Result<Document<T>, Failure> {
    let raw = answer.bytes()?;
    let value = serde_json::from_slice(&raw)
        .map_err(|error| anyhow::anyhow!("the daemon's answer does not read as expected: {error}"))?;
    Ok(Document { raw, value })
}

/// Turns an answer of 400 and above into a failure.
///
/// # Errors
/// [`Failure::Refused`].
pub fn accepted(answer: Answer) -> Result<Answer, Failure> {
    let status = answer.status();
    if Exit::of_status(status).is_none() {
        return Ok(answer);
    }
    Err(Failure::Refused(Problem::read(status, &answer.bytes().unwrap_or_default())))
}

/// A run's number as people write it to a command.
#[must_use]
pub fn run_reference(id: i64) -> String {
    format!("#{id}")
}

/// A time that no timestamp can hold.
pub fn out_of_range() -> Failure {
    Failure::usage("this time is out of range", "times run from the year -9999 to 30 December 9999")
}

/// A cleaned name in backticks.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("`{}`", clean(name))
}

/// Where no terminal tells: what somebody wants to have.
fn columns_wanted() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok()?.parse().ok()?;
    (columns >= WIDTH_MIN).then_some(columns)
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::client::played::{Daemon, ok_json, problem, raw};

    fn fetch(daemon: &Daemon) -> Result<Document<serde_json::Value>, Failure> {
        let globals = Globals { socket: Some(daemon.socket()), ..Globals::default() };
        Context::new(globals).fetch(&Request::get(api().segment("status")))
    }

    #[test]
    fn refusals_become_the_exit_codes_of_the_contract() {
        let table = [(400, 2), (401, 7), (403, 7), (404, 4), (409, 5), (422, 2), (500, 1), (503, 1)];
        for (status, code) in table {
            let failure = fetch(&Daemon::play(vec![problem(status, "x", "because")])).unwrap_err();
            assert_eq!((failure.exit().code(), failure.to_string().as_str()), (code, "because"), "{status}");
            assert_eq!(failure.help().as_deref(), Some("do this"));
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_no_json_is_a_failure() {
        for play in [raw(""), raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), ok_json("<html>")] {
            let failure = fetch(&Daemon::play(vec![play])).unwrap_err();
            assert_eq!(failure.exit(), Exit::No, "{failure}");
        }
        let globals = Globals { socket: Some("/nowhere/lucid.sock".into()), ..Globals::default() };
        let failure = Context::new(globals).ask(&Request::get("/")).unwrap_err();
        assert_eq!(failure.exit(), Exit::NoDaemon);
    }

    #[test]
    fn a_document_is_kept_as_it_came() {
        let text = r#"{"schema_version":1,"b":[2, 1],"a":"new field"}"#;
        let document = fetch(&Daemon::play(vec![ok_json(text)])).unwrap();
        assert_eq!(document.raw, text.as_bytes());
        assert_eq!(document.value["a"], "new field");
    }
}
