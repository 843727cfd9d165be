//! A page for each code that a diagnostic can carry: what it says, why it matters, how to mend it.

use super::diagnose::Severity;

/// What `lucid explain CODE` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub code: &'static str,
    pub title: &'static str,
    pub why: &'static str,
    pub mend: &'static str,
    /// Front-matter that earns the code, or what the folder looks like.
    pub example: &'static str,
}

const fn page(
    code: &'static str,
    title: &'static str,
    why: &'static str,
    mend: &'static str,
    example: &'static str,
) -> Page {
    Page { code, title, why, mend, example }
}

/// Every code, in order.
#[rustfmt::skip]
pub const PAGES: &[Page] = &[
    page("E101", "unknown key, near a known one", "A misspelled key has no effect, and the default that applies instead is not what was meant: `timout: 60` leaves a run ten minutes.", "Correct the spelling. A key of your own goes under `meta:` or starts with `x-`.", "timout: 60"),
    page("E102", "value of the wrong form", "The key takes a text, a list or a map, and got another of these.", "Write what `lucid explain KEY` shows.", "timeout: [10m]"),
    page("E103", "no boolean", "A program that takes `flase` for true runs what was switched off. So anything but the eight words is refused, and the task does not run.", "Write true, false, yes, no, on, off, 1 or 0.", "enabled: flase"),
    page("E104", "no value", "A key that stands there without a value was meant to have one.", "Give the value, or remove the line for the default.", "timeout:"),
    page("E105", "no duration", "`1:30` is 90 minutes to some readers and 90 seconds to others, so it is nothing here.", "Write a number of seconds or units: 90, 90s, 5m, 1h30m, 2d, PT90S.", "timeout: 1:30"),
    page("E106", "no size", "The value is no number of bytes with a unit.", "Write 500kB, 10MB or 1GB; 1MB is 1000000 bytes.", "log_max: ten"),
    page("E107", "number out of range", "The value is no number, or none that the key can have. No limit can be switched off by 0.", "Write a number in the range that the message names.", "success_codes: [256]"),
    page("E108", "no such choice", "The key takes one of a few words.", "Use one of the words in the message.", "overlap: queu"),
    page("E109", "no instant", "The value is no RFC 3339 time with an offset, so nobody knows when it is.", "Write it like 2027-01-31T08:00:00Z.", "alerts: {mute_until: tomorrow}"),
    page("E110", "not YAML", "The front-matter cannot be read, so nothing of it counts. Merge keys, custom tags and second documents are not read either.", "Quote the value at the caret, or write a long text behind `|`.", "name: \"open"),
    page("E111", "front-matter not closed", "Without the second `---` everything below would be YAML.", "End the front-matter with a line `---`.", "---\nname: x"),
    page("E112", "file too large", "A task file is read whole at each change; 256 KiB is far above any task.", "Move data and long texts into files of their own.", "(a file of 300 KB)"),
    page("E113", "front-matter too complex", "A few lines of anchors and aliases can stand for gigabytes. There is a limit for values, text and levels.", "Write less, or write it in a file that the command reads.", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b] (and so on)"),
    page("E114", "not UTF-8", "A text in an unknown encoding cannot be given to a program faithfully.", "Save the file as UTF-8.", "name: caf\\xE9"),
    page("E115", "front-matter is no map", "It is a single text or a list, so there are no keys.", "Write lines of the form `key: value`.", "- command: x"),
    page("E116", "tab as indentation", "YAML allows spaces only; a tab has no width that two programs agree on.", "Replace the tab by spaces.", "env:\n\tA: 1"),
    page("E117", "key stands twice", "Most readers silently take the last one, people see the first one.", "Remove one of the two.", "timeout: 5m\ntimeout: 10m"),
    page("E118", "nothing to run", "A task is a command, an agent with a prompt, or a built-in action.", "Add `command:`, `agent:` or `action:`.", "schedule: every 5m"),
    page("E119", "tasks folder missing", "Without the folder there are no tasks, and nothing would say so.", "Create it, or correct `tasks_dir` in the config.", "tasks_dir: /nowhere"),
    page("E120", "no such action", "The built-in actions are a fixed list.", "Use one of those in the message; everything else is a `command:`.", "action: db-backp"),
    page("E121", "impossible name or text", "A variable with such a name, or a text with a NUL character, cannot be given to a program. `LUCID_` variables are set by lucid.", "Use letters, digits and `_`, and no digit first.", "env: {A-B: 1}"),
    page("E122", "file not readable", "The daemon's user may not read it. The last good version goes on for 24 hours.", "Give the daemon's user the right to read it.", "chmod 000 tasks/x.md"),
    page("E123", "no regular file", "A FIFO or a device would hold the reader for ever, so it is not opened. Links are followed to files only.", "Replace it by a file, or rename it so that it does not end in `.md`.", "mkfifo tasks/x.md"),
    page("E124", "file name is no id", "The name without `.md` is the task's id in commands, addresses and folders.", "Lower-case letters, digits, `_` and `-`, at most 64, a letter or digit first.", "tasks/My Task.md"),
    page("E125", "no branch", "Git takes no branch of such a name, or a placeholder in it stands for nothing: each run would end before it started.", "`worktree.base` is a remote-tracking branch such as origin/main; `worktree.branch` a name by git's rules, with `${run_id}` for the run's id.", "worktree: {branch: my branch}"),
    page("E126", "folder not read", "Nobody knows which tasks are in it, or there are more than are read. Tasks in it that were known go on for 24 hours as they last were, all others are not touched by it.", "Let the daemon's user read the folder, or start its name with `_` if it holds no tasks.", "chmod 000 tasks/sub"),
    page("E127", "no task any more", "The file was a task and now does not begin as one. That is rather a slip than a wish, so its last good version goes on for 24 hours.", "Do what the message says. To end the task, write `enabled: false`, remove the file, or start its name with `_`.", "(an empty line)\n---"),
    page("E201", "no schedule", "The text is none of the forms that are read.", "Write cron, @daily, `every 5m`, `at TIME`, `in 30m` or `manual`.", "schedule: sometimes"),
    page("E202", "cron field", "A field cannot be read or holds a number that it cannot have.", "Correct the field at the caret.", "schedule: 61 * * * *"),
    page("E203", "never fires", "No calendar has such a date, so the task would wait for ever.", "Correct the day or the month.", "schedule: 0 0 31 2 *"),
    page("E204", "two meanings", "`30m` means \"every 30 minutes\" to some programs and \"once, in 30 minutes\" to others.", "Write `every 30m` or `in 30m`.", "schedule: 30m"),
    page("E205", "impossible length", "The length behind `every` or `in` makes no schedule.", "Write a length above 0, such as `every 5m`.", "schedule: every 0s"),
    page("E206", "no time", "The time of day or the instant cannot be read.", "Write HH:MM behind `every ... at`, RFC 3339 behind `at`.", "schedule: every 1d at 25:00"),
    page("E207", "no such zone", "An offset or an abbreviation does not know when clocks change.", "Write an IANA name such as Europe/Berlin.", "timezone: Europa/Berlin"),
    page("E208", "number of fields", "Cron here has 5 fields, or 6 with leading seconds. Other programs have others.", "Count the fields: minute, hour, day, month, weekday.", "schedule: \"* * *\""),
    page("E301", "claim_wait not below timeout", "The wait for a slot counts into the timeout: a full pool would always end in a kill, and the slot may stay half claimed.", "Make `worktree.claim_wait` shorter than `timeout`.", "timeout: 3m\nworktree: {claim_wait: 10m}"),
    page("E302", "two kinds in one file", "One task runs one thing; which of the two would it be?", "Make two files of it.", "command: ./x\naction: heartbeat"),
    page("E303", "retry after the next run", "A waiting retry gives way to the next due instant, so this one never comes.", "Make `retries.delay` shorter than the schedule's interval.", "schedule: every 5m\nretries: {max: 1, delay: 10m}"),
    page("E304", "delay above max_delay", "The first wait is already longer than the longest one.", "Raise `max_delay` or lower `delay`.", "retries: {max: 1, delay: 1h, max_delay: 5m}"),
    page("E305", "jitter above the interval", "A run would be put off beyond the next one.", "Make `jitter` shorter than the schedule's interval.", "schedule: every 5m\njitter: 10m"),
    page("E306", "no such pool", "The config has no pool of that name. The task stays, its runs end `blocked`.", "Correct the name, or add the pool to the config.", "pool: maim"),
    page("E307", "no such agent profile", "The config has no profile of that name. The task stays, its runs end `blocked`.", "Correct the name, or add the profile to the config.", "agent: cluade"),
    page("E308", "two inputs", "The body is the agent's standard input already.", "Put the text of `stdin` into the body.", "agent: claude\nstdin: hello"),
    page("E309", "agent without a prompt", "The body is the prompt, and it is empty.", "Write the prompt below the front-matter.", "agent: claude"),
    page("E310", "idle_timeout not below timeout", "The run is over before the silence is long enough.", "Make `idle_timeout` shorter than `timeout`.", "timeout: 5m\nidle_timeout: 10m"),
    page("W101", "unknown key", "Nothing reads it. Other tools may.", "Remove it, put it under `meta:`, or start it with `x-`.", "aliases: [x]"),
    page("W103", "not read as a task", "A task begins with a line `---` and nothing else on it, in UTF-8, in a file that ends in `.md`. This one nearly does, so it was probably meant to be one.", "Do what the message says.", "(an empty line)\n---"),
    page("W104", "folder left out", "Folders are looked into eight levels deep, and links to folders are not followed: one could lead anywhere, and round in a circle.", "Move the tasks into a folder of their own below the tasks folder, or start its name with `_` if it holds none.", "ln -s /srv/tasks tasks/more"),
    page("W210", "either day matches", "With day of month and day of week both set, cron fires on both: the 1st and each Monday.", "Set one of them to `*`, or keep it if both are meant.", "schedule: 0 8 1 * 1"),
    page("W211", "time has passed", "A task with `at` runs once, at that time. A file that lucid first sees later is made up for within `catch_up_window`, and has missed its run after that. One that has run is done.", "Write a time that is to come, or `manual`; remove the file when it is done.", "schedule: at 2020-01-31T09:00"),
    page("W301", "key without effect", "The key belongs to another kind of task, or to a key that is not there.", "Remove it.", "command: ./x\nmodel: sonnet"),
    page("W303", "last retries never come", "A waiting retry gives way to the next due instant before all are used.", "Lower `max`, `delay` or `backoff`.", "schedule: every 5m\nretries: {max: 9, delay: 1m}"),
    page("W304", "folder missing", "A run starts in that folder, and without it fails at its start.", "Make the folder, or name one that is there; a relative path starts at the config's `root`.", "working_dir: nowhere"),
    page("W305", "env_file missing", "The file is read at each start; without it the run ends `blocked`.", "Write the file, or remove the line.", "env_file: nowhere.env"),
    page("W306", "shell missing", "A text under `command` is given to that program.", "Name a shell that is there, or remove the line for the default.", "shell: /bin/nosh"),
    page("W307", "no such secret", "A run gets its secrets by name; without one of them it ends `blocked`.", "Add it to the file that `secrets.file` of the config names, or correct the name. The daemon reads that file when it starts.", "secrets: [API_KEY]"),
    page("W308", "secret too short", "Secrets are masked in what a run prints. One of a few characters would mask half of it, so a run that wants it ends `blocked`.", "Use a secret of at least 8 characters; what is no secret goes under `env`.", "secrets: [PIN]"),
    page("I102", "no task by its name", "Files and folders whose names start with `_` or `.` are no tasks, whatever is in them.", "Nothing, or rename it if it is meant to run.", "tasks/_draft.md"),
    page("I203", "value not quoted", "lucid reads it, a YAML parser refuses it: other tools that look at the file will fail.", "Put the value into quotes.", "schedule: */5 * * * *"),
    page("I204", "more findings", "A file shows a hundred findings, the worst first; a file with more usually has one slip that makes all of them.", "Mend those that are shown and check again.", "(a list of 200 wrong names)"),
    page("I306", "no such pool, task disabled", "Switched on, the task's runs would end `blocked`.", "Add the pool before you enable the task.", "enabled: false\npool: maim"),
    page("I307", "no such profile, task disabled", "Switched on, the task's runs would end `blocked`.", "Add the profile before you enable the task.", "enabled: false\nagent: cluade"),
];

impl Page {
    /// Looks a code up, in any case.
    #[must_use]
    pub fn find(code: &str) -> Option<&'static Page> {
        PAGES.iter().find(|page| page.code.eq_ignore_ascii_case(code))
    }

    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.code.as_bytes().first() {
            Some(b'E') => Severity::Error,
            Some(b'W') => Severity::Warning,
            Some(_) | None => Severity::Info,
        }
    }

    /// As `lucid explain` prints it.
    #[must_use]
    pub fn text(&self) -> String {
        let example = self.example.replace('\n', "\n    ");
        format!(
            "{} {}: {}\n\n  {}\n\n  To mend it: {}\n\n  Example\n    {example}\n",
            self.severity().name(),
            self.code,
            self.title,
            self.why,
            self.mend,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_within_their_kind_and_stand_once() {
        for pair in PAGES.windows(2) {
            let (a, b) = (pair[0].code, pair[1].code);
            assert!(a < b || a.as_bytes()[0] != b.as_bytes()[0], "{a} before {b}");
        }
        assert_eq!(Page::find("e301").map(|page| page.code), Some("E301"));
        assert_eq!(Page::find("E999"), None);
    }
}
