//! What a relay and a replication slot say to each other, watched and killed: [`Tap`].

use super::place::Place;
use super::scene::Steps;
use crate::history::{Event, History, SqlEvent};
use bytes::BytesMut;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How much one read takes at most.
const CHUNK_BYTES: usize = 64 << 10;

/// A way to a PostgreSQL without TLS, within the process under attack. It lives as long as that.
#[derive(Debug, Clone)]
pub(super) struct Tap {
    server: String,
    steps: Steps,
    history: Arc<History>,
}

impl Tap {
    /// Before the server at `host:port`.
    pub(super) fn new(server: String, steps: Steps, history: Arc<History>) -> Self {
        Self {
            server,
            steps,
            history,
        }
    }

    /// Begins to carry connections; where they come in.
    pub(super) async fn start(self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let tap = self.clone();
                // Both sides see an end, whatever it was.
                tokio::spawn(async move { drop(tap.carry(client).await) });
            }
        });
        Ok(address)
    }

    async fn carry(&self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(&self.server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut asked, mut answered) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        let (mut asking, mut answering) = (Frames::of_client(), Frames::of_server());
        // Up to where the slot was confirmed, and how many rows have come since.
        let (mut confirmed, mut rows) = (0, 0);
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    asking.take(asked.get(..read?).unwrap_or_default())?;
                    while let Some(frame) = asking.next() {
                        let position = position(&frame);
                        let further = position.is_some_and(|position| position > confirmed);
                        if further {
                            self.steps.pass(Place::ConfirmBefore);
                        } else if position == Some(0) {
                            self.steps.pass(Place::SlotSwept);
                        }
                        server.write_all(&frame).await?;
                        if further {
                            self.steps.pass(Place::ConfirmAfter);
                            confirmed = position.unwrap_or_default();
                            self.note("row that came by replication", std::mem::take(&mut rows));
                        }
                    }
                }
                read = server.read(&mut answered) => {
                    answering.take(answered.get(..read?).unwrap_or_default())?;
                    let mut whole = Vec::new();
                    while let Some(frame) = answering.next() {
                        if frame.first() == Some(&b'W') {
                            self.steps.pass(Place::SlotOpened);
                            self.note("slot opened", 1);
                        }
                        rows += u64::from(is_row(&frame));
                        whole.extend_from_slice(&frame);
                    }
                    client.write_all(&whole).await?;
                }
            }
        }
    }

    fn note(&self, what: &str, times: u64) {
        if times > 0 {
            let what = what.to_owned();
            self.history.write(Event::Sql(SqlEvent::Met { what, times }));
        }
    }
}

/// How far a relay says that it is; nothing else that a client sends has that.
fn position(frame: &[u8]) -> Option<u64> {
    match frame {
        [b'd', _, _, _, _, b'r', rest @ ..] => rest.first_chunk().copied().map(u64::from_be_bytes),
        _ => None,
    }
}

/// Whether it is an insert: a kind of data, three numbers, a kind of change.
fn is_row(frame: &[u8]) -> bool {
    frame.first() == Some(&b'd') && frame.get(5) == Some(&b'w') && frame.get(30) == Some(&b'I')
}

/// Cuts what one side says into its messages.
#[derive(Debug)]
struct Frames {
    pending: BytesMut,
    /// How many bytes stand before a length: the first message of a client has no kind.
    before_length: usize,
}

impl Frames {
    fn of_client() -> Self {
        Self {
            pending: BytesMut::new(),
            before_length: 0,
        }
    }

    fn of_server() -> Self {
        Self {
            before_length: 1,
            ..Self::of_client()
        }
    }

    /// # Errors
    /// No bytes are the end.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// The next message, if it is whole.
    fn next(&mut self) -> Option<BytesMut> {
        let length = self.pending.get(self.before_length..)?.first_chunk::<4>()?;
        let whole = self.before_length + usize::try_from(u32::from_be_bytes(*length)).ok()?;
        if self.pending.len() < whole {
            return None;
        }
        self.before_length = 1;
        Some(self.pending.split_to(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_wherever_reads_end_and_positions_are_found() {
        let mut confirm = b"d\x00\x00\x00\x26r".to_vec();
        confirm.extend(7_u64.to_be_bytes());
        confirm.resize(39, 0);
        let said = [
            b"\x00\x00\x00\x06hi".to_vec(),
            confirm,
            b"X\x00\x00\x00\x04".to_vec(),
        ];
        for step in [1, 5, 100] {
            let mut frames = Frames::of_client();
            let mut found = Vec::new();
            for bytes in said.concat().chunks(step) {
                frames.take(bytes).unwrap();
                found.extend(std::iter::from_fn(|| frames.next()));
            }
            assert_eq!(found, said);
        }
        let positions: Vec<_> = said.iter().map(|frame| position(frame)).collect();
        assert_eq!(positions, [None, Some(7), None]);
        assert!(Frames::of_server().take(b"").is_err());
    }
}
