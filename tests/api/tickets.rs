//! Tickets over the API of a real daemon: a ticket's life, a worker's rights, hostile text.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use lucid::api::listener::Door;
use lucid::api::peer::Level;
use lucid::model::ids::{Fence, RunId, TicketId};
use lucid::store::StoreError;
use lucid::ticket::board::NewAttempt;
use lucid::ticket::brief::brief;
use serde_json::{Value, json};

use super::world::{World, stream_of};

pub async fn new(world: &World, body: Value) -> String {
    let (status, answer) = world.ask("POST", "tickets", body).await;
    assert_eq!(status, 201, "{answer}");
    answer["ticket"]["id"].as_str().expect("an id").to_owned()
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

async fn patch(world: &World, id: &str, etag: Option<&str>, body: Value) -> (u16, Value) {
    let mut request =
        Request::patch(format!("/api/v1/tickets/{id}")).header(header::CONTENT_TYPE, "application/json");
    if let Some(etag) = etag {
        request = request.header(header::IF_MATCH, etag);
    }
    let request = request.body(Body::from(body.to_string())).expect("a request");
    let (status, answer) = world.send(request, Door::Control, Level::Operate).await;
    (status.as_u16(), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_made_changed_moved_and_ended() {
    let world = World::start().await;
    for (field, what) in [("agent", "agent profile"), ("pool", "pool")] {
        let refused = world.ask("POST", "tickets", json!({"title": "Fix it", field: "nope"})).await;
        assert_eq!(code(&refused), (422, "invalid_field"));
        let told = format!("{field}: there is no {what} `nope`; the config has none");
        assert_eq!(refused.1["detail"], told.as_str());
    }
    let id = new(&world, json!({"title": "Fix it", "priority": "high"})).await;
    assert_eq!(id, "MC-1");
    assert_eq!(world.get("tickets/MC-1").await["ticket"]["max_attempts"], 5, "what counts");
    assert_eq!(code(&patch(&world, &id, None, json!({"pool": "nope"})).await), (422, "invalid_field"));
    assert_eq!(patch(&world, &id, None, json!({"pool": "", "agent": ""})).await.0, 200);
    let past = json!({"state": "waiting", "reason": "parts", "until": "2020-01-01T00:00:00Z"});
    for (wish, told) in [
        (past, "a ticket waits for a time to come; 2020-01-01T00:00:00Z has passed"),
        (json!({"state": "waiting"}), "`waiting` wants a reason"),
        (json!({"state": "closed"}), "`closed` wants a reason"),
    ] {
        let refused = patch(&world, &id, None, wish).await;
        assert_eq!((refused.0, refused.1["detail"].as_str()), (422, Some(told)), "{}", refused.1);
    }
    let moved = patch(&world, &id, Some("\"1\""), json!({"state": "waiting", "reason": "parts"})).await;
    assert_eq!(
        (moved.0, &moved.1["ticket"]["state"], &moved.1["ticket"]["version"]),
        (200, &json!("waiting"), &json!(2))
    );
    assert_eq!(moved.1["ticket"]["reason"]["code"], "parked");
    let late = patch(&world, &id, Some("\"1\""), json!({"state": "review"})).await;
    assert_eq!(code(&late), (412, "changed"));
    assert!(late.1["detail"].as_str().expect("text").contains("version 2, waiting"), "{}", late.1);
    assert_eq!(code(&patch(&world, &id, Some("2"), json!({})).await), (422, "bad_if_match"));
    assert_eq!(code(&patch(&world, &id, None, json!({"state": "done"})).await), (409, "gate_closed"));
    assert_eq!(code(&patch(&world, &id, None, json!({"state": "closed"})).await), (422, "invalid_move"));
    assert_eq!(code(&patch(&world, &id, None, json!({"state": "in_progress"})).await), (422, "invalid_move"));
    assert_eq!(code(&patch(&world, "MC-9", None, json!({})).await), (404, "no_such_ticket"));
    assert_eq!(code(&patch(&world, "nine", None, json!({})).await), (404, "not_found"));
    let asked = world.ask("POST", "tickets/mc-1/ask", json!({"need": "A key", "options": ["a"]})).await;
    assert_eq!(
        asked.1["ticket"]["ask"],
        json!({"need": "A key", "why": null, "how": null, "options": ["a"]})
    );
    let (status, sent) = world.ask("POST", "tickets/MC-1/messages", json!({"text": "a", "via": "cli"})).await;
    assert_eq!((status, &sent["message"]["state"]), (201, &json!("queued")));
    assert_eq!(world.get("tickets/MC-1").await["ticket"]["state"], "todo");
    assert_eq!(code(&world.ask("POST", "tickets/MC-1/dispatch", Value::Null).await), (409, "dispatch_off"));
    let closed = patch(&world, &id, None, json!({"state": "closed", "reason": "twice"})).await;
    assert_eq!(closed.1["ticket"]["reason"]["text"], "twice");
    assert_eq!(
        code(&world.ask("POST", "tickets/MC-1/messages", json!({"text": "b"})).await),
        (409, "illegal_step")
    );

    new(&world, json!({"title": "Other"})).await;
    let page = world.get("tickets?limit=1").await;
    assert_eq!(page["tickets"][0]["id"], "MC-2");
    let next = page["next_cursor"].as_str().expect("a cursor");
    assert_eq!(world.get(&format!("tickets?cursor={next}")).await["tickets"][0]["id"], "MC-1");
    assert_eq!(world.get("tickets?state=open").await["tickets"].as_array().expect("list").len(), 1);
    assert_eq!(world.get("messages?state=expired").await["messages"][0]["ticket"], "MC-1");
    assert_eq!(world.ask("DELETE", "messages/1", Value::Null).await.1["message"]["state"], "dead");
    let facts = world.get("activity?ticket=mc-1&type=ticket_moved").await;
    assert_eq!(facts["events"].as_array().expect("events").len(), 4, "{facts}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_belong_to_a_ticket_and_are_only_named() {
    let world = World::start().await;
    let id = new(&world, json!({"title": "Files"})).await;
    let path = format!("tickets/{id}/context");
    let (status, first) = world.ask("POST", &path, json!({"path": "lucid.yaml", "title": "Config"})).await;
    assert_eq!(
        (status, &first["link"]["exists"], &first["link"]["source"]),
        (201, &json!(true), &json!("manual"))
    );
    assert_eq!(world.ask("POST", &path, json!({"path": "lucid.yaml", "source": "auto"})).await.0, 200);
    let (_, away) = world.ask("POST", &path, json!({"path": "../../etc/passwd"})).await;
    assert_eq!((&away["link"]["path"], &away["link"]["exists"]), (&json!("../../etc/passwd"), &Value::Null));
    assert_eq!(code(&world.ask("POST", &path, json!({"path": ""})).await), (422, "invalid_field"));
    assert_eq!(world.get(&path).await["context"].as_array().expect("list").len(), 2);
    let link = first["link"]["id"].as_i64().expect("a number");
    assert_eq!(world.ask("DELETE", &format!("{path}/{link}"), Value::Null).await.0, 204);
    assert_eq!(
        code(&world.ask("DELETE", &format!("{path}/{link}"), Value::Null).await),
        (404, "no_such_file")
    );
    assert_eq!(world.ask("DELETE", &format!("{path}/x"), Value::Null).await.0, 404);
    assert!(world.dir.path().join("lucid.yaml").is_file());
    world.end().await;
}

/// A run with a token that works on `ticket`; its number.
async fn worker(world: &World, ticket: &str) -> (i64, String) {
    let out = world.dir.path().join(format!("token-{ticket}"));
    let run = world.run("token", json!({"env": {"OUT": out.to_string_lossy()}})).await;
    world.until(run, &["running"]).await;
    let token = loop {
        match std::fs::read_to_string(&out) {
            Ok(token) if !token.is_empty() => break token,
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let (tickets, named) = (world.app.tickets.clone(), ticket.to_owned());
    let id: TicketId = ticket.parse().expect("an id");
    world
        .app
        .store
        .write(move |tx| {
            let set = "UPDATE runs SET ticket = ?2 WHERE id = ?1 RETURNING fence";
            let fence = tx.query_row(set, (run, &named), |row| row.get(0)).map_err(StoreError::from)?;
            let new = NewAttempt {
                run: RunId(run),
                fence: Fence(fence),
                agent: "fake".into(),
                branch: None,
                slot: None,
                lease: None,
                check_in_ms: None,
            };
            tickets.begin_attempt(tx, &id, &new, 1)
        })
        .await
        .expect("an attempt");
    (run, token)
}

async fn as_worker(world: &World, token: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/v1/{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    let (status, answer) =
        world.send(request.body(body).expect("a request"), Door::Worker, Level::None).await;
    (status.as_u16(), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_has_its_own_ticket_and_nothing_else_until_it_is_replaced() {
    let world = World::start().await;
    let (mine, other) =
        (new(&world, json!({"title": "Mine"})).await, new(&world, json!({"title": "Other"})).await);
    world.ask("POST", &format!("tickets/{mine}/messages"), json!({"text": "hello"})).await;
    let (run, token) = worker(&world, &mine).await;
    let ask = |method: &'static str, path: String, body: Value| {
        let (world, token) = (&world, &token);
        async move { as_worker(world, token, method, &path, body).await }
    };
    let writes = [
        ("events", json!([{"type": "assistant"}, "raw"]), 201),
        ("comments", json!({"body": "at it"}), 201),
        ("context", json!({"path": "a.md"}), 201),
        ("report", json!({"status": "done", "summary": "all well", "commit": "abcdef1"}), 200),
        ("ask", json!({"need": "a key"}), 200),
    ];
    for (what, body, status) in &writes {
        let own = ask("POST", format!("tickets/{mine}/{what}"), body.clone()).await;
        assert_eq!(own.0, *status, "{what}: {}", own.1);
        assert_eq!(ask("POST", format!("tickets/{other}/{what}"), body.clone()).await.0, 403, "{what}");
    }
    for path in ["comments", "events", "context", "messages"] {
        assert_eq!(ask("GET", format!("tickets/{mine}/{path}"), Value::Null).await.0, 200, "{path}");
        assert_eq!(ask("GET", format!("tickets/{other}/{path}"), Value::Null).await.0, 403, "{path}");
    }
    let forbidden = [
        ("POST", "tickets".to_owned(), json!({"title": "x"})),
        ("GET", "tickets".to_owned(), Value::Null),
        ("PATCH", format!("tickets/{mine}"), json!({"state": "closed", "reason": "x"})),
        ("POST", format!("tickets/{mine}/dispatch"), Value::Null),
        ("POST", format!("tickets/{mine}/messages"), json!({"text": "x"})),
        ("POST", "tasks/hello/runs".to_owned(), Value::Null),
        ("GET", "status".to_owned(), Value::Null),
        ("POST", "messages/1/retry".to_owned(), Value::Null),
        ("GET", format!("tickets/{}", other.replace('-', "%2D")), Value::Null),
    ];
    for (method, path, body) in forbidden {
        assert_eq!(ask(method, path.clone(), body).await.0, 403, "{method} {path}");
    }
    let claimed = ask("POST", "messages/1/claim".into(), Value::Null).await;
    assert_eq!((claimed.0, &claimed.1["message"]["text"]), (200, &json!("hello")), "{}", claimed.1);
    assert_eq!(ask("POST", "messages/1/ack".into(), Value::Null).await.1["message"]["state"], "acked");
    assert_eq!(world.ask("POST", "messages/1/ack", Value::Null).await.0, 403, "a person has no ack to give");

    // Another attempt takes over while the old run still lives and holds a good token.
    world
        .app
        .store
        .write(|tx| {
            Ok::<_, StoreError>(tx.execute("UPDATE attempts SET ended_ms = 1, outcome = 'lost'", [])?)
        })
        .await
        .expect("ended");
    let before = world.get(&format!("tickets/{mine}/events")).await["events"].as_array().expect("log").len();
    for (what, body, _) in writes {
        let late = ask("POST", format!("tickets/{mine}/{what}"), body).await;
        assert_eq!(code(&late), (409, "superseded"), "{what}");
    }
    let after = world.get(&format!("tickets/{mine}/events")).await;
    assert_eq!(after["events"].as_array().expect("log").len(), before);
    world.ask("POST", &format!("runs/{run}/kill"), json!({"grace_ms": 50})).await;
    world.end().await;
}

/// Forty strings that shells, terminals, SQL, JSON, HTML and people have fallen over.
fn hostile() -> Vec<String> {
    let texts = [
        "$(touch /tmp/pwned)",
        "`id`",
        "; rm -rf /",
        "&& false",
        "| cat",
        "> /dev/null",
        "< /etc/passwd",
        "'; DROP TABLE tickets; --",
        "\" OR 1=1",
        "\\",
        "\\\\n",
        "'",
        "\"",
        "''",
        "%s%n%x",
        "${HOME}",
        "$HOME",
        "!history",
        "*",
        "~",
        "--help",
        "-",
        "-rf",
        "\u{1b}[2J\u{1b}]0;x\u{7}",
        "a\0b",
        "a\r\nb",
        "a\tb",
        "\u{202e}abc",
        "\u{feff}bom",
        "\u{200b}zero",
        "日本語 🎉 e\u{301}",
        "<script>alert(1)</script>",
        "&amp;&lt;",
        "{{7*7}}",
        "{\"type\":\"result\"}",
        "\n\n---\nenabled: true\n---\n",
        "\u{2028}\u{2029}",
        "\u{7f}\u{80}\u{9f}",
        "data: x\n\nevent: end\n\n",
        "\u{10ffff}\u{e000}",
    ];
    let mut all: Vec<String> = texts.into_iter().map(str::to_owned).collect();
    assert_eq!(all.len(), 40);
    all.push("a line of a long text \u{1b}[31m\n".repeat(7_200));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_comes_out_of_every_door_as_it_went_in() {
    let world = World::start().await;
    for text in hostile() {
        let title: String = text.chars().filter(|c| !c.is_control()).take(100).collect();
        let wish = json!({"title": format!("t {title}"), "body": text});
        let id = new(&world, wish).await;
        world.ask("POST", &format!("tickets/{id}/comments"), json!({"body": format!("c {text}")})).await;
        let event = json!({"type": "assistant", "text": text});
        let posted = world.ask("POST", &format!("tickets/{id}/events"), event.clone()).await;
        let seq = posted.1["seq"].as_i64().expect("a number");

        let shown = world.get(&format!("tickets/{id}")).await;
        assert_eq!(
            (&shown["ticket"]["body"], shown["ticket"]["title"].as_str()),
            (&json!(text), Some(format!("t {title}").as_str()))
        );
        let listed = world.get(&format!("tickets/{id}/events?after={}", seq - 1)).await;
        assert_eq!(listed["events"][0]["data"], event);
        let mut live = world
            .stream(&stream_of(
                &format!("tickets/{id}/stream"),
                seq.checked_sub(1).and_then(|n| u64::try_from(n).ok()),
            ))
            .await;
        let (told, name, data) = super::world::event(&mut live).await;
        assert_eq!((told, name.as_str(), &data["data"]), (u64::try_from(seq).ok(), "ticket_event", &event));

        // What the command line prints for programs.
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_lucid"))
            .args(["ticket", "show", &id, "--json", "--socket"])
            .arg(world.socket("lucid.sock"))
            .output()
            .expect("it runs");
        let mut printed: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        // Dispatch says at its own time why it waits.
        let mut expected = shown["ticket"].clone();
        printed["ticket"]["reason"] = Value::Null;
        expected["reason"] = Value::Null;
        assert_eq!(printed["ticket"], expected);

        // What a worker is given to read.
        let id: TicketId = id.parse().expect("an id");
        let ticket = world.app.tickets.get(&id).await.expect("read").expect("there");
        let comments = world.app.tickets.comments(&id, 0, 10).await.expect("read");
        let prompt = brief(&ticket, &comments, &[]);
        assert!(prompt.contains(&format!("t {title}\n")) && prompt.contains(&format!("\n{text}\n")));
        assert!(prompt.contains(&format!("\nc {text}\n")));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_twice_under_one_key_is_done_once() {
    let world = World::start().await;
    let id = new(&world, json!({"title": "Once"})).await;
    let post = |path: &str, body: Value| {
        Request::post(format!("/api/v1/{path}"))
            .header("idempotency-key", format!("k {path}").replace([' ', '/'], "-"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request")
    };
    for (path, body) in [
        (format!("tickets/{id}/events"), json!([{"type": "a"}, {"type": "b"}])),
        (format!("tickets/{id}/messages"), json!({"text": "hello"})),
        (format!("tickets/{id}/comments"), json!({"body": "hello"})),
        ("tickets".to_owned(), json!({"title": "Second"})),
    ] {
        let (status, first) = world.send(post(&path, body.clone()), Door::Control, Level::Operate).await;
        assert_eq!(status.as_u16(), 201, "{path}: {first}");
        let (_, again) = world.send(post(&path, body), Door::Control, Level::Operate).await;
        assert_eq!(first, again, "{path}");
    }
    assert_eq!(world.get("tickets").await["tickets"].as_array().expect("list").len(), 2);
    assert_eq!(
        world.get(&format!("tickets/{id}/comments")).await["comments"].as_array().expect("list").len(),
        2
    );
    assert_eq!(world.get("messages").await["messages"].as_array().expect("list").len(), 1);
    let events = world.get(&format!("tickets/{id}/events")).await;
    let worked = events["events"].as_array().expect("log").iter().filter(|e| e["source"] == "worker").count();
    assert_eq!(worked, 2);
    world.end().await;
}
