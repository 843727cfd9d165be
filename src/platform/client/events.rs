//! Server-sent events, one by one.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Duration;

use super::answer::{Answer, cut_short};
use super::{ClientError, STREAM_SILENCE_SECS};

/// Longest line of an event stream, in bytes.
const EVENT_LINE_MAX: u64 = 4 * 1024 * 1024;

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The id to go on from: this event's own or the last one before it.
    pub id: Option<String>,
    /// Empty when the server named none.
    pub kind: String,
    pub data: String,
}

/// What a stream said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Event(Event),
    /// A comment, such as a ping: the server is there.
    Comment,
    /// The stream has ended.
    End,
}

/// The events of an answer, one by one.
#[derive(Debug)]
pub struct Events {
    input: BufReader<Answer>,
    last_id: Option<String>,
}

impl Events {
    pub(super) fn new(answer: Answer) -> Self {
        Self { input: BufReader::new(answer), last_id: None }
    }

    /// Bounds the silence until the next byte from now on.
    ///
    /// # Errors
    /// [`ClientError::Broken`] when the socket takes no such limit.
    pub fn wait_at_most(&self, limit: Duration) -> Result<(), ClientError> {
        // Zero would mean for ever.
        let limit = limit.max(Duration::from_millis(1)).min(Duration::from_secs(STREAM_SILENCE_SECS));
        self.input.get_ref().wait_at_most(limit).map_err(ClientError::Broken)
    }

    /// The next thing said; an event that was only half received is not given.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] after too long a silence, else [`ClientError::Broken`].
    pub fn hear(&mut self) -> Result<Heard, ClientError> {
        let mut event = Event::default();
        let mut data: Option<String> = None;
        loop {
            let Some(line) = self.line()? else { return Ok(Heard::End) };
            if line.is_empty() {
                if let Some(data) = data.take() {
                    event.data = data;
                    event.id.clone_from(&self.last_id);
                    return Ok(Heard::Event(event));
                }
                event = Event::default();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if data.is_none() && event.kind.is_empty() => return Ok(Heard::Comment),
                "id" => self.last_id = Some(value.to_owned()),
                "event" => value.clone_into(&mut event.kind),
                "data" => match &mut data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => data = Some(value.to_owned()),
                },
                // `retry`, and whatever comes later.
                _ => {}
            }
        }
    }

    /// A line without its end; none at the end of the stream.
    fn line(&mut self) -> Result<Option<String>, ClientError> {
        let limit = Duration::from_secs(STREAM_SILENCE_SECS);
        let mut line = String::new();
        let read = (&mut self.input).take(EVENT_LINE_MAX).read_line(&mut line);
        read.map_err(|error| ClientError::from_io(error, limit))?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(Some(line.strip_suffix('\r').unwrap_or(line).to_owned())),
            None if line.is_empty() => Ok(None),
            None => Err(ClientError::Broken(cut_short())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Client;
    use super::super::played::{Daemon, raw};
    use super::*;

    fn stream(daemon: &Daemon) -> Events {
        Client::new(daemon.socket(), None).stream("/s", Some("41")).unwrap().events()
    }

    fn event(id: &str, kind: &str, data: &str) -> Heard {
        Heard::Event(Event { id: Some(id.to_owned()), kind: kind.to_owned(), data: data.to_owned() })
    }

    #[test]
    fn events_comments_and_the_end() {
        let parts = [
            "id: 42\nevent: log\nda",
            "ta: one\ndata: two\n\n: ping",
            "\n\nretry: 5\ndata:no kind\r\n\n",
            "half",
        ];
        let chunks: String = parts.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
        let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
        let daemon = Daemon::play(vec![raw(&text)]);
        let mut events = stream(&daemon);
        assert_eq!(events.hear().unwrap(), event("42", "log", "one\ntwo"));
        assert_eq!(events.hear().unwrap(), Heard::Comment);
        assert_eq!(events.hear().unwrap(), event("42", "", "no kind"));
        assert!(events.hear().is_err());
        assert!(daemon.requests().concat().contains("Last-Event-ID: 41\r\n"));
    }

    #[test]
    fn an_event_half_received_is_not_given() {
        let daemon = Daemon::play(vec![raw("HTTP/1.1 200 OK\r\n\r\nid: 1\ndata: a\n\nid: 2\ndata: b\n")]);
        let mut events = stream(&daemon);
        assert_eq!(events.hear().unwrap(), event("1", "", "a"));
        assert_eq!(events.hear().unwrap(), Heard::End);
    }

    #[test]
    fn silence_is_noticed() {
        let daemon = Daemon::play(vec![raw("HTTP/1.1 200 OK\r\n\r\nid: 1\ndata: a\n\n").held()]);
        let mut events = stream(&daemon);
        events.wait_at_most(Duration::from_millis(50)).unwrap();
        assert_eq!(events.hear().unwrap(), event("1", "", "a"));
        assert!(matches!(events.hear(), Err(ClientError::TimedOut { .. })));
    }
}
