//! `lucid fake-agent`: an agent program that costs nothing, for tests, the demo and dry runs. It speaks the
//! dialects of `claude` and `codex`, or plain text, by the flags it gets, and fails in every way that real
//! ones were seen to fail.
//!
//! `FAKE_MODE` in its environment, or a line `FAKE_MODE=…` of its prompt, says how; `FAKE_STEP_MS` how fast.
//! It stands in for a foreign program, so it is no model for the rest of the house: it forks, hangs and exits.

mod say;
mod work;

use std::io::{BufRead as _, Read as _};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use say::{Failure, Language, Voice};
use work::Work;

/// The hidden subcommand.
pub const NAME: &str = "fake-agent";

const STEP_MS_DEFAULT: u64 = 20;
/// Steps of `slow`.
const SLOW_STEPS: u32 = 20;
/// Steps for which `second_turn` hears nothing.
const DEAF_STEPS: u32 = 10;
/// Longer than anything that waits for it.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// Length of the line of `huge_line`, in bytes.
const HUGE_BYTES: usize = 2_000_000;
const EXIT_FAILED: u8 = 1;
const EXIT_CRASHED: u8 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Ok,
    NeedsInput,
    DeafToAnswer,
    SecondTurn,
    RateLimited,
    OverloadedThenOk,
    Auth,
    ExtraUsage400,
    Crash,
    Hang,
    HangAfterResult,
    IgnoreSigterm,
    OrphanChild,
    GarbageLines,
    HugeLine,
    Slow,
    DirtyTree,
    Commit,
    CommitNoPush,
    LeaveRebase,
    LeaveIndexLock,
}

const MODES: [(&str, Mode); 21] = [
    ("ok", Mode::Ok),
    ("needs_input", Mode::NeedsInput),
    ("deaf_to_answer", Mode::DeafToAnswer),
    ("second_turn", Mode::SecondTurn),
    ("rate_limited", Mode::RateLimited),
    ("overloaded_then_ok", Mode::OverloadedThenOk),
    ("auth", Mode::Auth),
    ("extra_usage_400", Mode::ExtraUsage400),
    ("crash", Mode::Crash),
    ("hang", Mode::Hang),
    ("hang_after_result", Mode::HangAfterResult),
    ("ignore_sigterm", Mode::IgnoreSigterm),
    ("orphan_child", Mode::OrphanChild),
    ("garbage_lines", Mode::GarbageLines),
    ("huge_line", Mode::HugeLine),
    ("slow", Mode::Slow),
    ("dirty_tree", Mode::DirtyTree),
    ("commit", Mode::Commit),
    ("commit_no_push", Mode::CommitNoPush),
    ("leave_rebase", Mode::LeaveRebase),
    ("leave_index_lock", Mode::LeaveIndexLock),
];

/// The agent's whole life.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(2).map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args == ["--version"] {
        say::line("fake-agent 1.0");
        return ExitCode::SUCCESS;
    }
    let language = Language::of(&args);
    let resumed = after(&args, &["--resume", "resume"]);
    let (prompt, input) = Input::open(language);
    let step = Duration::from_millis(
        variable("FAKE_STEP_MS").and_then(|ms| ms.parse().ok()).unwrap_or(STEP_MS_DEFAULT),
    );
    let session =
        resumed.clone().unwrap_or_else(|| format!("fake-{}", variable("LUCID_RUN_ID").unwrap_or_default()));
    let mut agent = Agent {
        voice: Voice::new(
            language,
            &session,
            &after(&args, &["--model", "-m"]).unwrap_or_else(|| "fake-1".to_owned()),
        ),
        work: Work::new(),
        input,
        step,
    };
    agent.voice.begin();
    agent.voice.say(&format!("prompt sha256 {} of {} bytes", hex(prompt.as_bytes()), prompt.len()));
    if resumed.is_some() {
        agent.voice.say(&format!("going on with session {session}"));
    }
    agent.act(mode(&prompt))
}

fn mode(prompt: &str) -> Mode {
    let told = prompt.lines().find_map(|line| line.trim().strip_prefix("FAKE_MODE=").map(str::to_owned));
    let name = told.or_else(|| variable("FAKE_MODE")).unwrap_or_else(|| "ok".to_owned());
    MODES.iter().find(|(known, _)| *known == name.trim()).map_or(Mode::Ok, |(_, mode)| *mode)
}

struct Agent {
    voice: Voice,
    work: Work,
    input: Input,
    step: Duration,
}

impl Agent {
    fn act(&mut self, mode: Mode) -> ExitCode {
        self.pause();
        match mode {
            Mode::Ok => self.finish("Nothing to change."),
            Mode::NeedsInput | Mode::DeafToAnswer if self.work.attempt() > 1 => {
                self.commit_and_report("done with the answer")
            }
            Mode::NeedsInput => self.ask(),
            Mode::DeafToAnswer => self.ask_and_leave(),
            Mode::SecondTurn => self.work_on_what_was_said(),
            Mode::OverloadedThenOk if self.work.attempt() > 1 => self.commit_and_report("done at last"),
            Mode::OverloadedThenOk => self.fail(Failure::Overloaded),
            Mode::RateLimited => self.fail(Failure::RateLimited),
            Mode::Auth => self.fail(Failure::Auth),
            Mode::ExtraUsage400 => self.fail(Failure::ExtraUsage),
            Mode::Crash => ExitCode::from(EXIT_CRASHED),
            Mode::Hang => hang(),
            Mode::HangAfterResult => {
                self.voice.result("Done, and hanging.");
                hang()
            }
            Mode::IgnoreSigterm => {
                work::ignore_sigterm();
                self.voice.say("SIGTERM means nothing to me");
                hang()
            }
            Mode::OrphanChild => {
                work::leave_orphan();
                self.commit_and_report("left a child behind")
            }
            Mode::GarbageLines => {
                self.voice.garbage();
                self.finish("That was garbage.")
            }
            Mode::HugeLine => {
                self.voice.say(&"x".repeat(HUGE_BYTES));
                self.finish("That was long.")
            }
            Mode::Slow => self.be_slow("slow and steady"),
            Mode::DirtyTree => {
                self.work.dirty();
                self.finish("Left without a commit.")
            }
            Mode::Commit => self.commit_and_report("one commit"),
            Mode::CommitNoPush => {
                self.work.commit();
                self.finish("Committed, told nobody.")
            }
            Mode::LeaveRebase => {
                self.work.leave_rebase();
                self.finish("Left in the middle of a rebase.")
            }
            Mode::LeaveIndexLock => {
                self.work.commit();
                self.work.leave_index_lock();
                self.finish("Left a lock.")
            }
        }
    }

    fn be_slow(&mut self, summary: &str) -> ExitCode {
        for number in 1..=SLOW_STEPS {
            self.voice.say(&format!("step {number} of {SLOW_STEPS}"));
            self.pause();
        }
        self.commit_and_report(summary)
    }

    /// Looks at its input when its turn is over, and makes a long turn of what it finds there.
    fn work_on_what_was_said(&mut self) -> ExitCode {
        self.voice.say("deaf for a while");
        std::thread::sleep(self.step * DEAF_STEPS);
        self.voice.result("So far, so good.");
        let Some(message) = self.input.next(FOR_EVER) else { return ExitCode::SUCCESS };
        self.hear(&message);
        self.be_slow("done with what was said")
    }

    fn commit_and_report(&mut self, summary: &str) -> ExitCode {
        self.voice.tool("Bash", "git commit");
        let commit = self.work.commit();
        self.work.report(summary, commit.as_deref());
        self.finish(summary)
    }

    /// Asks and ends its turn; an answer that comes while it is still there is one to work with.
    fn ask(&mut self) -> ExitCode {
        self.work.ask("Which colour?", &["red", "blue"]);
        let mut answer = self.input.next(self.step);
        if answer.is_none() {
            self.voice.result("I have asked.");
            answer = self.input.next(FOR_EVER);
        }
        let Some(answer) = answer else { return ExitCode::SUCCESS };
        self.hear(&answer);
        self.commit_and_report("done with the answer")
    }

    /// Asks, and is gone after a while without a look at its input.
    fn ask_and_leave(&mut self) -> ExitCode {
        self.work.ask("Which colour?", &["red", "blue"]);
        std::thread::sleep(self.step);
        self.voice.result("I have asked, and nobody was there.");
        ExitCode::SUCCESS
    }

    fn fail(&mut self, failure: Failure) -> ExitCode {
        self.voice.fail(failure);
        ExitCode::from(EXIT_FAILED)
    }

    /// Ends the turn; with live input, every further message is a turn of its own until the input ends.
    fn finish(&mut self, summary: &str) -> ExitCode {
        self.take_waiting();
        self.voice.result(summary);
        while let Some(message) = self.input.next(FOR_EVER) {
            self.hear(&message);
            self.voice.result("Heard.");
        }
        ExitCode::SUCCESS
    }

    fn pause(&mut self) {
        std::thread::sleep(self.step);
        self.take_waiting();
    }

    fn take_waiting(&mut self) {
        while let Some(message) = self.input.next(Duration::ZERO) {
            self.hear(&message);
        }
    }

    fn hear(&mut self, line: &str) {
        // Our own line back is the receipt.
        say::line(line);
        self.voice.say(&format!("heard: {}", say::text_of(line)));
        self.work.event("heard", &say::text_of(line));
    }
}

/// What comes on standard input after the prompt.
struct Input(Option<Receiver<String>>);

impl Input {
    /// The prompt, and the rest where the language has one.
    fn open(language: Language) -> (String, Self) {
        if !language.is_live() {
            let mut bytes = Vec::new();
            let _ = std::io::stdin().read_to_end(&mut bytes);
            return (String::from_utf8_lossy(&bytes).into_owned(), Self(None));
        }
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let first = receiver.recv_timeout(FOR_EVER).unwrap_or_default();
        (say::text_of(&first), Self(Some(receiver)))
    }

    fn next(&mut self, wait: Duration) -> Option<String> {
        self.0.as_ref()?.recv_timeout(wait).ok()
    }
}

fn hang() -> ExitCode {
    std::thread::sleep(FOR_EVER);
    ExitCode::from(EXIT_FAILED)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The argument after the first of `names`.
fn after(args: &[String], names: &[&str]) -> Option<String> {
    let at = args.iter().position(|arg| names.contains(&arg.as_str()))?;
    args.get(at + 1).cloned()
}

fn hex(bytes: &[u8]) -> String {
    crate::model::text::hex(&Sha256::digest(bytes))
}
