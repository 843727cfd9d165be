//! Every way a worker can end, through the real parsers.

use super::super::dialect;
use super::*;

const NOW: i64 = 1_789_000_000_000;
const RESET_S: i64 = 1_789_003_600;

fn heard(dialect: Dialect, lines: &[&str]) -> Heard {
    let mut heard = Heard::default();
    for line in lines {
        for event in dialect::read(dialect, line) {
            heard.take(&event);
        }
    }
    heard
}

fn result(is_error: bool, status: &str, text: &str) -> String {
    format!(
        r#"{{"type":"result","subtype":"success","is_error":{is_error},"api_error_status":{status},"result":"{text}"}}"#
    )
}

fn failed_turn(message: &str) -> String {
    format!(r#"{{"type":"turn.failed","error":{{"message":"{message}"}}}}"#)
}

fn judge(dialect: Dialect, lines: &[&str], ended: Ended) -> Verdict {
    verdict(dialect, &heard(dialect, lines), ended, &TimeZone::UTC, NOW)
}

#[test]
fn claude_ends() {
    let limit = format!(
        r#"{{"type":"rate_limit_event","rate_limit_info":{{"status":"rejected","resetsAt":{RESET_S}}}}}"#
    );
    let warning =
        r#"{"type":"rate_limit_event","rate_limit_info":{"status":"allowed_warning","resetsAt":1}}"#;
    let login = r#"{"type":"assistant","message":{"content":[{"type":"text","text":"Not logged in"}]},"error":"authentication_failed"}"#;
    let ok = result(false, "null", "Fixed.");
    let turns = r#"{"type":"result","subtype":"error_max_turns","is_error":false}"#;
    let until = Verdict::RateLimited { until_ms: RESET_S * 1000 };
    let hour = Verdict::RateLimited { until_ms: NOW + 3_600_000 };
    let cases: Vec<(&str, Vec<&str>, Ended, Verdict)> = vec![
        ("ok", vec![&ok], Ended::Code(0), Verdict::Ok),
        ("a warning is no failure", vec![warning, &ok], Ended::Code(0), Verdict::Ok),
        ("hangs after its result and is ended", vec![&ok], Ended::Daemon, Verdict::Ok),
        ("hangs after its result into the limit", vec![&ok], Ended::Timeout, Verdict::Ok),
        ("crashes after its result", vec![&ok], Ended::Signal, Verdict::Ok),
        ("its keeper dies after its result", vec![&ok], Ended::Lost, Verdict::Ok),
        ("a person ends it", vec![&ok], Ended::Stopped, Verdict::Stopped),
        ("no result", vec![], Ended::Code(0), Verdict::Crash),
        ("exit 1", vec![], Ended::Code(1), Verdict::Crash),
        ("signal", vec![], Ended::Signal, Verdict::Crash),
        ("time", vec![], Ended::Timeout, Verdict::Timeout),
        ("lost", vec![], Ended::Lost, Verdict::Lost),
        ("not there", vec![], Ended::Unstartable, Verdict::Unstartable),
        ("turns used up", vec![turns], Ended::Code(1), Verdict::BadRequest),
        ("login", vec![login], Ended::Code(1), Verdict::Auth),
        ("limit without a result", vec![&limit], Ended::Code(1), until.clone()),
    ];
    for (name, lines, ended, want) in cases {
        assert_eq!(judge(Dialect::Claude, &lines, ended), want, "{name}");
    }
    let statuses = [
        ("429", "You've hit your session limit", hour),
        ("529", "Overloaded", Verdict::Overloaded),
        ("503", "x", Verdict::Overloaded),
        ("401", "x", Verdict::Auth),
        ("403", "x", Verdict::Auth),
        ("400", "You are out of extra usage", Verdict::Billing),
        ("400", "Third-party apps now draw from your extra usage", Verdict::Billing),
        ("400", "Your credit balance is too low", Verdict::Billing),
        ("400", "prompt is too long", Verdict::BadRequest),
        ("null", "something else", Verdict::Crash),
    ];
    for (status, text, want) in statuses {
        assert_eq!(
            judge(Dialect::Claude, &[&result(true, status, text)], Ended::Code(1)),
            want,
            "{status} {text}"
        );
    }
    assert_eq!(judge(Dialect::Claude, &[&limit, &result(true, "429", "x")], Ended::Code(1)), until);
}

/// One that has given a result and then been told something more.
#[test]
fn an_old_result_says_nothing_of_the_turn_after_it() {
    let (ok, login) = (result(false, "null", "Fixed the rate limit."), result(true, "401", "no login"));
    let trouble = r#"{"type":"assistant","message":{"content":[]},"error":"overloaded"}"#;
    let echo = dialect::input_line(7, "and the other one");
    let text = r#"{"type":"assistant","message":{"content":[{"type":"text","text":"On it."}]}}"#;
    let tool = r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"Bash","input":{}}]}}"#;
    for begins in [&*echo, text, tool] {
        let turns = [trouble, &ok, begins];
        for (ended, want) in [
            (Ended::Code(0), Verdict::Crash),
            (Ended::Signal, Verdict::Crash),
            (Ended::Timeout, Verdict::Timeout),
            (Ended::Lost, Verdict::Lost),
            (Ended::Daemon, Verdict::Lost),
        ] {
            assert_eq!(judge(Dialect::Claude, &turns, ended), want, "{begins} {ended:?}");
        }
        assert_eq!(judge(Dialect::Claude, &[&ok, begins, &ok], Ended::Signal), Verdict::Ok);
        assert_eq!(judge(Dialect::Claude, &[&ok, begins, &login], Ended::Code(1)), Verdict::Auth);
        let cost = heard(Dialect::Claude, &turns).end.is_some();
        assert!(cost, "what it cost so far is known");
    }
}

/// A window that is told of, or a session that is named again, is no turn.
#[test]
fn a_result_outlives_what_is_said_beside_the_work() {
    let ok = result(false, "null", "Fixed.");
    let beside = [
        r#"{"type":"rate_limit_event","rate_limit_info":{"status":"allowed"}}"#,
        r#"{"type":"system","subtype":"init","session_id":"s"}"#,
        "garbage",
    ];
    for line in beside {
        assert_eq!(judge(Dialect::Claude, &[&ok, line], Ended::Lost), Verdict::Ok, "{line}");
    }
}

#[test]
fn what_an_earlier_version_kept_of_a_worker_is_read() {
    let kept = r#"{"session":"s","end":{"is_error":false,"status":null,"reason":null,"text":"Fixed.","cost_usd":null,
        "tokens":{"input":1,"output":1,"cache_read":0,"cache_write":0},"model":null},"turns":1,"echoed":[4,5]}"#;
    let heard: Heard = serde_json::from_str(kept).unwrap();
    assert_eq!((heard.turns, heard.last_word().map(|end| end.text.as_str())), (1, Some("Fixed.")));
}

#[test]
fn codex_ends() {
    let cases = [
        (r#"{"type":"turn.completed","usage":{}}"#.to_owned(), Verdict::Ok),
        (failed_turn("You've hit your usage limit."), Verdict::RateLimited { until_ms: NOW + 3_600_000 }),
        (failed_turn("unexpected status 401 Unauthorized"), Verdict::Auth),
        (failed_turn("stream disconnected"), Verdict::Crash),
        (r#"{"type":"request_user_input","questions":["?"]}"#.to_owned(), Verdict::NeedsInput),
    ];
    for (line, want) in cases {
        assert_eq!(judge(Dialect::Codex, &[&line], Ended::Code(1)), want, "{line}");
    }
}

#[test]
fn plain_ends_by_its_exit_code() {
    assert_eq!(judge(Dialect::Plain, &["hello"], Ended::Code(0)), Verdict::Ok);
    assert_eq!(judge(Dialect::Plain, &["hello"], Ended::Code(3)), Verdict::Crash);
    assert_eq!(judge(Dialect::Plain, &[], Ended::Timeout), Verdict::Timeout);
}

#[test]
fn a_question_wins_over_a_good_result() {
    let mut heard = heard(Dialect::Claude, &[&result(false, "null", "Done.")]);
    heard.question = Some(Ask { need: "which?".into(), why: None, how: None, options: Vec::new() });
    assert_eq!(verdict(Dialect::Claude, &heard, Ended::Code(0), &TimeZone::UTC, NOW), Verdict::NeedsInput);
}

const BACKOFF: Backoff = Backoff { least: Duration::from_secs(30), most: Duration::from_secs(600) };

fn after_it(verdict: &Verdict, tries: Tries) -> (Next, Effect) {
    decide(verdict, &Heard::default(), tries, BACKOFF, 0, NOW)
}

#[test]
fn ticket_and_profile_after_each_end() {
    let tries = Tries { attempts: 1, max_attempts: 5, overloads: 1, crashes: 1 };
    let next = Next::Again { after: Duration::ZERO, with: With::NextProfile };
    let again = Next::Again { after: CRASH_PAUSE, with: With::Same };
    let cases = [
        (Verdict::Ok, Next::Review, Effect::Nothing),
        (Verdict::NeedsInput, Next::Asked, Effect::Nothing),
        (Verdict::RateLimited { until_ms: 9 }, next.clone(), Effect::CoolUntil(9)),
        (Verdict::Billing, next.clone(), Effect::CoolUntil(NOW + 3_600_000)),
        (Verdict::Auth, next.clone(), Effect::Disable),
        (Verdict::Unstartable, next, Effect::CoolUntil(NOW + 60_000)),
        (Verdict::Crash, again.clone(), Effect::Nothing),
        (Verdict::Timeout, again.clone(), Effect::Nothing),
        (Verdict::Lost, again, Effect::Nothing),
    ];
    for (verdict, want, effect) in cases {
        assert_eq!(after_it(&verdict, tries), (want, effect), "{verdict:?}");
    }
    for verdict in [Verdict::BadRequest, Verdict::Stopped] {
        assert!(matches!(after_it(&verdict, tries), (Next::GiveUp { .. }, Effect::Nothing)), "{verdict:?}");
    }
}

#[test]
fn tries_run_out() {
    let spent = Tries { attempts: 5, max_attempts: 5, overloads: 1, crashes: 1 };
    for verdict in [Verdict::Crash, Verdict::Timeout, Verdict::RateLimited { until_ms: 9 }, Verdict::Lost] {
        let (next, _) = after_it(&verdict, spent);
        assert!(matches!(next, Next::GiveUp { code: "attempts_spent", .. }), "{verdict:?}");
    }
    assert_eq!(after_it(&Verdict::Ok, spent).0, Next::Review);
    let crashes = Tries { attempts: 3, max_attempts: 9, overloads: 0, crashes: 3 };
    assert!(matches!(after_it(&Verdict::Crash, crashes).0, Next::GiveUp { code: "crash", .. }));
    let overloads = Tries { attempts: 3, max_attempts: 9, overloads: 3, crashes: 0 };
    let (next, effect) = after_it(&Verdict::Overloaded, overloads);
    assert_eq!(next, Next::Again { after: Duration::ZERO, with: With::NextProfile });
    assert_eq!(effect, Effect::CoolUntil(NOW + 600_000));
}

#[test]
fn the_wait_for_an_overloaded_provider_stays_in_its_bounds() {
    for tries in 1..40 {
        for chance in [0, 1, 12_345_678_901, u64::MAX] {
            let wait = overload_wait(BACKOFF, tries, chance);
            assert!(wait >= BACKOFF.least && wait <= BACKOFF.most, "{tries} {chance}: {wait:?}");
        }
    }
    assert_ne!(overload_wait(BACKOFF, 4, 1), overload_wait(BACKOFF, 4, 99_999));
}
