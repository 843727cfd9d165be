//! Follows a run to its end over server-sent events, through restarts of the daemon.
//!
//! Output is written from byte offsets that the events carry, so a stream that is opened again goes on where
//! the last one broke off: nothing is lost and nothing comes twice.

use std::io::{Read as _, Write};
use std::time::Duration;

use super::context::{Context, accepted, api, run_reference};
use super::failure::{Exit, Failure};
use super::look::clean;
use crate::api::wire;
use crate::model::run::RunState;
use crate::platform::client::{Client, ClientError, Event, Heard, Request};

/// How long a daemon that has gone may take to come back, in seconds.
const RETURN_SECS: u64 = 60;
/// Pause before the first new try, in milliseconds; doubles up to the longest.
const RETRY_FIRST_MS: u64 = 50;
const RETRY_LONGEST_MS: u64 = 1_000;
/// What the characters that replace broken UTF-8 look like.
const REPLACEMENT: char = '\u{fffd}';

/// Whether the run's output is wanted, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// From this byte of the log on.
    From(u64),
    Unwanted,
}

/// Waits for the end of a run, its output going to `out`.
pub struct Follower<'a> {
    context: &'a Context,
    client: Client,
    run: i64,
    output: Output,
    /// Time since boot at which to give up waiting.
    give_up: Option<Duration>,
    /// Time since boot at which the daemon was last heard.
    heard: Duration,
    /// Where to go on.
    offset: u64,
    /// Events taken so far.
    events: u64,
}

/// How one stream ended.
enum Broke {
    /// May be tried again.
    Passing(ClientError),
    Final(Failure),
}

impl From<Failure> for Broke {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Client(error) if error.is_passing() => Self::Passing(error),
            Failure::Refused(ref problem) if matches!(problem.status, 502..=504) => {
                Self::Passing(ClientError::Malformed("the daemon is not ready"))
            }
            failure => Self::Final(failure),
        }
    }
}

impl<'a> Follower<'a> {
    /// # Errors
    /// When the socket cannot be known.
    pub fn new(context: &'a Context, run: i64, output: Output) -> Result<Self, Failure> {
        let offset = match output {
            Output::From(offset) => offset,
            Output::Unwanted => 0,
        };
        let heard = context.clock.boot();
        Ok(Self { context, client: context.client()?, run, output, give_up: None, heard, offset, events: 0 })
    }

    /// Waits no longer than this; the run goes on.
    #[must_use]
    pub fn within(mut self, limit: Option<Duration>) -> Self {
        self.give_up = limit.map(|limit| self.context.clock.boot() + limit);
        self
    }

    /// Follows until the run has ended.
    ///
    /// # Errors
    /// No such run, no daemon for a minute, the time is up, or `out` takes no more.
    pub fn follow(mut self, out: &mut dyn Write) -> Result<wire::Run, Failure> {
        let mut failures = 0;
        loop {
            let events_before = self.events;
            let error = match self.attempt(out) {
                Ok(run) => return Ok(run),
                Err(Broke::Final(failure)) => return Err(failure),
                Err(Broke::Passing(error)) => error,
            };
            self.check_time()?;
            failures = if self.events > events_before { 1 } else { failures + 1 };
            if self.context.clock.boot().saturating_sub(self.heard) >= Duration::from_secs(RETURN_SECS) {
                return Err(error.into());
            }
            // A single break is mended by asking again at once.
            if failures == 2 {
                self.context.note(&format!(
                    "lucid: the daemon does not answer; waiting up to {RETURN_SECS}s for it to come back"
                ));
            }
            std::thread::sleep(pause(failures));
        }
    }

    /// One stream, until the run ends or the connection does.
    fn attempt(&mut self, out: &mut dyn Write) -> Result<wire::Run, Broke> {
        let path = api().segment("runs").segment(&self.run.to_string()).segment("stream");
        let answer = self.client.stream(path, Some(&self.offset.to_string())).map_err(Failure::from)?;
        let mut events = accepted(answer)?.events();
        loop {
            let now = self.context.clock.boot();
            self.heard = now;
            let left = self.give_up.map_or(Duration::MAX, |at| at.saturating_sub(now));
            events.wait_at_most(left).map_err(Failure::from)?;
            match events.hear().map_err(Failure::from)? {
                Heard::Event(event) => {
                    self.events += 1;
                    if let Some(run) = self.take(&event, out)? {
                        return Ok(run);
                    }
                }
                Heard::Comment => {}
                Heard::End => {
                    let ended = std::io::ErrorKind::UnexpectedEof.into();
                    return Err(Broke::Passing(ClientError::Broken(ended)));
                }
            }
            self.check_time()?;
        }
    }

    /// Acts on one event; gives the run when it has ended.
    fn take(&mut self, event: &Event, out: &mut dyn Write) -> Result<Option<wire::Run>, Broke> {
        match event.kind.as_str() {
            "log" => {
                let log: wire::LogEvent = read(event)?;
                self.take_log(&log, out)?;
            }
            "reset" => {
                let reset: wire::ResetEvent = read(event)?;
                if self.output != Output::Unwanted {
                    self.context
                        .note(&format!("lucid: some output is missing here ({})", clean(&reset.reason)));
                }
                self.offset = reset.from;
            }
            "end" => {
                let end: wire::EndEvent = read(event)?;
                return Ok(Some(end.run));
            }
            // States on the way, and kinds that are yet to come.
            _ => {}
        }
        Ok(None)
    }

    fn take_log(&mut self, log: &wire::LogEvent, out: &mut dyn Write) -> Result<(), Broke> {
        if log.next <= self.offset {
            return Ok(());
        }
        if self.output != Output::Unwanted {
            let is_exact = log.offset == self.offset
                && log.text.len() as u64 == log.next - log.offset
                && !log.text.contains(REPLACEMENT);
            if is_exact {
                write_all(out, log.text.as_bytes())?;
            } else {
                write_all(out, &self.bytes(log.next)?)?;
            }
        }
        self.offset = log.next;
        Ok(())
    }

    /// The log as it is, from where this stands up to `end`: an event carries text, a child may write anything.
    fn bytes(&self, end: u64) -> Result<Vec<u8>, Broke> {
        let path = api().segment("runs").segment(&self.run.to_string()).segment("log");
        let path = path.query("offset", &self.offset.to_string());
        let answer = self.client.send(&Request::get(path)).map_err(Failure::from)?;
        let mut bytes = Vec::new();
        accepted(answer)?
            .take(end - self.offset)
            .read_to_end(&mut bytes)
            .map_err(|error| Broke::Passing(ClientError::Broken(error)))?;
        Ok(bytes)
    }

    fn check_time(&self) -> Result<(), Failure> {
        match self.give_up {
            Some(at) if self.context.clock.boot() >= at => Err(Failure::WaitTimedOut {
                message: format!("{} has not ended in the time given; it goes on", run_reference(self.run)),
                help: format!("wait again with `lucid logs -f {0}`, end it with `lucid kill {0}`", self.run),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Time before the next try, after so many that failed.
fn pause(failures: u32) -> Duration {
    let doubled = RETRY_FIRST_MS << failures.saturating_sub(1).min(8);
    Duration::from_millis(doubled.min(RETRY_LONGEST_MS))
}

fn read<T: serde::de::DeserializeOwned>(event: &Event) -> Result<T, Failure> {
    serde_json::from_str(&event.data)
        .map_err(|error| anyhow::anyhow!("an event of the daemon does not read as expected: {error}").into())
}

fn write_all(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Broke> {
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Broke::Final(Failure::Output(error)))
}

/// From now on Ctrl-C ends this process and not the run, and says so.
///
/// # Errors
/// When no handler can be set.
pub fn detach_on_interrupt(run: i64) -> Result<(), Failure> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT])
        .map_err(|error| anyhow::anyhow!("cannot handle Ctrl-C: {error}"))?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // The process ends here; there is nobody left to tell that this failed.
            let _ = writeln!(
                std::io::stderr(),
                "\n{0} goes on. Follow it: lucid logs -f {run}  End it: lucid kill {run}",
                run_reference(run)
            );
            std::process::exit(SIGNAL_BASE + signal);
        }
    });
    Ok(())
}

/// Exit code of a shell for a signal, less the signal's number.
const SIGNAL_BASE: i32 = 128;
const FAILED: u8 = 1;
const TIMED_OUT: u8 = 124;
/// It could not run, or how it ended is not known.
const COULD_NOT_RUN: u8 = 125;
const SIGTERM: i32 = 15;

/// The exit code that stands for a run that has ended.
#[must_use]
pub fn exit_of(run: &wire::Run) -> Exit {
    let own = run.exit_code.and_then(|code| u8::try_from(code).ok());
    let by_signal = |signal: i32| u8::try_from(SIGNAL_BASE + signal).unwrap_or(COULD_NOT_RUN);
    let code = match run.state {
        RunState::Ok => own.unwrap_or(0),
        RunState::Failed => {
            let failed = own.filter(|code| *code != 0);
            // An agent that was refused and ended well all the same.
            let said = own.map(|_| FAILED);
            failed.or_else(|| run.signal.map(by_signal)).or(said).unwrap_or(COULD_NOT_RUN)
        }
        RunState::Timeout => TIMED_OUT,
        // One that was asked to end and then ended well has still not done what it was for.
        RunState::Killed => {
            let failed = own.filter(|code| *code != 0);
            run.signal.map(by_signal).or(failed).unwrap_or_else(|| by_signal(SIGTERM))
        }
        RunState::Claimed
        | RunState::Running
        | RunState::Stopping
        | RunState::Lost
        | RunState::NotStarted
        | RunState::Blocked
        | RunState::Skipped
        | RunState::Missed
        | RunState::KillFailed => COULD_NOT_RUN,
    };
    Exit::Code(code)
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
