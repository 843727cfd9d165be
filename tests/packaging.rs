//! The units: what systemd itself says about them, and what must stand in them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

/// What `systemd-analyze verify` says about copies of the units that name the program just built.
/// It ends with 0 whatever it finds, so what it prints is what counts. None when there is no systemd here.
fn verified(folder: &Path, manager: &str, change: impl Fn(String) -> String) -> Option<String> {
    let copies = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.arg(manager).arg("verify").env("XDG_RUNTIME_DIR", copies.path());
    for unit in ["lucid.service", "lucid.socket", "lucid-heartbeat.service", "lucid-heartbeat.timer"] {
        let text = fs::read_to_string(folder.join(unit)).unwrap();
        let text = text.replace("/usr/bin/lucid", env!("CARGO_BIN_EXE_lucid"));
        let copy = copies.path().join(unit);
        fs::write(&copy, change(text)).unwrap();
        verify.arg(copy);
    }
    let output = verify.output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Some(said.replace(copies.path().to_str().unwrap(), ""))
}

/// Key → values of a unit, comments left out.
fn settings(unit: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let text = fs::read_to_string(packaging().join(unit)).unwrap();
    for (key, value) in
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
    {
        found.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    found
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    for (folder, manager) in [(packaging(), "--system"), (packaging().join("user"), "--user")] {
        let Some(said) = verified(&folder, manager, |text| text) else {
            eprintln!(
                "no systemd-analyze here (package systemd): only the keys are checked, by the test beside"
            );
            return;
        };
        assert_eq!(said, "", "{manager}");
        // It would have said so.
        let said = verified(&folder, manager, |text| text.replace("KillMode=", "KilMode=")).unwrap();
        assert!(said.contains("Unknown key 'KilMode'"), "{manager}: {said}");
    }
}

/// Keys by section, from systemd.unit(5), .service(5), .socket(5), .exec(5), .kill(5) and
/// .resource-control(5) of systemd 252: those that our units use and no other. Where systemd itself is
/// not installed, this is what keeps a misspelt key from being shipped.
const KNOWN: &[(&str, &str)] = &[
    ("Unit", "Description Documentation Requires After StartLimitIntervalSec PartOf"),
    (
        "Service",
        "Type NotifyAccess Environment ExecStart ExecReload ExecStop Restart RestartSec \
         RestartPreventExitStatus WatchdogSec TimeoutStartSec TimeoutStopSec KillMode Delegate OOMPolicy User \
         StateDirectory StateDirectoryMode LogsDirectory ConfigurationDirectory UMask StandardInput \
         StandardOutput StandardError LimitNOFILE LimitCORE TasksMax NoNewPrivileges CapabilityBoundingSet \
         ProtectSystem ProtectClock ProtectHostname ProtectKernelTunables ProtectKernelModules \
         ProtectKernelLogs PrivateDevices RestrictSUIDSGID RestrictRealtime RestrictAddressFamilies \
         SystemCallArchitectures SystemCallFilter SystemCallErrorNumber KeyringMode SuccessExitStatus",
    ),
    (
        "Socket",
        "ListenStream SocketUser SocketGroup SocketMode DirectoryMode FileDescriptorName RemoveOnStop",
    ),
    ("Timer", "OnBootSec OnUnitActiveSec OnActiveSec AccuracySec Unit Persistent"),
    ("Install", "WantedBy Also"),
];

/// What is wrong with the keys of a unit's text.
fn unknown_keys(text: &str) -> Vec<String> {
    let mut section = String::new();
    let mut wrong = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let key = line.split('=').next().unwrap_or_default();
        let known = KNOWN.iter().find(|(name, _)| *name == section);
        if !known.is_some_and(|(_, keys)| keys.split_whitespace().any(|known| known == key)) {
            wrong.push(format!("[{section}] {key}"));
        }
    }
    wrong
}

#[test]
fn every_key_is_one_that_systemd_knows() {
    let names = ["lucid.service", "lucid.socket", "lucid-heartbeat.service", "lucid-heartbeat.timer"];
    let users: Vec<String> = names.iter().map(|name| format!("user/{name}")).collect();
    for unit in names.into_iter().chain(users.iter().map(String::as_str)) {
        let text = fs::read_to_string(packaging().join(unit)).unwrap();
        assert_eq!(unknown_keys(&text), Vec::<String>::new(), "{unit}");
    }
    assert_eq!(
        unknown_keys("[Service]\nKilMode=process\n[Sokket]\nListenStream=x"),
        ["[Service] KilMode", "[Sokket] ListenStream"]
    );
}

#[test]
fn a_restart_costs_no_run_and_a_refusal_is_not_repeated() {
    for unit in ["lucid.service", "user/lucid.service"] {
        let unit = settings(unit);
        assert_eq!(unit["KillMode"], ["process"]);
        assert_eq!(unit["Delegate"], ["yes"]);
        assert_eq!(unit["OOMPolicy"], ["continue"]);
        assert_eq!(unit["Restart"], ["always"]);
        assert_eq!(unit["RestartPreventExitStatus"], ["2 75 78"]);
        assert_eq!(unit["StartLimitIntervalSec"], ["0"]);
        assert_eq!(unit["Type"], ["notify"]);
        assert!(unit["ExecStop"][0].ends_with("/usr/bin/lucid stop --from-systemd"));
        assert_eq!(unit["ExecReload"], ["/bin/kill -HUP $MAINPID"]);
        // The socket's folder must not be the service's: it would be deleted when the service stops.
        assert!(!unit.contains_key("RuntimeDirectory"));
    }
}

#[test]
fn the_socket_is_where_the_config_expects_it() {
    let system = settings("lucid.socket");
    assert_eq!(system["ListenStream"], ["/run/lucid/lucid.sock"]);
    assert_eq!(system["SocketMode"], ["0660"]);
    assert_eq!(system["FileDescriptorName"], ["lucid"]);
    let user = settings("user/lucid.socket");
    assert_eq!(user["ListenStream"], ["%t/lucid/lucid.sock"]);
    assert_eq!(user["SocketMode"], ["0600"]);
    assert_eq!(user["FileDescriptorName"], ["lucid"]);
}

#[test]
fn secrets_come_by_standard_input_and_the_config_knows() {
    let unit = settings("lucid.service");
    assert_eq!(unit["StandardInput"], ["file:/etc/lucid/secrets"]);
    assert!(unit["Environment"].contains(&"LUCID_SECRETS__FILE=stdin".to_owned()));
    assert!(unit["Environment"].contains(&"LUCID_CONFIG=/etc/lucid/lucid.yaml".to_owned()));
}

#[test]
fn the_heartbeat_does_not_depend_on_the_daemon() {
    for folder in ["", "user/"] {
        let unit = settings(&format!("{folder}lucid-heartbeat.service"));
        assert_eq!(unit["Type"], ["oneshot"]);
        assert_eq!(unit["ExecStart"], ["/usr/bin/lucid heartbeat --quiet"]);
        // Degraded and critical are findings, not failures of the unit.
        assert_eq!(unit["SuccessExitStatus"], ["1 2"]);
        for tie in ["Requires", "BindsTo", "PartOf", "Wants"] {
            assert!(!unit.contains_key(tie), "{tie} would tie it to the daemon, or start it");
        }
        let daemon = settings(&format!("{folder}lucid.service"));
        assert_eq!(unit["Environment"][0], daemon["Environment"][0], "the same configuration");
        assert_eq!(unit.get("User"), daemon.get("User"), "whoever the socket lets in");
        let timer = settings(&format!("{folder}lucid-heartbeat.timer"));
        assert_eq!(timer["OnUnitActiveSec"], ["5min"]);
        assert_eq!(timer["WantedBy"], ["timers.target"]);
    }
}
