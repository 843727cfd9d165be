//! The API of a real daemon: real files, a real database, real keepers, real sockets.
#![allow(clippy::expect_used, clippy::panic, reason = "a test may")]

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use lucid::api::listener::Door;
use lucid::api::peer::Level;
use lucid::api::routes;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

mod readers;
mod tickets;
mod world;

use world::{World, event, line, stream_of};

#[tokio::test(flavor = "multi_thread")]
async fn every_route_knows_its_callers() {
    let world = World::start().await;
    let out = world.dir.path().join("token");
    let run = world.run("token", json!({"env": {"OUT": out.to_string_lossy()}})).await;
    world.until(run, &["running"]).await;
    let token = loop {
        match std::fs::read_to_string(&out) {
            Ok(token) if !token.is_empty() => break token,
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let callers = [
        ("nobody on worker.sock", Door::Worker, Level::Admin, None),
        ("wrong token", Door::Control, Level::Admin, Some("f".repeat(64))),
        ("stranger", Door::Control, Level::None, None),
        ("operator", Door::Control, Level::Operate, None),
        ("run with tasks:run", Door::Worker, Level::None, Some(token.clone())),
    ];
    let mut table = String::new();
    for (method, path, right) in routes::all() {
        let mut cells = Vec::new();
        for (_, door, level, token) in &callers {
            // An id that does not exist: whoever is let through changes nothing.
            let path = path.replace("{id}", "999999999");
            let mut request = Request::builder().method(method).uri(&path);
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let changes_all = ["/api/v1/pause", "/api/v1/resume"].contains(&path.as_str());
            if changes_all {
                // A body that is refused after the caller has been let through.
                request = request.header(header::CONTENT_TYPE, "text/plain");
            }
            let body = if changes_all { Body::from("x") } else { Body::empty() };
            let (status, answer) = world.send(request.body(body).expect("a request"), *door, *level).await;
            let is_let_in = ![401, 403].contains(&status.as_u16());
            if !is_let_in {
                assert_eq!(answer["status"], status.as_u16(), "{path}: a refusal is a problem document");
            }
            cells.push(if is_let_in { "in".to_owned() } else { status.as_u16().to_string() });
        }
        table.push_str(&format!(
            "{:<10} {:<5} {path:<28} {}\n",
            format!("{right:?}"),
            method.as_str(),
            cells.join(" ")
        ));
    }
    insta::assert_snapshot!(table);

    world.ask("POST", &format!("runs/{run}/kill"), Value::Null).await;
    world.until(run, &["killed"]).await;
    let request = Request::get("/api/v1/status").header(header::AUTHORIZATION, format!("Bearer {token}"));
    let (status, answer) =
        world.send(request.body(Body::empty()).expect("one"), Door::Worker, Level::Admin).await;
    assert_eq!((status.as_u16(), &answer["code"]), (409, &json!("superseded")));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_from_its_start_to_its_log() {
    let world = World::start().await;
    let run = world.run("hello", Value::Null).await;
    let mut reader = world.stream(&stream_of(&format!("runs/{run}/stream"), None)).await;
    let mut text = String::new();
    let end = loop {
        let (id, name, data) = event(&mut reader).await;
        match name.as_str() {
            "log" => {
                assert_eq!((id, &data["offset"]), (data["next"].as_u64(), &json!(text.len())));
                text.push_str(data["text"].as_str().expect("text"));
            }
            "state" => assert_eq!(data["id"], run),
            "end" => break data,
            other => panic!("{other}"),
        }
    };
    assert_eq!(text, "hello\nworld\n");
    assert_eq!((&end["run"]["state"], &end["log_bytes"]), (&json!("ok"), &json!(12)));

    let mut reader = world.stream(&stream_of(&format!("runs/{run}/stream"), Some(6))).await;
    let rest = loop {
        let (_, name, data) = event(&mut reader).await;
        if name == "log" {
            break data;
        }
    };
    assert_eq!(rest["text"], "world\n");

    assert_eq!(world.get(&format!("runs/{run}/log")).await, "hello\nworld\n");
    assert_eq!(world.get(&format!("runs/{run}/log?tail=1")).await, "world\n");
    assert_eq!(world.get(&format!("runs/{run}/log?offset=6")).await, "world\n");
    assert_eq!(world.ask("GET", &format!("runs/{run}/log?offset=6&tail=1"), Value::Null).await.0, 422);

    let task = world.get("tasks/hello").await;
    assert_eq!((&task["task"]["state"], &task["task"]["recent"]), (&json!("manual"), &json!(["ok"])));
    assert_eq!(task["settings"]["command"], json!(["echo hello; echo world"]));
    let shown = world.get(&format!("runs/{run}")).await;
    assert_eq!(shown["run"]["actor"], "user:alice");
    let (status, retried) = world.ask("POST", &format!("runs/{run}/retry"), Value::Null).await;
    assert_eq!((status, &retried["run"]["attempt"]), (202, &json!(2)));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_outlives_the_file() {
    let world = World::start().await;
    let run = world.run("hello", Value::Null).await;
    world.until(run, &["ok"]).await;
    assert_eq!(world.get("status").await["scheduler"]["broken"], 1);
    std::fs::remove_file(world.dir.path().join("tasks/hello.md")).expect("removed");
    assert_eq!(world.ask("POST", "reload", Value::Null).await.0, 200);

    assert_eq!(world.ask("GET", "tasks/hello", Value::Null).await.0, 404);
    assert_eq!(world.get("runs?task=hello").await["runs"][0]["id"], run);
    assert_eq!(world.get("runs?task=hello&state=failed").await["runs"], json!([]));
    assert_eq!(world.get("runs?task=daily").await["runs"], json!([]));
    let why = world.get("tasks/hello/why").await;
    assert_eq!(why["row"]["id"], run);
    assert!(why["answer"].as_str().expect("text").ends_with("hello has no file any more"), "{why}");
    for path in ["runs?task=nothing", "tasks/nothing/why"] {
        let (status, answer) = world.ask("GET", path, Value::Null).await;
        assert_eq!((status, &answer["code"]), (404, &json!("no_such_task")), "{path}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_a_word_for_programs() {
    let world = World::start().await;
    let run = world.run("slow", Value::Null).await;
    world.until(run, &["running"]).await;
    let refused = |answer: (u16, Value)| (answer.0, answer.1["code"].as_str().unwrap_or_default().to_owned());
    let post = |path: &'static str, body: Value| world.ask("POST", path, body);
    assert_eq!(refused(post("tasks/slow/runs", Value::Null).await), (409, "already_running".to_owned()));
    assert_eq!(refused(post("tasks/off/runs", Value::Null).await), (409, "disabled".to_owned()));
    assert_eq!(refused(post("tasks/broken/runs", Value::Null).await), (409, "broken".to_owned()));
    assert_eq!(refused(post("tasks/nothing/runs", Value::Null).await), (404, "no_such_task".to_owned()));
    assert_eq!(
        refused(post("tasks/hello/runs", json!({"env": {"LUCID_X": "1"}})).await),
        (422, "bad_env".to_owned())
    );
    assert_eq!(refused(post("runs/999/kill", Value::Null).await), (404, "no_such_run".to_owned()));
    assert_eq!(refused(post("runs/x/kill", Value::Null).await), (404, "not_found".to_owned()));
    assert_eq!(
        refused(world.ask("GET", "runs?limit=501", Value::Null).await),
        (422, "out_of_range".to_owned())
    );
    assert_eq!(
        refused(world.ask("GET", "runs?cursor=zz", Value::Null).await),
        (422, "bad_cursor".to_owned())
    );
    assert_eq!(
        refused(world.ask("DELETE", "runs", Value::Null).await),
        (405, "method_not_allowed".to_owned())
    );
    assert_eq!(refused(world.ask("GET", "nowhere", Value::Null).await), (404, "not_found".to_owned()));
    assert_eq!(
        refused(post("schedule/preview", json!({"schedule": "30m"})).await),
        (422, "invalid_schedule".to_owned())
    );
    let (status, killed) = world.ask("POST", &format!("runs/{run}/kill"), json!({"grace_ms": 100})).await;
    assert_eq!((status, &killed["run"]["state"]), (200, &json!("stopping")));
    let ended = world.until(run, &["killed"]).await;
    assert_eq!(ended["stop_reason"], "cancelled");
    assert_eq!(
        refused(world.ask("POST", &format!("runs/{run}/kill"), Value::Null).await),
        (409, "ended".to_owned())
    );
    assert_eq!(world.ask("POST", "drain", Value::Null).await.1["draining"], true);
    assert_eq!(refused(post("tasks/hello/runs", Value::Null).await), (409, "draining".to_owned()));
    assert_eq!(world.ask("POST", "undrain", Value::Null).await.1["draining"], false);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_listed_paused_switched_and_explained() {
    let world = World::start().await;
    let states = world.get("tasks").await;
    let states: Vec<(&str, &str)> = states["tasks"]
        .as_array()
        .expect("tasks")
        .iter()
        .map(|task| (task["id"].as_str().expect("id"), task["state"].as_str().expect("state")))
        .collect();
    let wanted = [
        ("broken", "broken"),
        ("daily", "new"),
        ("hello", "manual"),
        ("off", "off"),
        ("slow", "manual"),
        ("token", "manual"),
    ];
    assert_eq!(states, wanted);
    let page = world.get("tasks?limit=2&state=manual").await;
    let next = page["next_cursor"].as_str().expect("a cursor");
    assert_eq!(
        world.get(&format!("tasks?limit=2&state=manual&cursor={next}")).await["tasks"][0]["id"],
        "token"
    );
    assert_eq!(world.get("tasks?tag=night").await["tasks"].as_array().expect("tasks").len(), 1);
    assert_eq!(world.get("tasks?q=SAYS").await["tasks"][0]["id"], "hello");

    let (_, paused) =
        world.ask("POST", "tasks/daily/pause", json!({"for_ms": 3_600_000, "reason": "quiet"})).await;
    assert_eq!(
        (&paused["task"]["state"], &paused["task"]["paused"]["reason"]),
        (&json!("paused"), &json!("quiet"))
    );
    let (_, resumed) = world.ask("POST", "tasks/daily/resume", Value::Null).await;
    assert_eq!((&resumed["task"]["state"], &resumed["task"]["paused"]), (&json!("new"), &Value::Null));

    let (status, edited) = world.ask("PATCH", "tasks/daily", json!({"enabled": false})).await;
    assert_eq!((status, &edited["task"]["state"]), (200, &json!("off")), "{edited}");
    let text = std::fs::read_to_string(world.dir.path().join("tasks/daily.md")).expect("the file");
    assert!(text.contains("enabled: false"), "{text}");
    assert!(world.get("tasks/daily/why").await["answer"].as_str().expect("text").contains("disabled"));

    let next = world.get("tasks/daily/next?n=3").await;
    assert_eq!(
        (next["fires"].as_array().expect("fires").len(), &next["timezone"]),
        (3, &json!("Europe/Berlin"))
    );
    let later = world.get("tasks/daily/next?n=1&at=2027-06-01T00:00:00Z").await;
    assert!(later["fires"][0]["at"].as_str().expect("an instant").starts_with("2027-06-01"), "{later}");
    let wish =
        json!({"schedule": "30 2 * * *", "timezone": "Europe/Berlin", "at": "2027-03-27T12:00:00Z", "n": 1});
    let (_, fires) = world.ask("POST", "schedule/preview", wish).await;
    assert_eq!(fires["fires"][0]["local"], "2027-03-28T03:00:00+02:00");
    assert!(fires["fires"][0]["note"].as_str().expect("a note").contains("does not exist"));

    let (_, checked) = world.ask("POST", "check", Value::Null).await;
    assert_eq!((&checked["files"], &checked["errors"]), (&json!(6), &json!(1)), "{checked}");
    let text = "---\nschedule: every 5m\ntimout: 3\ncommand: x\n---\n";
    let (_, checked) = world.ask("POST", "check", json!({"path": "tasks/x.md", "text": text})).await;
    assert_eq!(
        (&checked["diagnostics"][0]["code"], &checked["diagnostics"][0]["line"]),
        (&json!("E101"), &json!(3))
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_and_the_journal_are_read_page_by_page_and_live() {
    let world = World::start().await;
    let mut live = world.stream(&stream_of("stream?topics=runs", None)).await;
    line(&mut live).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = world.run("hello", Value::Null).await;
        world.until(run, &["ok"]).await;
        runs.push(run);
    }
    let (first_id, name, first) = event(&mut live).await;
    assert_eq!((name.as_str(), &first["run"], first_id), ("event", &json!(runs[0]), first["seq"].as_u64()));

    let page = world.get("runs?task=hello&limit=2").await;
    let next = page["next_cursor"].as_str().expect("a cursor").to_owned();
    world.run("hello", Value::Null).await;
    let rest = world.get(&format!("runs?task=hello&limit=2&cursor={next}")).await;
    assert_eq!((&rest["runs"][0]["id"], &rest["next_cursor"]), (&json!(runs[0]), &Value::Null));

    let after = first_id.expect("an id");
    let events = world.get(&format!("activity?after={after}&run={}", runs[0])).await;
    let kinds: Vec<&str> = events["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(kinds.last(), Some(&"run_finished"));
    let mut again = world.stream(&stream_of("stream", Some(after))).await;
    assert!(event(&mut again).await.0 > first_id);
    let mut unknown = world.stream(&stream_of("stream", Some(1_000_000))).await;
    let (_, name, data) = event(&mut unknown).await;
    assert_eq!((name.as_str(), &data["reason"]), ("reset", &json!("unknown_id")));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_tells_of_itself() {
    let world = World::start().await;
    let status = world.get("status").await;
    assert_eq!((&status["host"], &status["scheduler"]["tasks"]), (&json!("testhost"), &json!(6)));
    assert_eq!(status["schema_version"], 1);
    assert_eq!(status["health"], "degraded");
    assert!(world.get("problems").await["problems"].to_string().contains("broken.md"));
    let mut probe = world.stream("GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(line(&mut probe).await, "HTTP/1.1 200 OK\r\n");
    let config = world.get("config").await;
    assert!(
        config["config"].as_array().expect("settings").iter().any(|setting| setting["key"] == "state_dir")
    );
    let (_, made) = world.ask("POST", "backup", Value::Null).await;
    assert!(Path::new(made["backup"]["path"].as_str().expect("a path")).is_file(), "{made}");
    let mut metrics = world.stream("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut text = String::new();
    metrics.read_to_string(&mut text).await.expect("read");
    assert!(text.contains("\nlucid_task_consecutive_failures{task=\"hello\"} 0\n"), "{text}");
    let openapi = world.get("openapi.json").await;
    assert_eq!(openapi["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    assert!(openapi["components"]["schemas"]["Run"]["properties"]["exit_code"].is_object());

    let key = |body: &'static str| {
        Request::post("/api/v1/tasks/hello/runs")
            .header("idempotency-key", "k1")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .expect("a request")
    };
    let (_, first) = world.send(key("{}"), Door::Control, Level::Operate).await;
    let (status, again) = world.send(key("{}"), Door::Control, Level::Operate).await;
    assert_eq!((status.as_u16(), &again), (202, &first));
    assert_eq!(world.send(key(r#"{"force":true}"#), Door::Control, Level::Operate).await.0, 422);
    for takes_nothing in ["drain", "undrain", "reload", "resume", "tasks/hello/resume"] {
        assert_eq!(world.ask("POST", takes_nothing, json!({"x": 1})).await.0, 422, "{takes_nothing}");
    }
    world.end().await;
}
