//! What a run has said, as people read it: an agent's events are no reading matter.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::dispatch::classify::Heard;
use crate::dispatch::dialect;
use crate::model::ids::RunId;
use crate::model::worker::Dialect;
use crate::platform::process::spec::name;

use super::App;

/// Bytes of an agent's events that are read for its last word.
const ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// The language that the program of a run speaks, where it is an agent's.
pub(super) async fn dialect_of(app: &App, id: RunId) -> Option<Dialect> {
    app.dispatch.dialect_of(id).await.ok().flatten()
}

/// The end of an output as people read it: of an agent's events what they say, anything else as it is. `is_cut` says
/// that it may begin in the middle of a line.
pub(super) fn spoken(output: Vec<u8>, dialect: Option<Dialect>, is_cut: bool) -> Vec<u8> {
    let Some(dialect @ (Dialect::Claude | Dialect::Codex)) = dialect else { return output };
    let mut said = String::new();
    let mut add = |words: &str| {
        if !words.is_empty() {
            said.push_str(words);
            said.push('\n');
        }
    };
    for line in String::from_utf8_lossy(&output).lines().skip(usize::from(is_cut)) {
        if !line.starts_with('{') {
            add(line);
            continue;
        }
        let mut heard = Heard::default();
        dialect::read(dialect, line).iter().for_each(|event| heard.take(event));
        add(&heard.last_text);
        heard.trouble.iter().for_each(|trouble| add(&trouble.text));
        heard.end.iter().for_each(|end| add(&end.text));
    }
    said.into_bytes()
}

/// What a good run has to say: an agent's last word, or the output of anything else.
pub(super) async fn answer(app: &App, id: RunId) -> Option<String> {
    let dir = app.run_dir(id);
    match dialect_of(app, id).await {
        Some(dialect @ (Dialect::Claude | Dialect::Codex)) => {
            on_disk(move || last_word(&dir.join(name::EVENTS), dialect)).await
        }
        Some(Dialect::Plain) | None => {
            let chunk = app.tail_log(id, usize::MAX).await.ok()?;
            Some(String::from_utf8_lossy(&chunk.bytes).into_owned())
        }
    }
}

/// The result that an agent's program told, else the last text it wrote.
fn last_word(path: &Path, dialect: Dialect) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let from = length.saturating_sub(ANSWER_BYTES);
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    file.take(ANSWER_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut heard = Heard::default();
    // The first line of a piece from the middle is half of one.
    for line in text.lines().skip(usize::from(from > 0)) {
        dialect::read(dialect, line).iter().for_each(|said| heard.take(said));
    }
    let result = heard.end.filter(|end| !end.is_error).map(|end| end.text).filter(|text| !text.is_empty());
    result.or(Some(heard.last_text))
}

pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_by_what_they_say() {
        let output = [
            r#"{"type":"system","subtype":"init","session_id":"s"}"#,
            "a warning on standard error",
            r#"{"type":"assistant","message":{"content":[{"type":"text","text":"I try."}]}}"#,
            r#"{"type":"result","subtype":"success","is_error":true,"result":"It broke."}"#,
        ]
        .join("\n");
        let told = |dialect| String::from_utf8(spoken(output.clone().into_bytes(), dialect, false)).unwrap();
        assert_eq!(told(Some(Dialect::Claude)), "a warning on standard error\nI try.\nIt broke.\n");
        assert_eq!(told(None), output);
        assert_eq!(told(Some(Dialect::Plain)), output);
        let cut = format!("of a long line\"}}\n{output}").into_bytes();
        let cut = String::from_utf8(spoken(cut, Some(Dialect::Claude), true)).unwrap();
        assert_eq!(cut, told(Some(Dialect::Claude)));
    }
}
