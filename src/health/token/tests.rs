//! What is said about a login, and what it is taken for.

use std::time::Duration;

use super::*;

const NOW: i64 = 1_795_000_000_000;
const HOUR: i64 = 3_600_000;

fn declared() -> TokenCheck {
    TokenCheck {
        name: "mail".to_owned(),
        source: TokenSource::Command(vec!["x".to_owned()]),
        status: None,
        expiry: None,
        well: ["ok", "valid"].map(str::to_owned).into(),
        needs_reauth_codes: vec![42],
        needs_reauth_on: ["invalid_grant", "invalid_client"].map(str::to_owned).into(),
        expiring_before: Duration::from_secs(24 * 3600),
        portal: Some("https://portal.example/".to_owned()),
        timeout: Duration::from_secs(5),
    }
}

fn said(code: Option<i32>, stdout: &str) -> Said {
    Said { code, stdout: stdout.as_bytes().to_vec(), stderr: Vec::new() }
}

fn told((state, detail): (TokenState, String)) -> String {
    format!("{}: {detail}", state.name())
}

#[test]
fn commands_by_code_word_and_document() {
    let plain = declared();
    let with_status = TokenCheck { status: Some("/status".to_owned()), ..declared() };
    let err = Said { stderr: b"Error: Invalid_Grant (token revoked)".to_vec(), ..said(Some(1), "") };
    let table = [
        judge_command(&plain, &said(Some(0), "anything\n"), NOW),
        judge_command(&plain, &said(Some(0), ""), NOW),
        judge_command(&plain, &said(Some(42), "fine"), NOW),
        judge_command(&plain, &said(Some(1), "no network"), NOW),
        judge_command(&plain, &said(None, ""), NOW),
        judge_command(&plain, &err, NOW),
        judge_command(&plain, &said(Some(0), r#"{"error": "invalid_client"}"#), NOW),
        judge_command(&plain, &said(Some(0), r#"{"needs_reauth": true}"#), NOW),
        judge_command(&plain, &said(Some(0), r#"{"needs_reauth": false}"#), NOW),
        judge_command(&with_status, &said(Some(0), r#"{"status": "OK"}"#), NOW),
        judge_command(&with_status, &said(Some(3), r#"{"status": "ok"}"#), NOW),
        judge_command(&with_status, &said(Some(1), r#"{"status": "revoked"}"#), NOW),
        judge_command(&with_status, &said(Some(0), r#"{"status": "weird"}"#), NOW),
        judge_command(&with_status, &said(Some(0), "no JSON"), NOW),
    ];
    insta::assert_snapshot!(table.map(told).join("\n"), @r"
    well: the check succeeds
    well: the check succeeds
    needs_reauth: exit 42
    unknown: the check failed: exit 1
    unknown: the check was killed
    needs_reauth: it says invalid_grant
    needs_reauth: it says invalid_client
    needs_reauth: it says needs_reauth
    well: the check succeeds
    well: the status is ok
    unknown: the check failed: exit 3
    needs_reauth: the status is revoked
    unknown: the status is weird, which means nothing here
    unknown: the output has no such status or expiry
    ");
}

#[test]
fn files_by_status_and_expiry() {
    let file = |status: &str, expiry: &str| TokenCheck {
        status: Some(status.to_owned()).filter(|text| !text.is_empty()),
        expiry: Some(expiry.to_owned()).filter(|text| !text.is_empty()),
        ..declared()
    };
    let judged = |check: &TokenCheck, text: String| told(judge_file(check, text.as_bytes(), NOW));
    let expiry = file("", "/google/expiry");
    let at = |value: String| format!(r#"{{"google": {{"expiry": {value}}}}}"#);
    let both = file("/status", "/expires");
    let table = [
        judged(&expiry, at(format!("{}", (NOW + 48 * HOUR) / 1000))),
        judged(&expiry, at(format!("{}", NOW + 48 * HOUR))),
        judged(&expiry, at(format!("\"{}\"", (NOW + 2 * HOUR) / 1000))),
        judged(&expiry, at("\"2026-11-01T00:00:00Z\"".to_owned())),
        judged(&expiry, at("\"2027-11-01T00:00:00+02:00\"".to_owned())),
        judged(&expiry, at("\"soon\"".to_owned())),
        judged(&expiry, at("1e300".to_owned())),
        judged(&expiry, at("null".to_owned())),
        judged(&expiry, "{}".to_owned()),
        judged(&expiry, "not JSON \u{1b}[2J".to_owned()),
        judged(&expiry, "7".to_owned()),
        judged(&both, format!(r#"{{"status": "ok", "expires": {}}}"#, NOW - 1)),
        judged(&both, format!(r#"{{"status": "invalid_grant", "expires": {}}}"#, NOW + 48 * HOUR)),
        judged(&both, format!(r#"{{"status": "ok", "expires": {}}}"#, NOW + HOUR)),
    ];
    insta::assert_snapshot!(table.join("\n"), @r"
    well: it expires 2026-11-20 11:06 UTC
    well: it expires 2026-11-20 11:06 UTC
    expiring: it expires 2026-11-18 13:06 UTC, in less than 1d
    needs_reauth: it expired 2026-11-01 00:00 UTC
    well: it expires 2027-10-31 22:00 UTC
    unknown: the expiry is no instant
    unknown: the expiry is no instant
    unknown: the expiry is no instant
    unknown: the file has no such status or expiry
    unknown: the file is not JSON
    unknown: the file is not JSON
    needs_reauth: it expired 2026-11-18 11:06 UTC
    needs_reauth: the status is invalid_grant
    expiring: it expires 2026-11-18 12:06 UTC, in less than 1d
    ");
}

#[test]
fn what_was_printed_is_not_passed_on() {
    let secret = "sk-very-secret-token-value";
    let with_status = TokenCheck { status: Some("/status".to_owned()), ..declared() };
    for text in [
        format!(r#"{{"status": "{secret}\u001b[2J"}}"#),
        format!("{secret} invalid_grant {}", "x".repeat(200_000)),
        format!(r#"{{"status": {{"token": "{secret}"}}}}"#),
        format!("{secret}\u{0}\u{202e}"),
    ] {
        for code in [Some(0), Some(1), None] {
            let (_, detail) = judge_command(&with_status, &said(code, &text), NOW);
            assert!(!detail.contains("secret-token") && detail.len() < 100, "{detail}");
        }
    }
    // A status that is one plain word is shown; one of a token's length is not.
    let long = format!(r#"{{"status": "{}"}}"#, "a1".repeat(30));
    let (_, detail) = judge_file(&with_status, long.as_bytes(), NOW);
    assert_eq!(detail, "the status is no plain word, which means nothing here");
}

#[test]
fn a_check_names_the_portal_only_where_it_helps() {
    let check = |state| {
        let report = TokenReport { name: "mail".to_owned(), state, detail: "d".to_owned(), looked_at: None };
        let check = check(&report, Some("https://portal.example/"));
        format!("{} {} {}", check.state.name(), check.detail, check.hint.unwrap_or_default())
    };
    let all = [TokenState::Well, TokenState::Expiring, TokenState::NeedsReauth, TokenState::Unknown];
    insta::assert_snapshot!(all.map(check).join("\n"), @r"
    healthy mail: d 
    degraded mail: d https://portal.example/
    degraded mail needs a login: d https://portal.example/
    degraded mail: d lucid action token-health
    ");
}

#[test]
fn people_are_told_once_and_of_the_end() {
    use TokenState::{Expiring, NeedsReauth, Unknown, Well};
    let mut told = None;
    let mut story = Vec::new();
    for state in [
        Well,
        NeedsReauth,
        NeedsReauth,
        Unknown,
        NeedsReauth,
        Expiring,
        Expiring,
        Well,
        Well,
        Unknown,
        Expiring,
        NeedsReauth,
        Well,
    ] {
        let change = change(told, state);
        told = match (change, state) {
            (Change::None, _) => told,
            (Change::Clear, _) => None,
            (Change::Raise | Change::ClearAndRaise, state) => Some(state),
        };
        story.push(format!("{} {change:?}", state.name()));
    }
    insta::assert_snapshot!(story.join("\n"), @r"
    well None
    needs_reauth Raise
    needs_reauth None
    unknown None
    needs_reauth None
    expiring ClearAndRaise
    expiring None
    well Clear
    well None
    unknown None
    expiring Raise
    needs_reauth Raise
    well Clear
    ");
}
