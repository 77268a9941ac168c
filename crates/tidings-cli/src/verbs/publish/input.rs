//! What is published: [`Source`].

use super::PublishArgs;
use crate::error::CliError;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// The longest payload or line that is read: far above what a broker takes by default, far below what hurts.
const MAX_PAYLOAD_BYTES: u64 = 1 << 30;
/// How many payloads are read ahead.
const READ_AHEAD: usize = 64;

/// One payload; none is a tombstone.
type Payload = Option<Vec<u8>>;

/// Where payloads come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The command line.
    Given(Payload),
    /// A file.
    File(PathBuf),
    /// The standard input.
    Stdin,
}

/// Payloads as they are read.
#[derive(Debug)]
pub(super) struct Inputs {
    receiver: mpsc::Receiver<Result<Payload, CliError>>,
}

impl Inputs {
    /// The next one; none at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Payload, CliError>> {
        self.receiver.recv().await
    }
}

impl Source {
    /// Where the payload of this command is.
    pub(super) fn of(args: &PublishArgs) -> Result<Self, CliError> {
        if args.tombstone {
            return Ok(Self::Given(None));
        }
        if let Some(payload) = &args.payload {
            return Ok(Self::Given(Some(payload.clone().into_bytes())));
        }
        match &args.file {
            Some(file) if file.as_os_str() != "-" => Ok(Self::File(file.clone())),
            None if io::stdin().is_terminal() && !args.lines => Err(CliError::usage(
                "there is no payload",
                "write it behind the channel, name a --file, or pipe it into this command",
            )),
            _ if args.lines && args.count > 1 => Err(CliError::usage(
                "--count cannot go over the standard input again",
                "put the lines into a file and name it with --file",
            )),
            _ => Ok(Self::Stdin),
        }
    }

    /// How many messages there will be, if that is known.
    pub(super) fn count(&self, args: &PublishArgs) -> Option<u64> {
        (!args.lines).then_some(args.count)
    }

    /// Begins to read, on a thread of its own: reading what somebody types must not hold up what is sent.
    pub(super) fn read(self, args: &PublishArgs) -> Inputs {
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        let (lines, count) = (args.lines, args.count);
        std::thread::spawn(move || {
            let give = |payload: Payload| sender.blocking_send(Ok(payload)).is_ok();
            if let Err(error) = self.give_all(lines, count, give) {
                // Nobody waits any more: what went wrong before is what is told.
                drop(sender.blocking_send(Err(error)));
            }
        });
        Inputs { receiver }
    }

    fn give_all(self, lines: bool, count: u64, give: impl Fn(Payload) -> bool) -> Result<(), CliError> {
        if lines {
            for _ in 0..count {
                let (reader, name) = self.open()?;
                if !give_lines(reader, &name, &give)? {
                    break;
                }
            }
            return Ok(());
        }
        let payload = match self {
            Self::Given(payload) => payload,
            _ => {
                let (reader, name) = self.open()?;
                let mut bytes = Vec::new();
                let read = reader.take(MAX_PAYLOAD_BYTES).read_to_end(&mut bytes);
                read.map_err(|error| CliError::io(format!("read {name}"), error))?;
                Some(bytes)
            }
        };
        // Stops where nobody takes them any more.
        let _taken = (0..count).take_while(|_| give(payload.clone())).count();
        Ok(())
    }

    fn open(&self) -> Result<(Box<dyn BufRead>, String), CliError> {
        match self {
            Self::File(path) => {
                let name = path.display().to_string();
                let file = File::open(path).map_err(|error| CliError::io(format!("read {name}"), error))?;
                Ok((Box::new(BufReader::new(file)), name))
            }
            _ => Ok((
                Box::new(BufReader::new(io::stdin())),
                "the standard input".to_owned(),
            )),
        }
    }
}

/// Each line that is not empty; whether they are still wanted at the end.
fn give_lines(
    mut reader: Box<dyn BufRead>,
    name: &str,
    give: &impl Fn(Payload) -> bool,
) -> Result<bool, CliError> {
    loop {
        let mut line = Vec::new();
        let read = reader
            .by_ref()
            .take(MAX_PAYLOAD_BYTES)
            .read_until(b'\n', &mut line);
        if read.map_err(|error| CliError::io(format!("read {name}"), error))? == 0 {
            return Ok(true);
        }
        let end = line
            .iter()
            .rposition(|byte| !matches!(byte, b'\n' | b'\r'))
            .map_or(0, |last| last + 1);
        line.truncate(end);
        if !line.is_empty() && !give(Some(line)) {
            return Ok(false);
        }
    }
}

/// The key that a field of a JSON payload holds: text as it is, anything else as it is written.
pub(super) fn key_of(payload: &[u8], field: &str, number: usize) -> Result<Vec<u8>, CliError> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Fields<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

    let wrong = |problem: &str| {
        CliError::usage(
            format!("message {number} {problem}"),
            format!("--key-field {field} needs a JSON object with that field on each message"),
        )
    };
    let Fields(fields) = serde_json::from_slice(payload).map_err(|_| wrong("is no JSON object"))?;
    let value = fields
        .get(field)
        .ok_or_else(|| wrong(&format!("has no field {field:?}")))?;
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) => Ok(text.into_bytes()),
        Err(_) if value.get().starts_with(['{', '[', 'n']) => Err(wrong("has no text and no number there")),
        Err(_) => Ok(value.get().as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_from_a_field() {
        let payload = br#"{"order":"o-1","n":12,"x":{"y":1},"z":null,"e":"a\"b"}"#;
        let key = |field| key_of(payload, field, 3).map_err(|error| error.to_string());
        assert_eq!(key("order"), Ok(b"o-1".to_vec()));
        assert_eq!(key("n"), Ok(b"12".to_vec()));
        assert_eq!(key("e"), Ok(b"a\"b".to_vec()));
        for field in ["x", "z", "missing"] {
            assert!(key(field).unwrap_err().starts_with("message 3"), "{field}");
        }
        assert!(key_of(b"[]", "order", 1).is_err());
    }
}
